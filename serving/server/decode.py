"""Makes a checked call of a request: of a PredictRequest, or of TF Serving's JSON.

What cannot be read, or does not fit the signature that it names, raises a ServingError.
"""

import base64
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import orjson

from serving.protocol import TensorError, decode_tensor, message, parse, tensor_shape
from serving.protocol.tensors import STRING, numpy_type, type_name
from serving.server.check import (
    Call,
    Limits,
    check_examples,
    check_names,
    check_rows,
    check_shapes,
    output_names,
)
from serving.server.errors import invalid, short
from serving.server.loading import LoadedVersion, Signature

# Finds what a ModelSpec names.
Find = Callable[[Any], tuple[LoadedVersion, Signature]]

# Of a JSON body, before it is parsed: orjson and numpy let no other thread run while they are at
# work on one, and lists take twenty times the bytes of their brackets.
_MOST_LISTS = 65_536
_MOST_VALUES = 1 << 21
_MOST_DIMENSIONS = 32  # numpy's


def message_call(data: bytes, find: Find, limits: Limits) -> Call:
    """The call that a serialized PredictRequest asks for."""
    try:
        request = parse(message("PredictRequest"), data)
    except ValueError as error:
        raise invalid(str(error)) from error
    version, signature = find(request.model_spec)
    inputs = message_inputs(signature, request, limits)
    return Call(version, signature, inputs, output_names(signature, request.output_filter))


def json_call(spec: Any, data: bytes, find: Find, limits: Limits) -> Call:
    """The call that a JSON body asks for; `spec` is a ModelSpec of what the path names."""
    document = parse_json(data)
    spec.signature_name = document.get("signature_name", "")
    version, signature = find(spec)
    inputs = json_inputs(signature, document, limits)
    return Call(version, signature, inputs, output_names(signature), "instances" in document)


def message_inputs(
    signature: Signature, request: Any, limits: Limits | None
) -> dict[str, np.ndarray]:
    """The inputs of a PredictRequest, checked; limits are None for a warmup."""
    check_names(signature, request.inputs)
    most = limits.max_bytes if limits else None
    shapes, arrays = {}, {}
    try:
        # Types and shapes of all inputs come before any value: a shape of eight million strings
        # takes five bytes on the wire.
        for name, info in signature.definition.inputs.items():
            tensor = request.inputs[name]
            if tensor.dtype != info.dtype:
                raise invalid(
                    f"input {name} must be of type {type_name(info.dtype)}. "
                    f"Received: {type_name(tensor.dtype)}"
                )
            shapes[name] = tensor_shape(tensor, max_bytes=most)
        check_shapes(signature, shapes, limits)
        for name in shapes:
            arrays[name] = decode_tensor(request.inputs[name], max_bytes=most)
    except TensorError as error:
        raise invalid(f"input {name}: {error}") from error
    check_examples(arrays)
    return arrays


def parse_json(body: bytes) -> dict[str, Any]:
    """The JSON object in the body of a request."""
    lists = body.count(b"[") + body.count(b"{")
    values = body.count(b",")
    if lists > _MOST_LISTS or values > _MOST_VALUES:
        raise invalid(
            f"a body holds at most {_MOST_LISTS} lists and objects and {_MOST_VALUES} values. "
            f"Received: {lists} and {values}"
        )
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise invalid(f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise invalid(f"the body must be a JSON object. Received: {type(document).__name__}")
    if not isinstance(document.get("signature_name", ""), str):
        raise invalid("signature_name must be text")
    return document


def json_inputs(
    signature: Signature, document: dict[str, Any], limits: Limits
) -> dict[str, np.ndarray]:
    """The inputs in a JSON object, checked: rows ("instances") or columns ("inputs")."""
    infos = signature.definition.inputs
    if ("instances" in document) == ("inputs" in document):
        raise invalid("the body needs either 'instances' or 'inputs'")
    if "inputs" in document:
        columns = _named(document["inputs"], signature)
    else:
        columns = _columns(document["instances"], signature, limits)
    arrays = {name: _array(name, columns[name], infos[name].dtype) for name in infos}
    check_shapes(signature, {name: array.shape for name, array in arrays.items()}, limits)
    check_examples(arrays)
    return arrays


def _named(value: Any, signature: Signature) -> Mapping[str, Any]:
    """Values by input name; a single input needs no name."""
    names = signature.definition.inputs
    if len(names) == 1 and (not isinstance(value, dict) or "b64" in value):
        return {next(iter(names)): value}
    if not isinstance(value, dict):
        raise invalid(f"inputs are an object of {', '.join(sorted(names))}")
    check_names(signature, value)
    return value


def _columns(rows: Any, signature: Signature, limits: Limits) -> Mapping[str, Any]:
    if not isinstance(rows, list) or not rows:
        raise invalid("'instances' must be a list of at least one row")
    if signature.batchable:
        check_rows(len(rows), limits)
    named = [_named(row, signature) for row in rows]
    return {name: [row[name] for row in named] for name in signature.definition.inputs}


def _array(name: str, value: Any, dtype: int) -> np.ndarray:
    """A JSON value as an array of a TensorFlow type."""
    target = numpy_type(dtype)
    if target is None:
        raise invalid(f"input {name}: {type_name(dtype)} cannot be sent as JSON")
    if dtype == STRING:
        value = _texts(name, value)
    try:
        objects = np.asarray(value, dtype=object)
    except ValueError as error:
        raise invalid(f"input {name}: {error}") from None
    by_kind: dict[str, set[type]] = {"O": {bytes}, "b": {bool}, "f": {int, float}}
    allowed = by_kind.get(np.dtype(target).kind, {int})
    kinds = set(map(type, objects.ravel()))
    if not kinds <= allowed:
        received = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise invalid(
            f"input {name} must hold {type_name(dtype)} in lists of equal lengths. "
            f"Received: {received}"
        )
    if allowed == {int} and objects.size:
        bounds = np.iinfo(target)
        too_large = not bounds.min <= objects.min() <= objects.max() <= bounds.max
    else:
        with np.errstate(over="ignore"):
            too_large = float in allowed and not np.isfinite(objects.astype(target)).all()
    if too_large:
        raise invalid(f"input {name}: a number is too large for {type_name(dtype)}")
    return objects.astype(target)


def _texts(name: str, value: Any, *, depth: int = 0) -> Any:
    """Bytes in place of text and of {"b64": …}, in the same lists."""
    if isinstance(value, list):
        if depth == _MOST_DIMENSIONS:
            raise invalid(f"input {name}: lists are nested over {_MOST_DIMENSIONS} deep")
        return [_texts(name, item, depth=depth + 1) for item in value]
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str):
        text = "".join(value["b64"].split()).rstrip("=")
        try:
            return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except ValueError:
            raise invalid(f"input {name}: {short(text)!r} is not base64") from None
    return value
