"""The `gatefold` command: `gatefold --help` lists its words; each runs a module of the packages."""

import runpy
import sys
from collections.abc import Sequence

from components.common.settings_errors import similar

WORDS = {
    "run": ("local_runner", "run the pipeline on this machine: from a folder of music to a model"),
    "dag": ("pipeline.local.dag", "show what a run with these flags would do, and what is cached"),
    "settings": ("pipeline.settings_table", "list every key of `run --set`, with its default"),
    "classify": ("serving.classify", "say what genre songs are, with the model pushed last"),
    "serve": ("serving.server", "serve what was pushed over TF Serving's gRPC and REST"),
    "client": ("serving.client", "ask a served model what genre songs are"),
    "app": ("serving.app", "open the page that asks a served model"),
    "demo": ("serving.demo", "run the pipeline if nothing is pushed, serve, and open the page"),
    "release": ("serving.release", "see what was in production when, go back, verify"),
    "monitor": ("serving.monitor", "compare sampled requests with the training data"),
    "kubeflow": ("kubeflow.runner", "compile, run and schedule on Kubeflow Pipelines"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a word's module with the rest of the arguments. Returns the exit code."""
    word, *rest = (sys.argv[1:] if arguments is None else arguments) or [""]
    if word in ("-h", "--help"):
        print(_help())
        return 0
    if word not in WORDS:
        mistake = f"gatefold: there is no command {word!r}{similar(word, WORDS)}"
        print(mistake if word else _help(), file=sys.stderr)
        return 2
    sys.argv = [f"gatefold {word}", *rest]
    # It trains nothing and needs no release, of which all that `serving` knows.
    module = "pipeline.music_tags" if word == "classify" and "--tags" in rest else WORDS[word][0]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except KeyboardInterrupt:
        return 130
    return 0


def _help() -> str:
    lines = [f"  {word:10} {purpose}" for word, (_, purpose) in WORDS.items()]
    return "\n".join(
        ["usage: gatefold COMMAND …", "", *lines, "", "`gatefold COMMAND --help` lists its flags."]
    )


if __name__ == "__main__":
    sys.exit(main())
