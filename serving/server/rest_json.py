"""TF Serving's JSON forms of requests and answers (its util/json_tensor.cc), with numpy.

Rows ("instances" → "predictions") and columns ("inputs" → "outputs"); bytes as {"b64": "…"}.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from serving.protocol import message
from serving.protocol.tensors import STRING_BYTES
from serving.server import json_body, json_tensors, prediction
from serving.server.calls import Call, Limits, check_rows
from serving.server.json_tensors import show
from serving.server.loading import LoadedVersion, Signature
from serving.server.status import ServingError, invalid, short

_encoder = json.JSONEncoder(ensure_ascii=False)


def parse_object(body: bytes | bytearray, *, limits: Limits) -> dict[str, Any]:
    """The JSON object in a request's body.

    Raises:
      ServingError: It is not one.
    """
    try:
        value = json_body.parse(body, most_numbers=limits.max_bytes // 4)
    except json_body.JsonError as error:
        raise invalid(f"JSON Parse error: {error}") from error
    if not isinstance(value, dict):
        raise invalid(f"JSON Value: {show(value)} Is not object")
    return value


def signature_name(document: dict[str, Any]) -> str:
    """The signature that a body names, or "".

    Raises:
      ServingError: The name is no text.
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {show(document)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    return name


def prepare_predict(version: LoadedVersion, document: dict[str, Any], *, limits: Limits) -> Call:
    """Checks the body of a :predict, whose answer is JSON in the form of the request.

    Raises:
      ServingError: In TF Serving's words.
    """
    name = signature_name(document) or prediction.DEFAULT_SIGNATURE
    if name not in version.signatures:
        raise invalid(f'Serving signature name: "{short(name)}" not found in signature def')
    infos = version.signatures[name].definition.inputs
    if not infos:
        raise invalid(f"Failed to get input map for signature: {name}")
    if "instances" in document and "inputs" in document:
        raise invalid(
            f"JSON Value: {show(document)} Not formatted correctly expecting only one of "
            "'inputs' or 'instances' keys to exist "
        )
    rows = "instances" in document
    if rows:
        _check_instances(document["instances"], version.signatures[name], limits)
        arrays = _from_rows(document["instances"], infos, document, limits.max_bytes)
    elif "inputs" in document:
        arrays = _from_columns(document["inputs"], infos, limits.max_bytes)
    else:
        raise invalid("Missing 'inputs' or 'instances' key")
    return prediction.prepare_arrays(
        version, name, arrays, lambda outputs: encode(predict_response(outputs, rows=rows)), limits
    )


def encode(content: Mapping[str, Any]) -> bytes:
    """The JSON text of an answer."""
    # Piece by piece, as `json.dumps` lets no other thread run until it has written all.
    return "".join(_encoder.iterencode(content)).encode()


def predict_response(arrays: Mapping[str, np.ndarray], *, rows: bool) -> dict[str, Any]:
    """The JSON object that stands for a model's outputs.

    Raises:
      ServingError: Its outputs have no common first dimension and rows were asked for.
    """
    if not rows:
        outputs = {
            name: json_tensors.to_json(name, array) for name, array in sorted(arrays.items())
        }
        return {"outputs": outputs if len(outputs) > 1 else next(iter(outputs.values()))}
    sizes = {array.shape[:1] for array in arrays.values()}
    if () in sizes or len(sizes) > 1:
        shapes = {name: list(array.shape) for name, array in arrays.items()}
        raise invalid(f"Tensors have inconsistent batch size: {shapes}")
    listed = {name: json_tensors.to_json(name, array) for name, array in sorted(arrays.items())}
    if len(listed) == 1:
        return {"predictions": next(iter(listed.values()))}
    count = sizes.pop()[0]
    return {"predictions": [{n: v[row] for n, v in listed.items()} for row in range(count)]}


def examples_request(document: dict[str, Any], spec: Any, request_type: str) -> Any:
    """The ClassificationRequest or RegressionRequest that a body of "examples" stands for.

    Raises:
      ServingError: In TF Serving's words.
    """
    request = message(request_type)(model_spec=spec)
    request.model_spec.signature_name = signature_name(document)
    examples = document.get("examples")
    if examples is None:
        raise invalid(
            f"JSON Value: {show(document)} When method is classify, key 'examples' is expected "
            "and was not found"
        )
    if not isinstance(examples, list):
        raise invalid(
            f"JSON Value: {show(document)} Expecting 'examples' value to be an list/array"
        )
    if not examples:
        raise invalid(f"JSON Value: {show(document)} 'examples' value is an empty array")
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


def _short(value: float) -> float:
    """The double that is written as the float32 `value` in its fewest digits."""
    return float(str(np.float32(value)))


def _check_instances(instances: Any, signature: Signature, limits: Limits) -> None:
    """Refuses many rows before each becomes an array."""
    if not isinstance(instances, list | json_body.Numbers):
        return
    rows = len(instances)
    check_rows(signature, {"instances": (rows,)}, limits.max_rows)
    if isinstance(instances, list) and rows > limits.max_bytes // STRING_BYTES:
        raise invalid(f"'instances' holds too many rows. Received: {rows}")


def _from_rows(
    instances: Any, infos: Mapping[str, Any], document: dict[str, Any], max_bytes: int
) -> dict[str, np.ndarray]:
    if isinstance(instances, json_body.Numbers) and len(infos) == 1:  # a row each, stacked already
        name, info = next(iter(infos.items()))
        return {name: json_tensors.array_of(instances, info, max_bytes=max_bytes)}
    if isinstance(instances, json_body.Numbers):
        instances = instances.values[:1].tolist()  # refused below, whatever it holds
    if not isinstance(instances, list):
        raise invalid(f"JSON Value: {show(document)} Excepting 'instances' to be an list/array")
    if not instances:
        raise invalid(f"JSON Value: {show(document)} No values in 'instances' array")
    named = isinstance(instances[0], dict) and not json_tensors.is_base64(instances[0])
    if not named and len(infos) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    columns: dict[str, list[np.ndarray]] = {name: [] for name in infos}
    for position, element in enumerate(instances):
        if named != (isinstance(element, dict) and not json_tensors.is_base64(element)):
            expected, got = ("object", "list") if named else ("value/list", "object")
            raise invalid(f"Expecting {expected} but got {got} at item {position} of input list")
        values = element if named else {next(iter(infos)): element}
        if set(values) != set(infos):
            raise invalid(
                f"Failed to process element: {position} of 'instances' list. JSON object: "
                f"{show(element)} keys must be equal to: {','.join(sorted(infos))}"
            )
        for name, value in values.items():
            try:
                array = json_tensors.array_of(value, infos[name], max_bytes=max_bytes)
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


def _from_columns(inputs: Any, infos: Mapping[str, Any], max_bytes: int) -> dict[str, np.ndarray]:
    if not isinstance(inputs, dict) or json_tensors.is_base64(inputs):
        if len(infos) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        name, info = next(iter(infos.items()))
        return {name: json_tensors.array_of(inputs, info, max_bytes=max_bytes)}
    for name in infos:
        if name not in inputs:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return {
        name: json_tensors.array_of(inputs[name], info, max_bytes=max_bytes)
        for name, info in infos.items()
    }


def _fill_example(example: Any, value: Any) -> None:
    if not isinstance(value, dict):
        kind = type(value).__name__
        raise invalid(f"Example must be JSON object but got JSON {kind}")
    for name, content in value.items():
        feature = example.features.feature[name]
        if isinstance(content, json_body.Numbers):
            content = content.values.tolist()
        for item in content if isinstance(content, list) else [content]:
            if isinstance(item, bool | int):
                values = feature.int64_list.value
            elif isinstance(item, float):
                values = feature.float_list.value
            elif isinstance(item, str) or json_tensors.is_base64(item):
                item = item.encode() if isinstance(item, str) else json_tensors.decode_base64(item)
                values = feature.bytes_list.value
            else:
                kind = type(item).__name__
                raise invalid(
                    f"Feature: {short(name)} has element with unexpected JSON type: {kind}"
                )
            try:
                values.append(item)
            except (ValueError, OverflowError) as error:
                raise invalid(f"Feature: {short(name)}: {error}") from error
