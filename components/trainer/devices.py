"""Which devices a training runs on, and at what precision."""

import tensorflow as tf

from components.trainer.settings import TrainingSettings


def strategy(distribution: str = "auto") -> tf.distribute.Strategy:
    """The distribution strategy for the devices that are there.

    Args:
      distribution: `auto` takes a TPU, else all GPUs if there are several, else the one device;
        `default`, `mirrored` (all GPUs, or all logical CPUs) and `tpu` insist.
    """
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
    """Name of the Keras dtype policy to train under: mixed only where it is asked for or pays."""
    accelerated = bool(_devices("GPU") or _devices("TPU"))
    if settings.mixed_precision == "off" or (
        settings.mixed_precision == "auto" and not accelerated
    ):
        return "float32"
    return "mixed_float16" if _devices("GPU") else "mixed_bfloat16"


def jit_compile() -> bool | str:
    """Whether Keras compiles with XLA: not on CPUs, where it costs more than it saves here."""
    return "auto" if _devices("GPU") or _devices("TPU") else False


def _devices(kind: str) -> list[str]:
    return [device.name for device in tf.config.list_logical_devices(kind)]
