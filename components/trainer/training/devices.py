"""The devices that a model is trained on, and the precision."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import tensorflow as tf

from components.common.errors import UserError
from components.trainer.settings import TrainingSettings


def strategy(distribution: str = "auto") -> tf.distribute.Strategy:
    """The distribution strategy for the available devices.

    Args:
      distribution: `auto` uses a TPU if there is one, else all GPUs if there are several, else the
        one device. `default`, `mirrored` (all GPUs, or all logical CPUs) and `tpu` force one.

    Raises:
      UserError: The environment's `TF_CONFIG` names several processes.
    """
    cluster = tf.distribute.cluster_resolver.TFConfigClusterResolver().cluster_spec()
    if sum(cluster.num_tasks(job) for job in cluster.jobs) > 1:
        raise UserError(
            "TF_CONFIG names several processes, but one process trains a model: start it without "
            f"TF_CONFIG. Received: {cluster.as_dict()}"
        )
    if distribution == "tpu" or (distribution == "auto" and _devices("TPU")):
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver()
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    if distribution == "mirrored":
        return tf.distribute.MirroredStrategy(_devices("GPU") or _devices("CPU"))
    if distribution == "auto" and len(_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy(_devices("GPU"))
    return tf.distribute.get_strategy()


def precision_policy(settings: TrainingSettings) -> str:
    """Name of the Keras dtype policy: mixed precision if requested, or on GPUs and TPUs."""
    accelerated = bool(_devices("GPU") or _devices("TPU"))
    if settings.mixed_precision == "off" or (
        settings.mixed_precision == "auto" and not accelerated
    ):
        return "float32"
    return "mixed_float16" if _devices("GPU") else "mixed_bfloat16"


@contextmanager
def precision(policy: str) -> Iterator[None]:
    """Builds models with a dtype policy inside the `with` block."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def jit_compile() -> bool | str:
    """Whether Keras compiles with XLA: not on CPUs, where compiling costs more than it saves."""
    return "auto" if _devices("GPU") or _devices("TPU") else False


def _devices(kind: str) -> list[str]:
    return [device.name for device in tf.config.list_logical_devices(kind)]
