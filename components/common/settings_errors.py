"""Makes settings from values that a person wrote, and says in one sentence what is wrong with them.

Settings are pydantic dataclasses, declared with `config=CONFIG`, which check types and ranges. In
`common` because the command line, the gate, the trainers and ingest all read settings.
"""

import dataclasses
import difflib
import re
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False)

_Settings = TypeVar("_Settings")


def validated(kind: type[_Settings], values: Mapping[str, Any]) -> _Settings:
    """Makes settings from nested dictionaries; what they leave out has its default.

    Args:
      kind: A dataclass.
      values: Values by field name, as `dataclasses.asdict` gives them, also after JSON.

    Raises:
      ValueError: A name is unknown, or a value has the wrong type or is out of range; the text
        begins with the dotted name.
    """
    try:
        return TypeAdapter(kind).validate_python(dict(values))
    except ValidationError as error:
        raise ValueError(sentence(error)) from error


def changed(settings: _Settings, values: Mapping[str, Any]) -> _Settings:
    """Copies settings with several values replaced, and validates the whole.

    So the order of `values` does not matter where one setting bounds another.

    Args:
      settings: A dataclass, perhaps of dataclasses.
      values: Values by dotted name, as `augmentation.mixup`. Text is converted to the field's type
        unless the field is strict.

    Raises:
      ValueError: As `validated`; for an unknown name the text lists the known ones.
    """
    tree = dataclasses.asdict(settings)  # type: ignore[call-overload]
    for name, value in values.items():
        *parents, leaf = name.split(".")
        branch = tree
        for depth, parent in enumerate(parents):
            _require_known(parent, branch, ".".join(parents[: depth + 1]))
            if not isinstance(branch[parent], dict):
                raise ValueError(f"{'.'.join(parents[: depth + 1])} has no settings of its own")
            branch = branch[parent]
        _require_known(leaf, branch, name)
        if isinstance(branch[leaf], dict):
            raise ValueError(
                f"{name} has settings of its own: {', '.join(branch[leaf])}. "
                f"Received: {reprlib.repr(value)}"
            )
        branch[leaf] = value
    return validated(type(settings), tree)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values of nested dictionaries by dotted name, as `robustness.mp3_64k.max_drop`.

    Raises:
      ValueError: A value is given twice, once by its dotted name.
    """
    leaves: dict[str, Any] = {}
    for name, value in values.items():
        dotted_name = f"{prefix}{name}"
        inner = (
            flat(value, f"{dotted_name}.")
            if isinstance(value, Mapping) and value
            else {dotted_name: value}
        )
        if twice := leaves.keys() & inner.keys():
            raise ValueError(f"{min(twice)} is given twice")
        leaves |= inner
    return leaves


def sentence(error: ValidationError) -> str:
    """The first fault that pydantic found, as one sentence.

    Examples:
      >>> from pydantic import Field, TypeAdapter
      >>> from typing import Annotated
      >>> try:
      ...     TypeAdapter(dict[str, Annotated[int, Field(ge=1)]]).validate_python({"epochs": 0})
      ... except ValidationError as error:
      ...     print(sentence(error))
      epochs must be greater than or equal to 1. Received: 0
    """
    fault = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "value_error":  # raised in `__post_init__`, which names what it received
        return f"{name}: {fault['ctx']['error']}" if name else str(fault["ctx"]["error"])
    if fault["type"] == "unexpected_keyword_argument":
        return f"{name}: no such setting"
    expected = re.sub(r", (unable|got) .*", "", fault["msg"].replace("Input should", "must", 1))
    return f"{name} {expected}. Received: {reprlib.repr(fault['input'])}"


def similar(name: str, known: Iterable[str]) -> str:
    """A question in brackets for the known name nearest to `name`; empty if none is near."""
    spelled = {other.lower(): other for other in known}
    nearest = difflib.get_close_matches(name.lower(), spelled, n=1)
    return f" (did you mean {spelled[nearest[0]]}?)" if nearest else ""


def _require_known(name: str, known: Mapping[str, Any], dotted_name: str) -> None:
    if name not in known:
        raise ValueError(
            f"{dotted_name}: no such setting{similar(name, known)}. "
            f"There are {', '.join(sorted(known))}"
        )
