"""Makes the answer of a model's outputs: a PredictResponse, or TF Serving's JSON."""

import base64
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import orjson

from serving.protocol import encode_tensor, message
from serving.server.check import Call
from serving.server.errors import invalid

_BYTES_SUFFIX = "_bytes"  # names of outputs whose strings are bytes, not text


def message_answer(call: Call, outputs: Mapping[str, np.ndarray]) -> bytes:
    """A serialized PredictResponse."""
    response = message("PredictResponse")()
    response.model_spec.name = call.version.model
    response.model_spec.signature_name = call.signature.name
    response.model_spec.version.value = call.version.number
    for name, array in outputs.items():
        response.outputs[name].CopyFrom(encode_tensor(array, as_fields=True))
    return bytes(response.SerializeToString())


def json_answer(call: Call, outputs: Mapping[str, np.ndarray]) -> bytes:
    """The JSON text of a model's outputs, by rows ("predictions") or columns ("outputs").

    Raises:
      ServingError: INVALID_ARGUMENT: rows were asked for, and the outputs have none in common.
    """
    columns = {name: _json_values(name, outputs[name]) for name in sorted(outputs)}
    single = next(iter(columns.values())) if len(columns) == 1 else None
    if not call.as_rows:
        return _dump({"outputs": columns if single is None else single})
    counts = {array.shape[:1] for array in outputs.values()}
    if () in counts or len(counts) > 1:
        raise invalid("the outputs have no common rows: ask with 'inputs' instead of 'instances'")
    if single is not None:
        return _dump({"predictions": single})
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return _dump({"predictions": rows})


def _json_values(name: str, array: np.ndarray) -> Any:
    if array.dtype != object:
        return np.ascontiguousarray(array)
    if name.endswith(_BYTES_SUFFIX):
        return _mapped(lambda value: {"b64": base64.b64encode(value).decode()}, array.tolist())
    return _mapped(lambda value: value.decode(errors="replace"), array.tolist())


def _mapped(change: Callable[[Any], Any], value: Any) -> Any:
    return [_mapped(change, item) for item in value] if isinstance(value, list) else change(value)


def _dump(content: dict[str, Any]) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
