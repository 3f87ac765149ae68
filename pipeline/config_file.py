"""The flags of a run in one YAML file: `--config gatefold.yaml`.

    data: genres_original
    models: [cnn, lstm]
    set: {audio.mel_bins: 96, training.learning_rate: 0.001}

Each run writes all of its flags as such a file into its output folder.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import yaml

from components.common.errors import UserError
from components.common.settings_errors import flat
from pipeline import gate_file

FILE = "gatefold.yaml"
_REPEATED = ("set", "beam-arg")


def expanded(arguments: Sequence[str]) -> list[str]:
    """Replaces `--config FILE` by the flags in the file; flags of the command line win.

    Raises:
      UserError: The file cannot be read, or is no such file.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", action="append", default=[])
    parsed, rest = parser.parse_known_args(arguments)
    return [flag for path in parsed.config for flag in _flags(path)] + rest


def _flags(path: str) -> list[str]:
    values = gate_file.mapping(path, flag="--config", example=f"output/{FILE}")
    flags: list[str] = []
    for name, value in values.items():
        if isinstance(value, dict) and name == "set":
            value = [f"{key}={setting}" for key, setting in flat(value).items()]
        if isinstance(value, dict):
            raise UserError(f"--config {path}: {name} takes no settings of its own")
        if value is True:
            flags.append(f"--{name}")
        elif isinstance(value, list) and name in _REPEATED:
            flags += [f"--{name}={item}" for item in value]
        elif isinstance(value, list):
            flags.append(f"--{name}={','.join(map(str, value))}")
        elif value is not None and value is not False:
            flags.append(f"--{name}={value}")
    return flags


def text(values: dict[str, Any]) -> str:
    """The content of a file that `expanded` reads, of values by flag without its dashes."""
    chosen = {
        name: value
        for name, value in values.items()
        if value is not None and value is not False and value not in ("", [])
    }
    return yaml.safe_dump(chosen, sort_keys=False, allow_unicode=True, width=10_000)
