"""Compiles and runs the pipeline on Kubeflow Pipelines: `gatefold kubeflow --help`."""

import os
import sys

from components.common import runtime
from components.common.errors import UserError
from kubeflow import options


def main(arguments: list[str] | None = None) -> int:
    """Parses the command line, does what it says, and returns the exit code."""
    try:
        parsed = options.parse(sys.argv[1:] if arguments is None else arguments)
        if parsed.command == "compile":
            config, deployment = options.compile_settings(parsed)
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported
            runtime.quieten()
            # Only now, because it brings TensorFlow and TFX, which take half a minute to start.
            with runtime.importing():
                from kubeflow import compiling

            print(compiling.compile_to(parsed.file, config, deployment))
            return 0
        from kubeflow import client

        for line in client.COMMANDS[parsed.command](parsed):
            print(line)
        return 0
    except UserError as error:
        print(f"gatefold kubeflow: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
