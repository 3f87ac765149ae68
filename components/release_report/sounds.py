"""Sound and spectrogram of single test tracks, small enough to be part of a page."""

import base64
import dataclasses
import io
from collections.abc import Collection

import matplotlib.image
import numpy as np
import soundfile
import tensorflow as tf

from components.audio.extraction import features_of_clip
from components.audio.settings import AudioSettings
from components.common import raw_examples

# Of libsndfile's MP3 encoder at a constant rate: about 40 kbit/s at 22 050 Hz.
_COMPRESSION = 0.8
_SPLIT = "test"
_FRAMES_PER_COLUMN = 3  # a picture needs fewer frames than a model


@dataclasses.dataclass(frozen=True)
class Sound:
    """A track as the page holds it.

    Attributes:
      seconds: Length of the sound, in seconds; a longer track is cut to its first clip.
      mp3: The sound as data URI.
      spectrogram: Its log-mel spectrogram as data URI, time from left to right.
    """

    seconds: float
    mp3: str
    spectrogram: str


def read(examples: str, track_ids: Collection[str], settings: AudioSettings) -> dict[str, Sound]:
    """Reads tracks of the test split; those that are not there are left out.

    Args:
      examples: URI of the raw examples.
      track_ids: Which tracks.
      settings: Rate and length of a clip.
    """
    sounds: dict[str, Sound] = {}
    required = set(track_ids)
    if not required:
        return sounds
    for track in raw_examples.tracks(raw_examples.split_files(examples, _SPLIT)):
        if track.track_id in required:
            sounds[track.track_id] = of_samples(track.samples[: settings.clip_samples], settings)
            if len(sounds) == len(required):
                break
    return sounds


def of_samples(samples: np.ndarray, settings: AudioSettings) -> Sound:
    """Encodes and draws a sound.

    Args:
      samples: float32 [samples] in [-1, 1].
      settings: Rate and analysis settings.
    """
    rate = settings.sample_rate_hz
    content = io.BytesIO()
    soundfile.write(
        content,
        samples,
        rate,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode="CONSTANT",
        compression_level=_COMPRESSION,
    )
    return Sound(
        seconds=len(samples) / rate,
        mp3=_data_uri("audio/mpeg", content.getvalue()),
        spectrogram=_data_uri("image/webp", _draw(samples, settings)),
    )


def _draw(samples: np.ndarray, settings: AudioSettings) -> bytes:
    """The log-mel spectrogram that models read, as WebP, with fewer frames."""
    features, _ = features_of_clip(["log_mel"], tf.constant(samples), settings)
    log_mel = features["log_mel"].numpy()
    frames = len(log_mel) // _FRAMES_PER_COLUMN * _FRAMES_PER_COLUMN
    columns = log_mel[:frames].reshape(-1, _FRAMES_PER_COLUMN, log_mel.shape[1]).mean(axis=1)
    image = io.BytesIO()
    matplotlib.image.imsave(
        image,
        columns.T,
        cmap="magma",
        vmin=columns.max() - settings.top_db,
        vmax=columns.max(),
        origin="lower",
        format="webp",
        pil_kwargs={"quality": 80},
    )
    return image.getvalue()


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
