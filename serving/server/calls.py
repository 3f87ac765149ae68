"""A checked request, ready to run."""

import dataclasses
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np

from serving.protocol.tensors import STRING_BYTES
from serving.server.loading import LoadedVersion, Signature
from serving.server.status import invalid

Outputs = Mapping[str, np.ndarray]

_HEADER_BYTES = 44  # a WAV file's: rate, channels and sample format


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one request may hold.

    Attributes:
      max_bytes: Most bytes of an input, unfolded.
      max_rows: Most examples, where the signature can be run in batches.
    """

    max_bytes: int
    max_rows: int


@dataclasses.dataclass(frozen=True)
class Call:
    """A checked request, ready to run.

    Attributes:
      version: The version that runs it.
      signature: The signature that it names.
      inputs: Arrays by input name.
      outputs: Names of the outputs to fetch.
      answer: Makes the response of the fetched arrays.
      rows: Examples in the request: the inputs' first dimension (1 where there is none).
      input_bytes: Bytes that the inputs take.
      shared_key: Equal for requests that may share a run.
    """

    version: LoadedVersion
    signature: Signature
    inputs: Mapping[str, np.ndarray]
    outputs: tuple[str, ...]
    answer: Callable[[Outputs], Any]
    rows: int
    input_bytes: int
    shared_key: Hashable


def make_call(
    version: LoadedVersion,
    signature: Signature,
    inputs: Mapping[str, np.ndarray],
    outputs: tuple[str, ...],
    answer: Callable[[Outputs], Any],
) -> Call:
    """A call of these inputs; see `Call`."""
    first = next(iter(inputs.values()), None)
    rows = int(first.shape[0]) if first is not None and first.ndim else 1
    size = sum(map(_array_bytes, inputs.values()))
    key = _shared_key(version, signature, inputs, outputs, rows)
    return Call(version, signature, inputs, outputs, answer, rows, size, key)


def check_rows(signature: Signature, shapes: Mapping[str, tuple[int, ...]], max_rows: int) -> None:
    """Checks the inputs' first dimension, as TF Serving's batch scheduler does.

    Raises:
      ServingError: INVALID_ARGUMENT where they differ, or are more than one run takes.
    """
    if not signature.batchable:
        return
    rows = {shape[0] for shape in shapes.values()}
    if len(rows) > 1:
        raise invalid("Batching Run() input tensors must have equal 0th-dimension size")
    for count in rows:
        if count > max_rows:
            raise invalid(
                f"Task size {count} is larger than maximum input batch size {max_rows} "
                "(--max-batch-size)"
            )


def _array_bytes(array: np.ndarray) -> int:
    if array.dtype != object:
        return array.nbytes
    return array.size * STRING_BYTES + sum(map(len, array.ravel()))


def _shared_key(
    version: LoadedVersion,
    signature: Signature,
    inputs: Mapping[str, np.ndarray],
    outputs: tuple[str, ...],
    rows: int,
) -> Hashable:
    """What requests must have in common to share a run; unique where this one must not."""
    if not signature.batchable or rows == 0:
        return object()
    parts: list[Hashable] = []
    for name in sorted(inputs):
        array = inputs[name]
        parts.append(array.shape[1:])
        if array.dtype == object and signature.ragged:
            kinds = {(len(item), item[:_HEADER_BYTES]) for item in array.ravel()}
            parts.append(kinds.pop() if len(kinds) == 1 else object())
    return version, signature.name, outputs, tuple(parts)
