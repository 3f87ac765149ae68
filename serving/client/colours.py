"""One colour a genre, whatever the genres are: far apart, readable on black and on white."""

import colorsys
import math
from collections.abc import Iterable

# WCAG's relative luminance between which a colour has a contrast of 3 and more with white and with
# a dark page alike. With many genres, neighbours in hue take turns between the two ends.
_DARKER, _LIGHTER, _MIDDLE = 0.13, 0.295, 0.21
_MOST_HUES = 14


def genre_colours(*genre_lists: Iterable[str]) -> dict[str, str]:
    """Colours of all genres in the lists, as #rrggbb.

    Equal lists give equal colours. Neighbours in a list are far apart in hue.
    """
    genres = list(dict.fromkeys(genre for genres in genre_lists for genre in genres))
    hues = min(len(genres), _MOST_HUES)
    rounds = -(-len(genres) // hues) if genres else 0
    colours = {}
    for position, genre in enumerate(genres):
        turn, place = divmod(position, hues)
        # A step that shares no factor with the number of hues visits each once.
        hue = (place * _step(hues) % hues + turn / rounds) / hues
        luminance = _MIDDLE if rounds == 1 else _DARKER + (_LIGHTER - _DARKER) * turn / (rounds - 1)
        colours[genre] = _colour(hue, luminance)
    return colours


def _step(hues: int) -> int:
    """About 0.38 of the circle, prime to `hues`."""
    ideal = max(1, round(0.382 * hues))
    primes = [step for step in range(1, hues + 2) if math.gcd(step, hues) == 1]
    return min(primes, key=lambda step: (abs(step - ideal), -step))


def _colour(hue: float, luminance: float) -> str:
    """The colour of this hue (0 to 1) whose relative luminance is `luminance`."""
    low, high = 0.0, 1.0
    for _ in range(20):
        lightness = (low + high) / 2
        red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.62)
        if relative_luminance(red, green, blue) < luminance:
            low = lightness
        else:
            high = lightness
    return "#" + "".join(f"{round(255 * part):02x}" for part in (red, green, blue))


def relative_luminance(red: float, green: float, blue: float) -> float:
    """WCAG's relative luminance of an sRGB colour with parts from 0 to 1."""
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (red, green, blue)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
