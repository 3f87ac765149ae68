"""What published music taggers hear in songs: `gatefold classify --tags SONG`. Trains nothing.

Pons and Serra trained the networks to tag songs with 50 words each, on the Million Song Dataset and
on MagnaTagATune (arXiv 1909.06654; weights in the PyPI package musicnn, ISC licence). It is a view
of those networks: no release, and no gate has judged it.
"""

import argparse
import ast
import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from rich.text import Text

from components.audio import codec, features, streaming
from components.audio.settings import AudioSettings
from components.common import runtime
from components.common.command_line import Parser
from components.common.errors import UserError
from components.gtzan import layout, listing
from components.trainer.weight_sources import published_checkpoint

NETWORKS = ("MSD_musicnn", "MTT_musicnn")
_DATA = {"MSD": "the Million Song Dataset", "MTT": "MagnaTagATune"}
_SETTINGS = AudioSettings()
_SHOWN = 8
_COLUMNS = 40
_BARS = "▁▂▃▄▅▆▇█"


class Tagger:
    """A published network with its 50 tags."""

    def __init__(self, network: str = NETWORKS[0]) -> None:
        """Loads the network, which takes some seconds.

        Args:
          network: One of `NETWORKS`.

        Raises:
          WeightsError: The package with the weights is not installed.
        """
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported
        runtime.quieten()
        import keras
        import tensorflow as tf

        from components.audio import extraction
        from components.trainer.models import musicnn

        logging.getLogger("tensorflow").setLevel(logging.ERROR)

        checkpoint = published_checkpoint(network)
        labels = (checkpoint.parent / "configuration.py").read_text()  # code of TensorFlow 1
        _, _, names = labels.partition(f"{network.partition('_')[0]}_LABELS = ")
        self.tags: tuple[str, ...] = tuple(ast.literal_eval(names.splitlines()[0]))
        self.feature = features.feature("music_mel", _SETTINGS)
        body, published = musicnn.tagger(network).body(self.feature)
        layer = keras.layers.Dense(len(self.tags), "sigmoid", name="dense_1")
        below_the_tags = body.get_layer("batch_normalization_10").output
        self.model = keras.Model(body.input, published.linear(layer, "dense_1")(below_the_tags))
        published.load(checkpoint)

        def windows(clip: tf.Tensor) -> tf.Tensor:
            matrices, _ = extraction.extract([self.feature.name], clip, _SETTINGS)
            matrix = matrices[self.feature.name]
            return extraction.cut_windows(matrix, self.feature.window_frames)[0]

        signature = [tf.TensorSpec([1, None], tf.float32)]
        self._windows = tf.function(windows, input_signature=signature, autograph=False)

    def hear(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Probabilities of the tags over time.

        Args:
          samples: float32 [n], mono at 22 050 Hz, three seconds or more.

        Returns:
          float32 [windows, 50], a window for each three seconds.
        """
        heard = []
        for start in range(0, len(samples), _SETTINGS.clip_samples):
            clip = samples[start : start + _SETTINGS.clip_samples]
            if len(clip) < _SETTINGS.minimum_samples:
                break
            heard.append(self.model.predict_on_batch(self._windows(clip[None])))
        return np.concatenate(heard)


def read(path: Path) -> npt.NDArray[np.float32]:
    """The samples of a song, at most half an hour.

    Raises:
      UserError: The file cannot be read, is not audio, or is shorter than three seconds.
    """
    name = layout.printable(str(path))
    rate = _SETTINGS.sample_rate_hz
    try:
        samples = codec.decode(path.read_bytes(), name=name, sample_rate_hz=rate).samples
    except OSError as error:
        raise UserError(f"{name} cannot be read: {error.strerror}") from error
    except streaming.AudioError as error:
        raise UserError(str(error)) from error
    if len(samples) < _SETTINGS.minimum_samples:
        raise UserError(f"{name} is too short: at least {_SETTINGS.window_seconds:g} s are needed")
    return samples


def _songs(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from (path / file.path for file in listing.local_files(path))
        else:
            yield path


def _show(path: Path, tagger: Tagger, heard: npt.NDArray[np.float32], as_json: bool) -> None:
    means = heard.mean(axis=0)
    order = means.argsort()[::-1]
    if as_json:
        tags = {tagger.tags[tag]: round(float(means[tag]), 4) for tag in order}
        over_time = {tagger.tags[tag]: heard[:, tag].round(4).tolist() for tag in order}
        print(json.dumps({"file": str(path), "tags": tags, "over_time": over_time}))
        return
    seconds = len(heard) * _SETTINGS.window_seconds
    minutes = f"{int(seconds // 60)}:{int(seconds % 60):02}"
    table = Table("tag", "mean", f"from 0:00 to {minutes}", title=Text(path.name), box=None)
    for tag in order[:_SHOWN]:
        parts = np.array_split(heard[:, tag], min(_COLUMNS, len(heard)))
        line = "".join(_BARS[min(int(8 * part.mean()), 7)] for part in parts)
        table.add_row(tagger.tags[tag], f"{means[tag]:.0%}", line)
    Console().print(table)


def build_parser() -> Parser:
    """The parser of the command line."""
    parser = Parser(
        prog="gatefold classify --tags",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("songs", nargs="+", type=Path, metavar="SONG", help="a file, or a folder")
    parser.add_argument("--tags", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--network", choices=NETWORKS, default=NETWORKS[0], help="%(default)s")
    parser.add_argument("--json", action="store_true", help="one JSON object a song")
    parser.add_argument("--output", help=argparse.SUPPRESS)  # of `make classify`: of no use here
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command. Returns the exit code."""
    parsed = build_parser().parse_args(arguments)
    failed = False
    try:
        tagger = Tagger(parsed.network)
        for path in _songs(parsed.songs):
            try:
                _show(path, tagger, tagger.hear(read(path)), parsed.json)
            except UserError as error:
                failed = True
                print(f"error: {error}", file=sys.stderr)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(
        f"Heard by {parsed.network}, which Pons and Serra trained on "
        f"{_DATA[parsed.network[:3]]} (ISC licence); no model of yours.",
        file=sys.stderr,
    )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
