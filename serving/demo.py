"""From nothing to a page that says what songs are: `gatefold demo`.

Runs the pipeline on the built-in sample if nothing is pushed yet, then serves what is pushed and
opens the page on it, on free ports. Ctrl-C ends all.
"""

import pathlib
import signal
import subprocess
import sys
from collections.abc import Sequence

from components.common.command_line import Parser
from components.common.releases import ReleaseStore
from serving import app


def build_parser() -> Parser:
    """The parser of the command line."""
    parser = Parser(prog="gatefold demo", description="Run, serve and open the page, in one.")
    parser.add_argument(
        "--output", default="output", metavar="DIR", help="the pipeline's (default: output)"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what is missing, then the page. Returns the exit code."""
    output = build_parser().parse_args(arguments).output
    releases = pathlib.Path(output, "serving", "genre")
    if not ReleaseStore(str(releases)).versions():
        print("Nothing is pushed yet: first the pipeline runs on the built-in sample.", flush=True)
        if code := _run_pipeline(output):
            return code
    port = app.free_port()
    print(f"The page: http://localhost:{port}. Ctrl-C ends it and its server.", flush=True)
    return app.launch(["--releases", str(releases), "--port", str(port), "--open"], own_server=True)


def _run_pipeline(output: str) -> int:
    pipeline = subprocess.Popen([sys.executable, "-m", "local_runner", "--output", output])
    before = signal.signal(signal.SIGINT, lambda *_: None)  # the pipeline answers Ctrl-C itself
    try:
        return pipeline.wait()
    finally:
        signal.signal(signal.SIGINT, before)


if __name__ == "__main__":
    sys.exit(main())
