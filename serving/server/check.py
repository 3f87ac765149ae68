"""Checks a request against the signature that it names, before anything is made of its values.

Each function raises a ServingError that names what is wrong: INVALID_ARGUMENT, where its docstring
does not say otherwise.
"""

import dataclasses
import itertools
from collections.abc import Collection, Hashable, Mapping, Sequence

import grpc
import numpy as np

from serving.protocol import message, parse
from serving.server.errors import ServingError, invalid, short
from serving.server.loading import LoadedVersion, Signature

DEFAULT_SIGNATURE = "serving_default"
_HEADER_BYTES = 44  # a WAV file's: rate, channels and sample format
_MOST_SHOWN = 20  # names in an error


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one request may hold.

    Attributes:
      max_bytes: Most bytes of an input as an array.
      max_rows: Most examples, where the signature takes several.
    """

    max_bytes: int
    max_rows: int


@dataclasses.dataclass(frozen=True)
class Call:
    """A checked request, ready to run. It keeps its version open.

    Attributes:
      version: The version that runs it.
      signature: The signature that it names.
      inputs: Arrays by input name.
      outputs: Names of the outputs to fetch.
      as_rows: Whether its JSON answer lists rows ("predictions") instead of columns.
    """

    version: LoadedVersion
    signature: Signature
    inputs: Mapping[str, np.ndarray]
    outputs: tuple[str, ...]
    as_rows: bool = False

    @property
    def rows(self) -> int:
        """Examples in the request: the inputs' first dimension (1 where there is none)."""
        first = next(iter(self.inputs.values()), None)
        return len(first) if first is not None and first.ndim else 1

    @property
    def input_bytes(self) -> int:
        """Bytes that the inputs take; strings count by their characters."""
        return sum(
            sum(map(len, array.ravel())) if array.dtype == object else array.nbytes
            for array in self.inputs.values()
        )

    def shared_key(self) -> Hashable:
        """What requests must have in common to share a run; unique where this one must not.

        Beside version, signature, outputs and shapes these are, where the length of a string shapes
        the output (WAV files), its length and header.
        """
        if not self.signature.batchable or self.rows == 0:
            return object()
        parts: list[Hashable] = []
        for name in sorted(self.inputs):
            array = self.inputs[name]
            parts.append(array.shape[1:])
            if array.dtype.kind == "i" and self.signature.ragged:  # a rate, say
                values = set(array.ravel().tolist())
                parts.append(values.pop() if len(values) == 1 else object())
            if array.dtype == object and self.signature.ragged:
                headers = {(len(value), value[:_HEADER_BYTES]) for value in array.ravel()}
                parts.append(headers.pop() if len(headers) == 1 else object())
        return self.version, self.signature.name, self.outputs, tuple(parts)


def find_signature(version: LoadedVersion, name: str) -> Signature:
    """The signature that a request names, "" for the default one; else FAILED_PRECONDITION."""
    name = name or DEFAULT_SIGNATURE
    if name not in version.signatures:
        known = _join(version.signatures)
        raise ServingError(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"the model has no signature {short(name)!r}. It has: {known}",
        )
    return version.signatures[name]


def check_names(signature: Signature, sent: Collection[str]) -> None:
    """Checks that exactly the signature's inputs are there."""
    expected = set(signature.definition.inputs)
    if len(sent) != len(expected) or set(sent) != expected:
        raise invalid(
            f"signature {signature.name!r} takes the inputs {_join(expected)}. "
            f"Received: {_join(sent) or 'none'}"
        )


def check_shapes(
    signature: Signature, shapes: Mapping[str, tuple[int, ...]], limits: Limits | None
) -> None:
    """Checks the shapes that a request claims, by input name; limits are None for a warmup."""
    for name, shape in shapes.items():
        info = signature.definition.inputs[name].tensor_shape
        expected = [dim.size for dim in info.dim]
        fits = info.unknown_rank or len(shape) == len(expected)
        if not fits or any(
            size not in (-1, actual) for size, actual in zip(expected, shape, strict=False)
        ):
            raise invalid(
                f"input {name} must have shape {expected}, -1 standing for any size. "
                f"Received: {list(shape)}"
            )
    if not signature.batchable:
        return
    rows = {shape[0] for shape in shapes.values()}
    if len(rows) > 1:
        raise invalid(f"all inputs need as many rows. Received: {sorted(rows)}")
    if limits is not None:
        check_rows(max(rows, default=0), limits)


def check_rows(rows: int, limits: Limits) -> None:
    """Checks the number of examples."""
    if rows > limits.max_rows:
        raise invalid(
            f"a request holds at most {limits.max_rows} rows (--max-batch-size). Received: {rows}"
        )


def check_examples(arrays: Mapping[str, np.ndarray]) -> None:
    """Checks that the input `examples`, where there is one, holds serialized examples.

    A graph refuses others too, but quotes all of their bytes, and TensorFlow's Python searches
    those for names of nodes: in 16 MiB for a second, in which no other thread runs.
    """
    for value in arrays["examples"].ravel() if "examples" in arrays else ():
        try:
            parse(message("tensorflow.Example"), value)
        except ValueError as error:
            raise invalid(
                f"input examples must hold serialized tf.train.Examples: {error}"
            ) from None


def output_names(signature: Signature, output_filter: Sequence[str] = ()) -> tuple[str, ...]:
    """The outputs to fetch: those of the filter, or all."""
    names = sorted(signature.definition.outputs)
    for name in output_filter:
        if name not in names:
            raise invalid(f"there is no output {short(name)!r}. There are: {_join(names)}")
    if len(set(output_filter)) < len(output_filter):
        raise invalid("an output is named twice in the output_filter")
    return tuple(output_filter) or tuple(names)


def _join(names: Collection[str]) -> str:
    shown = sorted(map(short, itertools.islice(names, _MOST_SHOWN)))
    return ", ".join(shown if len(names) <= _MOST_SHOWN else [*shown, "…"])
