"""Runs the pipeline on this machine: `gatefold run --help`."""

import functools
import sys

from components.common.errors import UserError
from pipeline import options


def main() -> int:
    """Parses the command line, runs, and returns the exit code."""
    try:
        config, download = options.parse(sys.argv[1:])
        flags = options.effective(sys.argv[1:])
        from pipeline.local import planning, runner, summary

        plan = functools.partial(planning.make, download=download, flags=flags)
        return runner.run(config, plan=plan, show=summary.show_run, flags=flags)
    except UserError as error:
        print(f"gatefold run: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted before the first stage.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
