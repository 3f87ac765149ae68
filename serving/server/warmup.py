"""Runs a version's own warmup requests, so that its first caller does not wait for its graph."""

from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from serving.protocol import message
from serving.server import prediction
from serving.server.loading import LoadedVersion
from serving.server.status import invalid

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
_MAX_RECORDS = 1000  # TF Serving's limit

_PREPARE = {
    "predict_log": prediction.prepare_predict,
    "classify_log": prediction.prepare_classify,
    "regress_log": prediction.prepare_regress,
}


def _records(path: str) -> Iterator[Any]:
    file = f"{path.rstrip('/')}/{WARMUP_FILE}"
    if not tf.io.gfile.exists(file):
        return
    records = list(tf.compat.v1.io.tf_record_iterator(file))
    if len(records) > _MAX_RECORDS:
        raise invalid(f"Number of warmup records exceeds the maximum ({_MAX_RECORDS}) at {file}")
    for record in records:
        try:
            yield message("PredictionLog").FromString(record)
        except Exception as error:  # the parser's error type differs between implementations
            raise invalid(f"Failed to parse warmup record from {file}") from error


def warm(version: LoadedVersion, path: str) -> int:
    """Runs every request of `assets.extra/tf_serving_warmup_requests` under `path`.

    Returns:
      How many there were; 0 where there is no such file.

    Raises:
      ServingError, tf.errors.OpError: A request cannot be read, or fails.
    """
    count = 0
    for log in _records(path):
        kind = log.WhichOneof("log_type")
        if kind not in _PREPARE:
            raise invalid(f"Unsupported log_type for warmup: {kind}")
        call = _PREPARE[kind](version, getattr(log, kind).request)
        call.answer(version.run(call.signature, call.inputs, call.outputs))
        count += 1
    return count
