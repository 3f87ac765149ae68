"""Prepares the process that an executor runs in: a stage here, a container, a Beam worker."""

import contextlib
import functools
import gc
import importlib.metadata
import itertools
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from components.common import lineage, record_files
from components.common.storage import is_remote, open_object_stores

# Eight tracks of 30 s. musicnn's front-end needs 0.3 GiB a track.
_BATCH_BYTES = 10 * 2**20
# Places inside parameters, which may be JSON.
_STORE_URI = re.compile(r"\b(?:s3|gs|hdfs)://[^\s\"',\\]+")


def quieten() -> None:
    """Silences start-up messages of TensorFlow and of Google's packages, and MLflow's telemetry.

    TensorFlow reads its settings when it is imported, so whoever starts a process calls this first
    where it can.
    """
    # The log file is for what goes wrong, not for how TensorFlow was compiled.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # Google's packages announce the end of Python 3.10, which the locked TFX needs.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\..*")
    warnings.filterwarnings("ignore", category=DeprecationWarning)


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Imports libraries inside the `with` block in less time.

    TensorFlow, Beam and TFX make over a million objects that live as long as the process. The
    garbage collector does not look for garbage meanwhile, nor later among what is there by then,
    which also saves it from copying the memory that a fork shares.
    """
    listing = importlib.metadata.packages_distributions
    # Google's packages call it four times, to say which of them will end their support.
    importlib.metadata.packages_distributions = functools.cache(listing)
    # Kubernetes' client would import it where the tests' tools are installed, which takes a second.
    unwanted = {"kubernetes_validate": None} if "kubernetes_validate" not in sys.modules else {}
    sys.modules.update(unwanted)  # type: ignore[arg-type]
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        importlib.metadata.packages_distributions = listing
        for module in unwanted:
            del sys.modules[module]
        gc.freeze()
        if enabled:
            gc.enable()


def prepare(
    input_dict: Mapping[str, Iterable[Any]],
    output_dict: Mapping[str, Iterable[Any]],
    exec_properties: Mapping[str, Any],
) -> None:
    """Sets up this process for an executor, from nothing but what the executor is given.

    Bounds Beam's batches by bytes, opens the object stores that artifacts or parameters name, and
    looks whether what the executor reads is there (on Kubeflow only, with `lineage.json`) and its
    records whole: a cached file may be years old. The first lines of every executor's `Do` call it:
    an executor may be started by any runner.

    Args:
      input_dict: The executor's.
      output_dict: The executor's.
      exec_properties: The executor's.

    Raises:
      UserError: A bucket does not exist, the credentials or the endpoint are wrong, an input is
        gone, or a file of records is missing or damaged.
    """
    quieten()
    bound_batches_by_bytes()
    places = object_stores(input_dict, output_dict, exec_properties)
    if places:
        open_object_stores(*places)
    lineage.begin(input_dict, output_dict, exec_properties)
    record_files.require_whole(itertools.chain.from_iterable(input_dict.values()))


def bound_batches_by_bytes() -> None:
    """Limits tfx-bsl's batches of Beam stages to 10 MiB (eight tracks), in this process.

    TFX reads examples in batches of up to 1000, a size that it tunes by time. A track takes over a
    megabyte, so such batches would fill the memory of a small machine.
    """
    from absl import flags
    from tfx_bsl.coders import batch_util

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    flags.FLAGS.tfxio_use_byte_size_batching = True  # defined by batch_util
    # tfx-bsl has no setting for how many bytes, which are 20 MiB.
    batch_util._TARGET_BATCH_BYTES_SIZE = min(batch_util._TARGET_BATCH_BYTES_SIZE, _BATCH_BYTES)


def object_stores(
    input_dict: Mapping[str, Iterable[Any]],
    output_dict: Mapping[str, Iterable[Any]],
    exec_properties: Mapping[str, Any],
) -> list[str]:
    """Lists the object stores that artifacts or parameters name, each bucket once.

    Args:
      input_dict: Lists of artifacts.
      output_dict: Lists of artifacts.
      exec_properties: Values, of which texts are searched.

    Returns:
      URIs without a path: `s3://bucket`.
    """
    uris = [
        artifact.uri
        for artifacts in (*input_dict.values(), *output_dict.values())
        for artifact in artifacts
        if is_remote(artifact.uri)
    ]
    for value in exec_properties.values():
        if isinstance(value, str):
            uris += _STORE_URI.findall(value)
    return sorted({"/".join(uri.split("/")[:3]) for uri in uris})
