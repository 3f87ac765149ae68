"""Runs the pipeline on this machine: `python local_runner.py --help`."""

import sys

from components.errors import UserError
from pipeline import cli


def main() -> int:
    """Parses the command line, runs, and returns the exit code."""
    try:
        config, download = cli.parse(sys.argv[1:])
    except UserError as error:
        print(f"local_runner.py: {error}", file=sys.stderr)
        return 1
    # Only now, because it brings TensorFlow and TFX, which take half a minute to start.
    from pipeline import local

    return local.run(config, download=download)


if __name__ == "__main__":
    sys.exit(main())
