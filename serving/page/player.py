"""The player: sound, waveform, genres over time and spectrogram, with one playhead through all.

Streamlit's own player does not say where in the sound it is. So this is a small page of its own
(player.html) that is given its data as JSON.
"""

import base64
import json
import pathlib
from collections.abc import Mapping

from components.audio.settings import AudioSettings
from serving.client import GenrePrediction
from serving.page.sound import SoundPicture, note_heights

_TEMPLATE = pathlib.Path(__file__).with_name("player.html")
_DATA_MARK = "/*DATA*/null"


def player_html(
    url: str,
    picture: SoundPicture,
    prediction: GenrePrediction,
    colours: Mapping[str, str],
    settings: AudioSettings,
) -> str:
    """The player's page.

    Args:
      url: Where the sound is.
      picture: What it looks like.
      prediction: Its genres over time.
      colours: Of every genre, as #rrggbb.
      settings: The analysis settings.
    """
    png = base64.b64encode(picture.spectrogram_png).decode()
    mean = prediction.window_probabilities.mean(axis=0)
    windows = zip(prediction.timeline(), prediction.window_probabilities.tolist(), strict=True)
    data = {
        "sound": url,
        "seconds": picture.duration_seconds,
        "peaks": picture.peaks,
        "picture": f"data:image/png;base64,{png}",
        "notes": [{"name": name, "height": height} for name, height in note_heights(settings)],
        "colours": dict(colours),
        "length": prediction.window_seconds,
        "order": [prediction.genres[i] for i in (-mean).argsort()],
        "windows": [
            {
                "start": round(start, 3),
                "genre": genre,
                "probability": round(probability, 4),
                "all": {
                    name: round(value, 3)
                    for name, value in zip(prediction.genres, values, strict=True)
                },
            }
            for (start, genre, probability), values in windows
        ],
    }
    # "</" would end the script element, and "<!--" begin a comment, whatever string they stand in.
    text = json.dumps(data).replace("<", "\\u003c")
    return _TEMPLATE.read_text(encoding="utf-8").replace(_DATA_MARK, text)
