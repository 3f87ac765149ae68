"""Command lines that answer a mistake in two lines. In `common` because every command has one."""

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from components.common.settings_errors import similar


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that says what is wrong, suggests the nearest flag and names the help.

    Attributes:
      mistake_status: The exit code of a wrong command line.

    Examples:
      >>> parser = Parser(prog="gatefold run")
      >>> _ = parser.add_argument("--models")
      >>> try:
      ...     parser.parse_args(["--modles", "cnn"])
      ... except SystemExit as end:
      ...     print(end.code)
      2
    """

    mistake_status = 2

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        """As argparse's, and refuses unknown arguments where the parser of a subcommand sees them.

        Raises:
          SystemExit: An argument is unknown or wrong.
        """
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            flag = unknown[0].partition("=")[0]
            self.error(f"unknown argument {unknown[0]}{similar(flag, self._option_string_actions)}")
        return parsed, unknown

    def error(self, message: str) -> NoReturn:
        """Prints what is wrong and where help is, and exits with `mistake_status`."""
        self.exit(
            self.mistake_status,
            f"{self.prog}: {message}\n`{self.prog} --help` lists what there is.\n",
        )


class VerdictParser(Parser):
    """Of commands whose exit code 2 is a verdict: not blessed, or drift."""

    mistake_status = 1
