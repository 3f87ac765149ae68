"""Makes arrays of a request: of a PredictRequest, or of TF Serving's JSON."""

import binascii
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from serving.protocol import TensorError, decode_tensor, tensor_shape
from serving.protocol.tensors import STRING, numpy_type, type_name
from serving.server.check import Limits, check_examples, check_names, check_rows, check_shapes
from serving.server.errors import invalid, short
from serving.server.loading import Signature

# Of a JSON body, before it is parsed: orjson and numpy let no other thread run while they are at
# work on one, and lists take twenty times the bytes of their brackets.
_MOST_LISTS = 65_536
_MOST_VALUES = 1 << 21
_MOST_DIMENSIONS = 32  # numpy's


def message_inputs(
    signature: Signature, request: Any, limits: Limits | None
) -> dict[str, np.ndarray]:
    """The inputs of a PredictRequest, checked.

    Args:
      signature: The signature that it names.
      request: The message.
      limits: What it may hold; None for one of the model's own (a warmup).

    Raises:
      ServingError: INVALID_ARGUMENT: they do not fit the signature.
    """
    check_names(signature, request.inputs)
    most = limits.max_bytes if limits else None
    shapes, arrays = {}, {}
    # Types and shapes of all inputs come before any value: a shape of eight million strings takes
    # five bytes on the wire.
    for name, info in signature.definition.inputs.items():
        tensor = request.inputs[name]
        if tensor.dtype != info.dtype:
            raise invalid(
                f"input {name} must be of type {type_name(info.dtype)}. "
                f"Received: {type_name(tensor.dtype)}"
            )
        try:
            shapes[name] = tensor_shape(tensor, max_bytes=most)
        except TensorError as error:
            raise invalid(f"input {name}: {error}") from error
    check_shapes(signature, shapes, limits)
    for name in shapes:
        try:
            arrays[name] = decode_tensor(request.inputs[name], max_bytes=most)
        except TensorError as error:
            raise invalid(f"input {name}: {error}") from error
    check_examples(arrays)
    return arrays


def parse_json(body: bytes) -> dict[str, Any]:
    """The JSON object in the body of a request.

    Raises:
      ServingError: INVALID_ARGUMENT: it is none, or holds too many lists or values.
    """
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
    """The inputs in a JSON object, checked: rows ("instances") or columns ("inputs").

    Raises:
      ServingError: INVALID_ARGUMENT: they do not fit the signature.
    """
    infos = signature.definition.inputs
    if ("instances" in document) == ("inputs" in document):
        raise invalid("the body needs either 'instances' or 'inputs'")
    columns: Any
    if "instances" in document:
        columns = _columns_of_rows(document["instances"], signature, limits)
    else:
        columns = document["inputs"]
        if len(infos) == 1 and (not isinstance(columns, dict) or "b64" in columns):
            columns = {next(iter(infos)): columns}  # a single input needs no name
        if not isinstance(columns, dict):
            raise invalid(f"'inputs' must be an object of {', '.join(sorted(infos))}")
        check_names(signature, columns)
    arrays = {name: _array(name, columns[name], infos[name].dtype) for name in infos}
    check_shapes(signature, {name: array.shape for name, array in arrays.items()}, limits)
    check_examples(arrays)
    return arrays


def _columns_of_rows(rows: Any, signature: Signature, limits: Limits) -> Mapping[str, Any]:
    infos = signature.definition.inputs
    if not isinstance(rows, list) or not rows:
        raise invalid("'instances' must be a list of at least one row")
    if signature.batchable:
        check_rows(len(rows), limits)
    columns: dict[str, list[Any]] = {name: [] for name in infos}
    for row in rows:
        if len(infos) == 1 and (not isinstance(row, dict) or "b64" in row):
            row = {next(iter(infos)): row}
        if not isinstance(row, dict):
            raise invalid(f"a row must be an object of {', '.join(sorted(infos))}")
        check_names(signature, row)
        for name in infos:
            columns[name].append(row[name])
    return columns


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
    kinds = set(map(type, objects.ravel()))
    allowed: set[type] = {int}
    if target in (np.bool_, object):
        allowed = {bytes} if target is object else {bool}
    elif np.issubdtype(target, np.floating):
        allowed = {int, float}
    if not kinds <= allowed:
        received = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise invalid(
            f"input {name} must hold {type_name(dtype)} in lists of equal lengths. "
            f"Received: {received}"
        )
    if np.issubdtype(target, np.integer):
        bounds = np.iinfo(target)
        if objects.size and not bounds.min <= objects.min() <= objects.max() <= bounds.max:
            raise invalid(f"input {name}: a number is too large for {type_name(dtype)}")
    with np.errstate(over="ignore"):
        array = objects.astype(target)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise invalid(f"input {name}: a number is too large for {type_name(dtype)}")
    return array


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
            content = binascii.a2b_base64(text + "=" * (-len(text) % 4))
        except ValueError:
            content = b""
        if (
            len(content) != len(text) * 3 // 4 or len(text) % 4 == 1
        ):  # what is not of the alphabet is passed over
            raise invalid(f"input {name}: {short(text)!r} is not base64")
        return content
    return value
