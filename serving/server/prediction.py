"""From a request message to arrays and back: what TF Serving checks, in its words.

A `prepare_*` function checks a request against a loaded version and gives a `Call`: the arrays
to run, the outputs to fetch, and how to answer. Error texts follow TF Serving's predict_util.cc,
classifier.cc and regressor.cc, so that a client reads the same sentence from both servers.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
import numpy as np

from serving.protocol import TensorError, decode_tensor, encode_tensor, message
from serving.protocol.tensors import type_name
from serving.server.loading import LoadedVersion, Signature
from serving.server.status import ServingError, invalid, not_found

DEFAULT_SIGNATURE = "serving_default"
_METHODS = tuple(f"tensorflow/serving/{kind}" for kind in ("predict", "classify", "regress"))

Outputs = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Call:
    """A checked request, ready to run.

    Attributes:
      version: The version that runs it.
      signature: The signature that it names.
      inputs: Arrays by input name.
      outputs: Names of the outputs to fetch.
      answer: Makes the response message of the fetched arrays.
    """

    version: LoadedVersion
    signature: Signature
    inputs: Mapping[str, np.ndarray]
    outputs: tuple[str, ...]
    answer: Callable[[Outputs], Any]

    @property
    def rows(self) -> int:
        """Examples in the request: the inputs' common first dimension (1 where there is none)."""
        first = next(iter(self.inputs.values()), None)
        return int(first.shape[0]) if first is not None and first.ndim else 1

    @property
    def input_bytes(self) -> int:
        """Bytes that the inputs take."""
        return sum(
            sum(map(len, array.ravel())) if array.dtype == object else array.nbytes
            for array in self.inputs.values()
        )


def _join(names: Sequence[str] | set[str]) -> str:
    return ",".join(sorted(names))


def _find_signature(version: LoadedVersion, spec: Any) -> Signature:
    name = spec.signature_name or DEFAULT_SIGNATURE
    signature = version.signatures.get(name)
    if signature is None:
        # TF Serving's words, but not its code (FAILED_PRECONDITION): what a caller names and
        # is not there is NOT_FOUND here, be it a model, a version or a signature.
        raise not_found(f'Serving signature key "{name}" not found.')
    if signature.definition.method_name not in _METHODS:
        raise ServingError(
            grpc.StatusCode.INTERNAL,
            "Expected prediction signature method_name to be one of "
            f"{{{', '.join(_METHODS)}}}. Was: {signature.definition.method_name}",
        )
    return signature


def _check_names(definition: Any, request: Any) -> None:
    wanted, sent = set(definition.inputs), set(request.inputs)
    if len(sent) != len(wanted):
        raise invalid(
            f"input size does not match signature: {len(sent)}!={len(wanted)} "
            f"len({{{_join(sent)}}}) != len({{{_join(wanted)}}}). "
            f"Sent extra: {{{_join(sent - wanted)}}}. "
            f"Missing but required: {{{_join(wanted - sent)}}}."
        )
    for alias in sorted(wanted - sent):
        raise invalid(
            f"Signature input alias: {alias}(feed name: {definition.inputs[alias].name}) not found "
            "in request and no default value provided. Inputs expected to be in the request "
            f"{{{_join(sent)}}}, or default input alias set: "
        )


def _read_inputs(definition: Any, request: Any, max_bytes: int | None) -> dict[str, np.ndarray]:
    arrays = {}
    for position, alias in enumerate(sorted(definition.inputs)):
        info, tensor = definition.inputs[alias], request.inputs[alias]
        if tensor.dtype != info.dtype:
            raise invalid(
                f"Expects arg[{position}] to be {type_name(info.dtype)} "
                f"but {type_name(tensor.dtype)} is provided (input {alias})"
            )
        try:
            array = decode_tensor(tensor, max_bytes=max_bytes)
        except TensorError as error:
            raise invalid(f"tensor parsing error: {alias}: {error}") from error
        _check_shape(alias, array, info)
        arrays[alias] = array
    return arrays


def _check_shape(alias: str, array: np.ndarray, info: Any) -> None:
    if info.tensor_shape.unknown_rank:
        return
    wanted = [dim.size for dim in info.tensor_shape.dim]
    fits = array.ndim == len(wanted) and all(
        size in (-1, actual) for size, actual in zip(wanted, array.shape, strict=True)
    )
    if not fits:
        raise invalid(
            f"input {alias} must have shape {wanted}, -1 standing for any size. "
            f"Received: {list(array.shape)}"
        )


def _output_names(definition: Any, output_filter: Sequence[str]) -> tuple[str, ...]:
    names = sorted(definition.outputs)
    seen = set()
    for alias in output_filter:
        if alias not in names:
            raise invalid(
                f"output tensor alias not found in signature: {alias} "
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


def prepare_predict(version: LoadedVersion, request: Any, *, max_bytes: int | None = None) -> Call:
    """Checks a PredictRequest.

    Args:
      version: The version that its model_spec names.
      request: The message.
      max_bytes: Largest input once unfolded.

    Raises:
      ServingError: It does not fit the signature.
    """
    signature = _find_signature(version, request.model_spec)
    _check_names(signature.definition, request)
    inputs = _read_inputs(signature.definition, request, max_bytes)
    outputs = _output_names(signature.definition, request.output_filter)

    def answer(values: Outputs) -> Any:
        response = message("PredictResponse")()
        _fill_spec(response.model_spec, version, signature)
        for name, array in values.items():
            response.outputs[name].CopyFrom(encode_tensor(array, as_fields=True))
        return response

    return Call(version, signature, inputs, outputs, answer)


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
    version: LoadedVersion, request: Any, kind: str, noun: str, outputs: Sequence[str]
) -> tuple[Signature, dict[str, np.ndarray], tuple[str, ...]]:
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    signature = version.signatures.get(name)
    if signature is None:
        raise invalid(f"No signature was found with the name: {name}")
    definition = signature.definition
    method = f"tensorflow/serving/{kind}"
    if definition.method_name != method:
        raise invalid(
            f"Expected {noun} signature method_name to be {method}. Was: {definition.method_name}"
        )
    if len(definition.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    found = tuple(output for output in outputs if output in definition.outputs)
    if "inputs" not in definition.inputs or not found:
        raise ServingError(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"Expected {noun} signature with input 'inputs' and outputs {list(outputs)}",
        )
    return signature, {"inputs": serialized_examples(request.input)}, found


def prepare_classify(version: LoadedVersion, request: Any) -> Call:
    """Checks a ClassificationRequest.

    Raises:
      ServingError: The signature is not one of classification, or there are no examples.
    """
    signature, inputs, outputs = _prepare_examples(
        version, request, "classify", "classification", ("classes", "scores")
    )

    def answer(values: Outputs) -> Any:
        response = message("ClassificationResponse")()
        _fill_spec(response.model_spec, version, signature)
        classes, scores = values.get("classes"), values.get("scores")
        for row in range(len(inputs["inputs"])):
            listing = response.result.classifications.add()
            for column in range(next(iter(values.values())).shape[1]):
                entry = listing.classes.add()
                if classes is not None:
                    entry.label = classes[row, column]
                if scores is not None:
                    entry.score = scores[row, column]
        return response

    return Call(version, signature, inputs, outputs, answer)


def prepare_regress(version: LoadedVersion, request: Any) -> Call:
    """Checks a RegressionRequest.

    Raises:
      ServingError: The signature is not one of regression, or there are no examples.
    """
    signature, inputs, outputs = _prepare_examples(
        version, request, "regress", "regression", ("outputs",)
    )

    def answer(values: Outputs) -> Any:
        response = message("RegressionResponse")()
        _fill_spec(response.model_spec, version, signature)
        for value in values["outputs"].reshape(len(inputs["inputs"]), -1)[:, 0]:
            response.result.regressions.add(value=value)
        return response

    return Call(version, signature, inputs, outputs, answer)
