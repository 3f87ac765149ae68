"""Every key of `--set`, from the settings themselves: `gatefold settings [--model cnn]`."""

import dataclasses
import sys
import typing
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import docstring_parser
from pydantic import TypeAdapter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from components.audio.settings import AudioSettings
from components.common.command_line import Parser
from components.trainer.catalog import CATALOG, recommended
from components.trainer.settings import TrainingSettings

_WIDE = 160  # of output that is no terminal
_LIMITS = {
    "minimum": "from {:g}",
    "exclusiveMinimum": "over {:g}",
    "maximum": "to {:g}",
    "exclusiveMaximum": "under {:g}",
}


class Setting(NamedTuple):
    """One key of `--set`.

    Attributes:
      key: As it is typed.
      kind: Its type and limits, in words.
      default: What it is unless set.
      meaning: A sentence or two.
    """

    key: str
    kind: str
    default: Any
    meaning: str


def settings(tree: Any, prefix: str) -> Iterator[Setting]:
    """The settings in a dataclass, and in the dataclasses in it.

    Args:
      tree: The defaults.
      prefix: What the keys begin with, as "audio"; "" for nothing.

    Examples:
      >>> next(settings(AudioSettings(), "audio"))[:3]
      ('audio.sample_rate_hz', 'integer', 22050)
    """
    meanings = {
        param.arg_name: " ".join((param.description or "").split())
        for param in docstring_parser.parse(tree.__doc__ or "").params
    }
    kinds = typing.get_type_hints(type(tree), include_extras=True)
    for field in dataclasses.fields(tree):
        value, key = getattr(tree, field.name), f"{prefix}.{field.name}".lstrip(".")
        if dataclasses.is_dataclass(value):
            yield from settings(value, key)
        else:
            yield Setting(key, _in_words(kinds[field.name]), value, meanings[field.name])


def _in_words(kind: Any) -> str:
    schema = TypeAdapter(kind).json_schema()
    schema = schema.get("anyOf", [schema])[0]  # a gate's threshold may also be null
    if "enum" in schema:
        return " or ".join(schema["enum"])
    limits = [text.format(schema[name]) for name, text in _LIMITS.items() if name in schema]
    return " ".join([schema["type"], *limits])


def build_parser() -> Parser:
    """The parser of the command line."""
    trained = [name for name, entry in CATALOG.items() if entry.recommended]
    parser = Parser(
        prog="gatefold settings", description="Every key of `gatefold run --set KEY=VALUE`."
    )
    parser.add_argument(
        "--model", choices=trained, help="show the defaults of training that this model has"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table. Returns the exit code."""
    model = build_parser().parse_args(arguments).model
    training = recommended(model) if model else TrainingSettings()
    table = Table("key", "type", "default", "meaning", box=None, padding=(0, 2, 0, 0))
    for tree, prefix in ((AudioSettings(), "audio"), (training, "training")):
        for setting in settings(tree, prefix):
            table.add_row(*(Text(str(cell)) for cell in setting))
    console = Console()
    (console if console.is_terminal else Console(width=_WIDE)).print(table)
    if not model:
        print("Models have defaults of their own: `gatefold settings --model cnn` shows them.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
