"""Reads settings from YAML files (`--gate`, `--config`), and names what is wrong in them."""

import reprlib
from pathlib import Path
from typing import Any

import yaml

from components.common.errors import UserError
from components.gate import settings
from components.gate.settings import GateSettings

_MOST_BYTES = 64 << 10
_LONGEST_VALUE = 1000  # characters


def read(path: str) -> GateSettings:
    """Reads thresholds; those that the file leaves out keep their defaults.

    Args:
      path: A local file; `gate.example.yaml` lists every key.

    Raises:
      UserError: The file cannot be read, holds no setting, or a key is unknown, given twice, of the
        wrong type or out of range; the text names the file and the key.
    """
    try:
        return settings.from_dict(mapping(path, flag="--gate", example="gate.example.yaml"))
    except ValueError as error:
        raise UserError(f"--gate {path}: {error}") from error


def mapping(path: str, *, flag: str, example: str) -> dict[str, Any]:
    """Reads lines of `key: value` from a YAML file.

    Args:
      path: A local file.
      flag: What named it, for errors.
      example: A file to begin with, for errors.

    Raises:
      UserError: The file cannot be read or holds something else; the text names the file.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise UserError(f"{flag} {path}: settings take less than {_MOST_BYTES} bytes")
        values = yaml.load(content.decode("utf-8"), Loader=_Loader)
    except OSError as error:
        raise UserError(f"{flag} {path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{flag} {path}: cannot be read: it is not UTF-8 text") from error
    except RecursionError as error:
        raise UserError(f"{flag} {path}: it is nested too deeply") from error
    # PyYAML's constructors let errors of Python's own pass: 2001-99-99 is no date.
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{flag} {path}: {_in_one_line(error)}") from error
    if values is None or values == {}:
        raise UserError(
            f"{flag} {path}: the file holds no setting; leave {flag} out for the defaults, or take "
            f"{example} to begin with"
        )
    if not isinstance(values, dict):
        raise UserError(
            f"{flag} {path}: expected lines of `key: value`. Received: {reprlib.repr(values)}"
        )
    return values


class _Loader(yaml.SafeLoader):
    """Refuses what no threshold needs, and could cost hours: aliases and long values.

    It also refuses equal keys, of which PyYAML takes the last: a threshold would be lost silently.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        mark: Any = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="aliases are not supported", problem_mark=mark)
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > _LONGEST_VALUE:
            raise yaml.MarkedYAMLError(
                problem=f"{event.value[:10]}… is too long for a value",
                problem_mark=mark,
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"{twice[0]} is given twice", node.start_mark
            )
        return super().construct_mapping(node, deep=deep)


def _in_one_line(error: Exception) -> str:
    problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
    mark = getattr(error, "problem_mark", None)
    return f"{problem} (line {mark.line + 1})" if mark else str(problem)
