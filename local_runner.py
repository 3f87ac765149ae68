"""Runs the pipeline on this machine: `python local_runner.py --help`."""

import sys

from components.common.errors import UserError
from pipeline import options


def main() -> int:
    """Parses the command line, runs, and returns the exit code."""
    try:
        config, download = options.parse(sys.argv[1:])
        # Only now, because it brings TensorFlow and TFX, which take half a minute to start.
        from pipeline.local import runner

        return runner.run(config, download=download)
    except UserError as error:
        print(f"local_runner.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted before the first stage.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
