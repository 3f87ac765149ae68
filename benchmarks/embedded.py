"""What the serving benchmarks share: clips, the embedded server's process, its requests."""

import argparse
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from components.audio import codec
from components.audio.settings import AudioSettings
from components.gtzan.composer import compose_track
from components.gtzan.genres import GENRES
from serving.protocol import PREDICTION_SERVICE, encode_tensor, message, methods

PREDICT = methods(PREDICTION_SERVICE)["Predict"]


def base_parser(name: str, description: str) -> argparse.ArgumentParser:
    """The flags that the serving benchmarks share."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    parser.add_argument("--model-base-path", required=True, type=Path, metavar="DIR")
    parser.add_argument(
        "--clips", type=Path, metavar="DIR", help="folder of music (default: composed, synthetic)"
    )
    parser.add_argument(
        "--clip-seconds", type=float, default=30.0, metavar="S", help="length of a clip (30)"
    )
    parser.add_argument("--server-flag", action="append", default=[], help="for the server")
    return parser


def write_clips(
    source: Path | None, folder: Path, *, count: int = 16, seconds: float = 30.0
) -> list[Path]:
    """Writes clips as WAV, of the music in `source` or composed.

    Args:
      source: Folder of music.
      folder: The folder to write to.
      count: Number of clips.
      seconds: Length of each.
    """
    settings = AudioSettings()
    length = round(seconds * settings.sample_rate_hz)
    songs = sorted(source.rglob("*.wav")) if source else []
    clips = []
    for index in range(count):
        if songs:
            song = songs[index * len(songs) // count]
            decoded = codec.decode(
                song.read_bytes(), name=song.name, sample_rate_hz=settings.sample_rate_hz
            )
            samples = decoded.samples
        else:
            samples = compose_track(GENRES[index % len(GENRES)], index, 1)
        clips.append(folder / f"{index:02d}.wav")
        clip = codec.take_clips(samples, length)
        clips[-1].write_bytes(codec.encode_wav(clip, settings.sample_rate_hz))
    return clips


def newest_version(base_path: Path) -> Path:
    """The newest version folder."""
    folders = [path for path in base_path.iterdir() if path.name.isdigit()]
    return max(folders, key=lambda path: int(path.name))


class Server:
    """The embedded server in a process of its own.

    Attributes:
      process: The process.
      address: Its gRPC address.
      url: Its REST address.
    """

    def __init__(self, base_path: Path, flags: Sequence[str] = ()) -> None:
        """Starts it and waits until it serves."""
        command = ["-m", "serving.server", "--model-base-path", str(base_path)]
        self.process = subprocess.Popen(
            [sys.executable, *command, "--port", "0", "--rest-port", "0", *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        printed = ""
        while "Ctrl-C" not in printed:
            line = self.process.stdout.readline()
            if not line:
                raise SystemExit(f"the server ended before it was ready\n{printed}")
            printed += line
        self.address, self.url = re.findall(r"(?:gRPC|REST) +(\S+)", printed)

    def stop(self) -> None:
        """Ends it."""
        self.process.terminate()
        self.process.wait(60)


def wav_request(wav: bytes) -> bytes:
    """A serialized PredictRequest."""
    request = message("PredictRequest")()
    request.model_spec.name, request.model_spec.signature_name = "genre", "classify_wav"
    request.inputs["wav"].CopyFrom(encode_tensor([wav]))
    return bytes(request.SerializeToString())
