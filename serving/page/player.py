"""The player: the sound, its waveform in the colours of its genres, and the genres' timeline.

Streamlit's own player does not tell where it is, and a timeline without a moving hand is only half
of one, so this is a small page of its own (player.html) that is given its data as JSON.
"""

import base64
import json
import pathlib
from collections.abc import Sequence

import numpy as np

from components.audio import codec
from serving.client import GenrePrediction
from serving.client.tables import GENRE_COLOURS, colour

_TEMPLATE = pathlib.Path(__file__).with_name("player.html")
_PLACE = "/*DATA*/null"
_PEAKS = 400
# What every browser plays as it is; other formats, and what would be larger so, go as WAV.
_PLAYABLE = {".mp3": "audio/mpeg", ".flac": "audio/flac", ".wav": "audio/wav"}


def peaks(samples: np.ndarray, count: int = _PEAKS) -> np.ndarray:
    """The largest magnitude in each of `count` equal parts, relative to the loudest: [count]."""
    edges = np.linspace(0, len(samples), count, endpoint=False).astype(int)
    highest = np.maximum.reduceat(np.abs(samples), edges)
    return highest / max(float(highest.max()), 1e-6)


def sound_url(data: bytes, name: str, samples: np.ndarray, sample_rate_hz: int) -> str:
    """The sound as a data: URL that a browser plays."""
    kind = _PLAYABLE.get(pathlib.PurePath(name).suffix.lower())
    if kind is None or len(data) > 2 * len(samples) + 44:
        data, kind = codec.encode_wav(samples, sample_rate_hz), "audio/wav"
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def player_html(url: str, samples: np.ndarray, predictions: Sequence[GenrePrediction]) -> str:
    """The player's page.

    Args:
      url: Where the sound is, see `sound_url`.
      samples: float32 [n], for the waveform.
      predictions: One timeline each; the waveform takes the first one's colours.
    """
    genres = {genre for prediction in predictions for genre in prediction.genres}
    data = {
        "sound": url,
        "seconds": predictions[0].duration_seconds,
        "peaks": [round(float(peak), 3) for peak in peaks(samples)],
        "colours": {**GENRE_COLOURS, **{genre: colour(genre) for genre in genres}},
        "timelines": [
            {
                "name": f"{prediction.model} {prediction.version}",
                "length": prediction.window_seconds,
                "windows": [
                    {"start": round(start, 3), "genre": genre, "probability": round(value, 4)}
                    for start, genre, value in prediction.timeline()
                ],
            }
            for prediction in predictions
        ],
    }
    # "</" would end the script element, whatever string it stands in.
    text = json.dumps(data).replace("</", "<\\/")
    return _TEMPLATE.read_text(encoding="utf-8").replace(_PLACE, text)


def player_height(timelines: int) -> int:
    """Pixels that the player takes with so many timelines."""
    return 284 if timelines == 1 else 250 + 52 * timelines
