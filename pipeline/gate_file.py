"""Reads the gate's thresholds from a YAML file (`--gate`), and names what is wrong in it."""

from pathlib import Path
from typing import Any

import yaml

from components.common.errors import UserError
from components.gate import settings
from components.gate.settings import GateSettings


def read(path: str) -> GateSettings:
    """Reads thresholds; those that the file leaves out keep their defaults.

    Args:
      path: A local file; `gate.example.yaml` lists every key.

    Raises:
      UserError: The file cannot be read, holds no setting, or a key is unknown, given twice, of the
        wrong type or out of range; the text names the file and the key.
    """
    try:
        values = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UserError(f"--gate {path}: cannot be read: {reason}") from error
    except yaml.YAMLError as error:
        raise UserError(f"--gate {path}: {_in_one_line(error)}") from error
    if values is None or values == {}:
        raise UserError(
            f"--gate {path}: the file holds no setting; leave --gate out for the defaults, or take "
            "gate.example.yaml to begin with"
        )
    if not isinstance(values, dict):
        raise UserError(f"--gate {path}: expected lines of `key: value`. Received: {values!r}")
    try:
        return settings.from_dict(values)
    except ValueError as error:
        raise UserError(f"--gate {path}: {error}") from error


class _Loader(yaml.SafeLoader):
    """PyYAML takes the last of two equal keys, so a threshold could be lost without a word."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"{twice[0]} is given twice", node.start_mark
            )
        return super().construct_mapping(node, deep=deep)


def _in_one_line(error: yaml.YAMLError) -> str:
    problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
    mark = getattr(error, "problem_mark", None)
    return f"{problem} (line {mark.line + 1})" if mark else str(problem)
