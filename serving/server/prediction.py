"""From a request message to arrays and back: what TF Serving checks, in its words.

A `prepare_*` function checks a request against a loaded version and gives a `Call`: the arrays
to run, the outputs to fetch, and how to answer. Error texts follow TF Serving's predict_util.cc,
classifier.cc and regressor.cc, so that a client reads the same sentence from both servers.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
import numpy as np

from serving.protocol import TensorError, decode_tensor, encode_tensor, message, tensor_shape
from serving.protocol.tensors import type_name
from serving.server.calls import Call, Limits, Outputs, check_rows, make_call
from serving.server.loading import LoadedVersion, Signature
from serving.server.status import ServingError, invalid, short

DEFAULT_SIGNATURE = "serving_default"
_MOST_SHOWN = 20  # names in an error
_METHODS = tuple(f"tensorflow/serving/{kind}" for kind in ("predict", "classify", "regress"))


def _join(names: Sequence[str] | set[str]) -> str:
    shown = [short(name) for name in sorted(names)[:_MOST_SHOWN]]
    return ",".join(shown if len(names) <= _MOST_SHOWN else [*shown, "…"])


def _find_signature(version: LoadedVersion, signature_name: str) -> Signature:
    name = signature_name or DEFAULT_SIGNATURE
    signature = version.signatures.get(name)
    if signature is None:
        raise ServingError(
            grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{short(name)}" not found.'
        )
    if signature.definition.method_name not in _METHODS:
        raise ServingError(
            grpc.StatusCode.INTERNAL,
            "Expected prediction signature method_name to be one of "
            f"{{{', '.join(_METHODS)}}}. Was: {signature.definition.method_name}",
        )
    return signature


def _check_names(definition: Any, request: Any) -> None:
    expected, sent = set(definition.inputs), set(request.inputs)
    if len(sent) != len(expected):
        raise invalid(
            f"input size does not match signature: {len(sent)}!={len(expected)} "
            f"len({{{_join(sent)}}}) != len({{{_join(expected)}}}). "
            f"Sent extra: {{{_join(sent - expected)}}}. "
            f"Missing but required: {{{_join(expected - sent)}}}."
        )
    for alias in sorted(expected - sent):
        raise invalid(
            f"Signature input alias: {alias}(feed name: {definition.inputs[alias].name}) not found "
            "in request and no default value provided. Inputs expected to be in the request "
            f"{{{_join(sent)}}}, or default input alias set: "
        )


def _read_inputs(
    signature: Signature, request: Any, limits: Limits | None
) -> dict[str, np.ndarray]:
    definition = signature.definition
    max_bytes = limits.max_bytes if limits else None
    shapes = {}
    # All that can be said of types and shapes comes before any value is unfolded: a shape of
    # eight million takes five bytes on the wire.
    for position, alias in enumerate(sorted(definition.inputs)):
        info, tensor = definition.inputs[alias], request.inputs[alias]
        if tensor.dtype != info.dtype:
            raise invalid(
                f"Expects arg[{position}] to be {type_name(info.dtype)} "
                f"but {type_name(tensor.dtype)} is provided (input {alias})"
            )
        try:
            shapes[alias] = tensor_shape(tensor, max_bytes=max_bytes)
        except TensorError as error:
            raise invalid(f"tensor parsing error: {alias}: {error}") from error
        _check_shape(alias, shapes[alias], info)
    if limits:
        check_rows(signature, shapes, limits.max_rows)
    arrays = {}
    for alias in shapes:
        try:
            arrays[alias] = decode_tensor(request.inputs[alias], max_bytes=max_bytes)
        except TensorError as error:
            raise invalid(f"tensor parsing error: {alias}: {error}") from error
    return arrays


def _check_shape(alias: str, shape: tuple[int, ...], info: Any) -> None:
    if info.tensor_shape.unknown_rank:
        return
    expected = [dim.size for dim in info.tensor_shape.dim]
    fits = len(shape) == len(expected) and all(
        size in (-1, actual) for size, actual in zip(expected, shape, strict=True)
    )
    if not fits:
        raise invalid(
            f"input {alias} must have shape {expected}, -1 standing for any size. "
            f"Received: {list(shape)}"
        )


def _output_names(definition: Any, output_filter: Sequence[str]) -> tuple[str, ...]:
    names = sorted(definition.outputs)
    seen = set()
    for alias in output_filter:
        if alias not in names:
            raise invalid(
                f"output tensor alias not found in signature: {short(alias)} "
                f"Outputs expected to be in the set {{{_join(names)}}}."
            )
        if alias in seen:
            raise invalid(f"duplicate output tensor alias: {alias}")
        seen.add(alias)
    return tuple(output_filter) or tuple(names)


def _fill_spec(spec: Any, version: LoadedVersion, signature: Signature) -> None:
    spec.name = version.model
    spec.signature_name = signature.name
    spec.version.value = version.number


def prepare_predict(version: LoadedVersion, request: Any, *, limits: Limits | None = None) -> Call:
    """Checks a PredictRequest.

    Args:
      version: The version that its model_spec names.
      request: The message.
      limits: What it may hold; None for a request of the model's own (a warmup).

    Raises:
      ServingError: It does not fit the signature.
    """
    signature = _find_signature(version, request.model_spec.signature_name)
    _check_names(signature.definition, request)
    inputs = _read_inputs(signature, request, limits)
    outputs = _output_names(signature.definition, request.output_filter)

    def answer(values: Outputs) -> Any:
        response = message("PredictResponse")()
        _fill_spec(response.model_spec, version, signature)
        for name, array in values.items():
            response.outputs[name].CopyFrom(encode_tensor(array, as_fields=True))
        return response

    return make_call(version, signature, inputs, outputs, answer)


def prepare_arrays(
    version: LoadedVersion,
    signature_name: str,
    arrays: Mapping[str, np.ndarray],
    answer: Callable[[Outputs], Any],
    limits: Limits,
) -> Call:
    """Checks arrays by input name, of the signature's types, for all of its outputs.

    Raises:
      ServingError: They do not fit the signature.
    """
    signature = _find_signature(version, signature_name)
    infos = signature.definition.inputs
    for alias, array in arrays.items():
        _check_shape(alias, array.shape, infos[alias])
    check_rows(signature, {alias: array.shape for alias, array in arrays.items()}, limits.max_rows)
    call = make_call(version, signature, arrays, _output_names(signature.definition, ()), answer)
    if call.input_bytes > limits.max_bytes:
        raise invalid(f"the inputs are too large: they take {call.input_bytes} bytes")
    return call


def serialized_examples(request_input: Any) -> np.ndarray:
    """The examples of a classification or regression input, serialized: object dtype [count].

    Raises:
      ServingError: There are none.
    """
    kind = request_input.WhichOneof("kind")
    serialized = []
    if kind == "example_list":
        serialized = [
            example.SerializeToString() for example in request_input.example_list.examples
        ]
    elif kind == "example_list_with_context":
        listing = request_input.example_list_with_context
        for example in listing.examples:
            merged = type(example)()
            merged.CopyFrom(listing.context)
            for name, feature in example.features.feature.items():
                merged.features.feature[name].CopyFrom(feature)
            serialized.append(merged.SerializeToString())
    if not serialized:
        raise invalid("Input is empty")
    return np.array(serialized, dtype=object)


def _prepare_examples(
    version: LoadedVersion,
    request: Any,
    kind: str,
    noun: str,
    outputs: Sequence[str],
    limits: Limits | None,
) -> tuple[Signature, dict[str, np.ndarray], tuple[str, ...]]:
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    signature = version.signatures.get(name)
    if signature is None:
        raise invalid(f"No signature was found with the name: {short(name)}")
    definition = signature.definition
    method = f"tensorflow/serving/{kind}"
    if definition.method_name != method:
        raise invalid(
            f"Expected {noun} signature method_name to be {method}. Was: {definition.method_name}"
        )
    if len(definition.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    present = tuple(output for output in outputs if output in definition.outputs)
    if "inputs" not in definition.inputs or not present:
        raise ServingError(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"Expected {noun} signature with input 'inputs' and outputs {list(outputs)}",
        )
    examples = serialized_examples(request.input)
    if limits:
        check_rows(signature, {"inputs": examples.shape}, limits.max_rows)
    return signature, {"inputs": examples}, present


def prepare_classify(version: LoadedVersion, request: Any, *, limits: Limits | None = None) -> Call:
    """Checks a ClassificationRequest.

    Raises:
      ServingError: The signature is not one of classification, or there are no examples.
    """
    signature, inputs, outputs = _prepare_examples(
        version, request, "classify", "classification", ("classes", "scores"), limits
    )

    rows = len(inputs["inputs"])

    def answer(values: Outputs) -> Any:
        response = message("ClassificationResponse")()
        _fill_spec(response.model_spec, version, signature)
        classes, scores = values.get("classes"), values.get("scores")
        for row in range(rows):
            listing = response.result.classifications.add()
            for column in range(next(iter(values.values())).shape[1]):
                entry = listing.classes.add()
                if classes is not None:
                    entry.label = classes[row, column]
                if scores is not None:
                    entry.score = scores[row, column]
        return response

    return make_call(version, signature, inputs, outputs, answer)


def prepare_regress(version: LoadedVersion, request: Any, *, limits: Limits | None = None) -> Call:
    """Checks a RegressionRequest.

    Raises:
      ServingError: The signature is not one of regression, or there are no examples.
    """
    signature, inputs, outputs = _prepare_examples(
        version, request, "regress", "regression", ("outputs",), limits
    )

    rows = len(inputs["inputs"])

    def answer(values: Outputs) -> Any:
        response = message("RegressionResponse")()
        _fill_spec(response.model_spec, version, signature)
        for value in values["outputs"].reshape(rows, -1)[:, 0]:
            response.result.regressions.add(value=value)
        return response

    return make_call(version, signature, inputs, outputs, answer)
