"""What the serving benchmarks share: clips, the embedded server's process, its requests."""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.audio import codec
from components.audio.settings import AudioSettings
from components.gtzan.composer import compose_track
from components.gtzan.genres import GENRES
from serving.protocol import PREDICTION_SERVICE, encode_tensor, message, methods

PREDICT = methods(PREDICTION_SERVICE)["Predict"]


def write_clips(
    source: Path | None, folder: Path, *, count: int = 16, seconds: float | None = None
) -> list[Path]:
    """Writes clips as WAV, of the music in `source` or composed.

    Args:
      source: Folder of music.
      folder: The folder to write to.
      count: Number of clips.
      seconds: Length of each; a whole clip (30 s) unless given.
    """
    settings = AudioSettings()
    music_files = (
        sorted(source.rglob("*.wav"))[:: max(1, len(list(source.rglob("*.wav"))) // count)]
        if source
        else []
    )
    clips = []
    for index in range(count):
        if source:
            path = music_files[index % len(music_files)]
            data = path.read_bytes()
            samples = codec.decode(
                data, name=str(path), sample_rate_hz=settings.sample_rate_hz
            ).samples
        else:
            samples = compose_track(GENRES[index % len(GENRES)], index, 1)
        length = settings.clip_samples
        if seconds is not None:
            length = round(seconds * settings.sample_rate_hz)
        clip = codec.take_clips(samples, length)
        clips.append(folder / f"{index:02d}.wav")
        clips[-1].write_bytes(codec.encode_wav(clip, settings.sample_rate_hz))
    return clips


class Program:
    """A process that is waited for until it says that it is ready, and ended in the end."""

    def __init__(self, command: Sequence[str], ready: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.said = ""
        while ready not in self.said:
            assert self.process.stdout is not None
            line = self.process.stdout.readline()
            if not line:
                raise SystemExit(f"{' '.join(command)} ended before it was ready\n{self.said}")
            self.said += line

    def ask(self, command: dict[str, Any]) -> Any:
        """Sends one JSON line and reads one."""
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps(command), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def stop(self) -> None:
        """Ends it."""
        self.process.terminate()
        self.process.wait(60)


def start_server(base_path: str, flags: Sequence[str] = ()) -> tuple[Program, str]:
    """Starts the embedded server, with gRPC alone. Returns it and its address."""
    program, address, _ = start_both(base_path, ["--rest-port", "off", *flags])
    return program, address


def start_both(base_path: str, flags: Sequence[str] = ()) -> tuple[Program, str, str]:
    """Starts the embedded server. Returns it, its gRPC address and its REST URL, if it has one."""
    command = ["serving.server", "--model-base-path", base_path, "--port", "0"]
    if "--rest-port" not in flags:
        command += ["--rest-port", "0"]
    program = Program([*command, "--access-log", "off", *flags], "Ctrl-C")
    address = program.said.split("gRPC")[1].split()[0]
    url = re.search(r"REST +(\S+)", program.said)
    return program, address, url[1] if url else ""


def wav_request(wav: bytes) -> bytes:
    """A serialized PredictRequest."""
    request = message("PredictRequest")()
    request.model_spec.name, request.model_spec.signature_name = "genre", "classify_wav"
    request.inputs["wav"].CopyFrom(encode_tensor([wav]))
    return bytes(request.SerializeToString())
