"""TF Serving's JSON forms of requests and answers (its util/json_tensor.cc), with numpy.

Rows ("instances" → "predictions") and columns ("inputs" → "outputs"); bytes as {"b64": "…"}.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from typing import Any

import grpc
import numpy as np

from serving.protocol import decode_tensor, encode_tensor, message
from serving.protocol.tensors import numpy_type, type_name
from serving.server.status import ServingError, invalid

_STRING, _BOOL, _FLOATS = 7, 10, (1, 2)  # numbers of tensorflow.DataType
_MOST_SHOWN = 200  # characters of a value in an error


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a request's body.

    Raises:
      ServingError: It is not one.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid(f"JSON Parse error: {error}") from error
    if not isinstance(value, dict):
        raise invalid(f"JSON Value: {_show(value)} Is not object")
    return value


def predict_request(
    body: bytes, spec: Any, input_infos: Callable[[Any], Mapping[str, Any]]
) -> tuple[Any, bool]:
    """The PredictRequest that a :predict body stands for.

    Args:
      body: The request's body.
      spec: The ModelSpec that its path names.
      input_infos: Gives the TensorInfo of each input of the signature that a ModelSpec names.

    Returns:
      The request, and whether it came (and the answer goes) as rows.

    Raises:
      ServingError: In TF Serving's words.
    """
    document = parse_object(body)
    request = message("PredictRequest")(model_spec=spec)
    _set_signature(request, document)
    infos = input_infos(request.model_spec)
    if not infos:
        name = request.model_spec.signature_name or "DEFAULT"
        raise invalid(f"Failed to get input map for signature: {name}")
    if "instances" in document and "inputs" in document:
        raise invalid(
            f"JSON Value: {_show(document)} Not formatted correctly expecting only one of "
            "'inputs' or 'instances' keys to exist "
        )
    if "instances" in document:
        arrays = _from_rows(document["instances"], infos, document)
    elif "inputs" in document:
        arrays = _from_columns(document["inputs"], infos)
    else:
        raise invalid("Missing 'inputs' or 'instances' key")
    for name, array in arrays.items():
        request.inputs[name].CopyFrom(encode_tensor(array))
        request.inputs[name].dtype = infos[name].dtype  # an empty array of strings shows no type
    return request, "instances" in document


def predict_response(response: Any, *, rows: bool) -> dict[str, Any]:
    """The JSON object that stands for a PredictResponse.

    Raises:
      ServingError: Its outputs have no common first dimension and rows were asked for.
    """
    arrays = {name: decode_tensor(tensor) for name, tensor in response.outputs.items()}
    if not rows:
        outputs = {name: _to_json(name, array) for name, array in sorted(arrays.items())}
        return {"outputs": outputs if len(outputs) > 1 else next(iter(outputs.values()))}
    sizes = {array.shape[:1] for array in arrays.values()}
    if () in sizes or len(sizes) > 1:
        shapes = {name: list(array.shape) for name, array in arrays.items()}
        raise invalid(f"Tensors have inconsistent batch size: {shapes}")
    listed = {name: _to_json(name, array) for name, array in sorted(arrays.items())}
    if len(listed) == 1:
        return {"predictions": next(iter(listed.values()))}
    count = sizes.pop()[0]
    return {"predictions": [{n: v[row] for n, v in listed.items()} for row in range(count)]}


def examples_request(body: bytes, spec: Any, request_type: str) -> Any:
    """The ClassificationRequest or RegressionRequest that a body of "examples" stands for.

    Raises:
      ServingError: In TF Serving's words.
    """
    document = parse_object(body)
    request = message(request_type)(model_spec=spec)
    _set_signature(request, document)
    examples = document.get("examples")
    if examples is None:
        raise invalid(
            f"JSON Value: {_show(document)} When method is classify, key 'examples' is expected "
            "and was not found"
        )
    if not isinstance(examples, list):
        raise invalid(
            f"JSON Value: {_show(document)} Expecting 'examples' value to be an list/array"
        )
    if not examples:
        raise invalid(f"JSON Value: {_show(document)} 'examples' value is an empty array")
    if "context" in document:
        listing = request.input.example_list_with_context
        _fill_example(listing.context, document["context"])
    else:
        listing = request.input.example_list
    for example in examples:
        _fill_example(listing.examples.add(), example)
    return request


def classify_response(response: Any) -> dict[str, Any]:
    """The JSON object that stands for a ClassificationResponse."""
    return {
        "results": [
            [[entry.label, _short(entry.score)] for entry in row.classes]
            for row in response.result.classifications
        ]
    }


def regress_response(response: Any) -> dict[str, Any]:
    """The JSON object that stands for a RegressionResponse."""
    return {"results": [_short(entry.value) for entry in response.result.regressions]}


def _show(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


def _short(value: float) -> float:
    """The double that is written as the float32 `value` in its fewest digits."""
    return float(str(np.float32(value)))


def _set_signature(request: Any, document: dict[str, Any]) -> None:
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {_show(document)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    request.model_spec.signature_name = name


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and list(value) == ["b64"] and isinstance(value["b64"], str)


def _from_rows(
    instances: Any, infos: Mapping[str, Any], document: dict[str, Any]
) -> dict[str, np.ndarray]:
    if not isinstance(instances, list):
        raise invalid(f"JSON Value: {_show(document)} Excepting 'instances' to be an list/array")
    if not instances:
        raise invalid(f"JSON Value: {_show(document)} No values in 'instances' array")
    named = isinstance(instances[0], dict) and not _is_base64(instances[0])
    if not named and len(infos) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    columns: dict[str, list[np.ndarray]] = {name: [] for name in infos}
    for position, element in enumerate(instances):
        if named != (isinstance(element, dict) and not _is_base64(element)):
            wanted, got = ("object", "list") if named else ("value/list", "object")
            raise invalid(f"Expecting {wanted} but got {got} at item {position} of input list")
        values = element if named else {next(iter(infos)): element}
        if set(values) != set(infos):
            raise invalid(
                f"Failed to process element: {position} of 'instances' list. JSON object: "
                f"{_show(element)} keys must be equal to: {','.join(sorted(infos))}"
            )
        for name, value in values.items():
            try:
                array = _from_json(value, infos[name].dtype)
                if columns[name] and columns[name][0].shape != array.shape:
                    raise invalid(
                        f"Expecting shape {list(columns[name][0].shape)} "
                        f"but got: {list(array.shape)}"
                    )
            except ServingError as error:
                raise invalid(
                    f"Failed to process element: {position} key: {name} of 'instances' list. "
                    f"Error: {error.code.name}: {error.text}"
                ) from error
            columns[name].append(array)
    return {name: np.stack(arrays) for name, arrays in columns.items()}


def _from_columns(inputs: Any, infos: Mapping[str, Any]) -> dict[str, np.ndarray]:
    if not isinstance(inputs, dict) or _is_base64(inputs):
        if len(infos) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        name, info = next(iter(infos.items()))
        return {name: _from_json(inputs, info.dtype)}
    for name in infos:
        if name not in inputs:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: _from_json(inputs[name], info.dtype) for name, info in infos.items()}


def _from_json(value: Any, dtype: int) -> np.ndarray:
    target = numpy_type(dtype)
    if target is None:
        raise ServingError(
            grpc.StatusCode.UNIMPLEMENTED,
            f"Conversion of JSON Value: {_show(value)} to type: {type_name(dtype)}",
        )
    shape = _shape(value)
    flat: list[Any] = []
    _flatten(value, 0, shape, dtype, flat)
    array = np.empty(len(flat), target)
    try:
        array[:] = flat
    except OverflowError as error:
        raise invalid(f"JSON Value: {error} is not of expected type: {type_name(dtype)}") from error
    return array.reshape(shape)


def _shape(value: Any) -> tuple[int, ...]:
    shape: list[int] = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


def _flatten(value: Any, level: int, shape: tuple[int, ...], dtype: int, flat: list[Any]) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid(
                f"JSON Value: {_show(value)} found at incorrect level: {level + 1} "
                f"in the JSON DOM. Expected at level: {len(shape)}"
            )
        flat.append(_leaf(value, dtype))
        return
    if level >= len(shape):
        raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} "
            f"expected size: {shape[level]}"
        )
    if dtype in _FLOATS and {type(item) for item in value} <= {float, int}:
        flat.extend(value)  # the common case, half a million samples, in one go
        return
    for item in value:
        _flatten(item, level + 1, shape, dtype, flat)


def _leaf(value: Any, dtype: int) -> Any:
    if dtype == _STRING:
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, dict):
            return _decode_base64(value)
    elif isinstance(value, bool):
        if dtype == _BOOL:
            return value
    elif dtype != _BOOL and (
        isinstance(value, int) or (isinstance(value, float) and dtype in _FLOATS)
    ):
        return value
    kinds = {str: "String", dict: "Object", bool: str(value), type(None): "Null"}
    raise invalid(
        f"JSON Value: {_show(value)} Type: {kinds.get(type(value), 'Number')} "
        f"is not of expected type: {type_name(dtype)}"
    )


def _decode_base64(value: Any) -> bytes:
    if not _is_base64(value):
        raise invalid(f"JSON Value: {_show(value)} not formatted correctly for base64 data")
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("Unable to base64 decode") from error


def _to_json(name: str, array: np.ndarray) -> Any:
    if array.dtype == object:
        as_bytes = name.endswith("_bytes")
        texts = [
            {"b64": base64.b64encode(item).decode()}
            if as_bytes
            else item.decode("utf-8", "replace")
            for item in array.ravel()
        ]
        boxed = np.empty(len(texts), object)
        boxed[:] = texts
        return boxed.reshape(array.shape).tolist()
    if array.dtype == np.float32:
        return array.astype(str).astype(np.float64).tolist()  # 0.2, not 0.20000000298023224
    return array.tolist()


def _fill_example(example: Any, value: Any) -> None:
    if not isinstance(value, dict):
        kind = type(value).__name__
        raise invalid(f"Example must be JSON object but got JSON {kind}")
    for name, content in value.items():
        feature = example.features.feature[name]
        for item in content if isinstance(content, list) else [content]:
            if isinstance(item, bool | int):
                values = feature.int64_list.value
            elif isinstance(item, float):
                values = feature.float_list.value
            elif isinstance(item, str) or _is_base64(item):
                item = item.encode() if isinstance(item, str) else _decode_base64(item)
                values = feature.bytes_list.value
            else:
                raise invalid(
                    f"Feature: {name} has element with unexpected JSON type: {type(item).__name__}"
                )
            try:
                values.append(item)
            except (ValueError, OverflowError) as error:
                raise invalid(f"Feature: {name}: {error}") from error
