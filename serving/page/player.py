"""The player: sound, waveform, genres over time and spectrogram, with one playhead through all.

Streamlit's own player does not tell where it is, and a timeline without a moving hand is only half
of one, so this is a small page of its own (player.html) that is given its data as JSON.
"""

import base64
import json
import pathlib
from collections.abc import Mapping, Sequence

from components.audio.settings import AudioSettings
from serving.client import GenrePrediction
from serving.page.sound import SoundPicture, note_heights

_TEMPLATE = pathlib.Path(__file__).with_name("player.html")
_PLACE = "/*DATA*/null"


def player_html(
    url: str,
    picture: SoundPicture,
    predictions: Sequence[GenrePrediction],
    titles: Sequence[str],
    colours: Mapping[str, str],
    settings: AudioSettings,
) -> str:
    """The player's page.

    Args:
      url: Where the sound is.
      picture: What it looks like.
      predictions: One timeline each; the waveform takes the first one's colours.
      titles: What the models are called, one a prediction.
      colours: Of every genre, as #rrggbb.
      settings: The analysis settings.
    """
    png = base64.b64encode(picture.spectrogram_png).decode()
    data = {
        "sound": url,
        "seconds": picture.duration_seconds,
        "peaks": picture.peaks,
        "picture": f"data:image/png;base64,{png}",
        "notes": [{"name": name, "height": height} for name, height in note_heights(settings)],
        "colours": dict(colours),
        "timelines": [
            _timeline(prediction, title)
            for prediction, title in zip(predictions, titles, strict=True)
        ],
    }
    # "</" would end the script element, and "<!--" begin a comment, whatever string they stand in.
    text = json.dumps(data).replace("<", "\\u003c")
    return _TEMPLATE.read_text(encoding="utf-8").replace(_PLACE, text)


def _timeline(prediction: GenrePrediction, title: str) -> dict[str, object]:
    mean = prediction.window_probabilities.mean(axis=0)
    order = [prediction.genres[i] for i in (-mean).argsort()]
    rows = zip(prediction.timeline(), prediction.window_probabilities, strict=True)
    return {
        "name": title,
        "length": prediction.window_seconds,
        "order": order,
        "windows": [
            {
                "start": round(start, 3),
                "genre": genre,
                "probability": round(value, 4),
                "all": {
                    name: round(float(part), 3)
                    for name, part in zip(prediction.genres, row, strict=True)
                },
            }
            for (start, genre, value), row in rows
        ],
    }
