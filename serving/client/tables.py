"""Predictions as a person reads them in a terminal."""

import pathlib
from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from serving.client.results import GenrePrediction

# One colour a genre, the same on the page (serving/app.py): hues far apart, readable on black
# and on white.
GENRE_COLOURS = {
    "blues": "#3b6fd4",
    "classical": "#a98fd8",
    "country": "#c9922e",
    "disco": "#e05fb0",
    "hiphop": "#7a4fd0",
    "jazz": "#1fa3a3",
    "metal": "#8a8f98",
    "pop": "#f2789f",
    "reggae": "#3faa4d",
    "rock": "#d9483b",
}
_OTHER_COLOUR = "#888888"
_BAR_WIDTH = 20
_MOST_BLOCKS = 40


def colour(genre: str) -> str:
    """The colour of a genre, as #rrggbb."""
    return GENRE_COLOURS.get(genre, _OTHER_COLOUR)


def songs_table(predictions: Sequence[GenrePrediction]) -> Table:
    """One row a song: its genre, how sure, what else, and its course."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    shown = _short_names([prediction.name for prediction in predictions])
    table.add_column("song", overflow="fold", ratio=1)
    table.add_column("genre", no_wrap=True)
    table.add_column("sure", justify="right")
    table.add_column("or else")
    table.add_column("length", justify="right")
    table.add_column("second by second", no_wrap=True)
    for name, prediction in zip(shown, predictions, strict=True):
        ranked = prediction.ranked()
        others = Text(", ").join(
            Text(f"{other} {value:.0%}", style="dim")
            for other, value in ranked[1:3]
            if value >= 0.01
        )
        table.add_row(
            name,
            Text(prediction.genre, style=f"bold {colour(prediction.genre)}"),
            f"{prediction.probability:.0%}",
            others,
            _clock(prediction.duration_seconds),
            _course(prediction),
        )
    return table


def song_table(prediction: GenrePrediction) -> Group:
    """One row a genre, as bars: all that is known of a single song."""
    table = Table(box=None, show_header=False, padding=(0, 1))
    for name, value in prediction.ranked():
        style = f"bold {colour(name)}" if name == prediction.genre else colour(name)
        bar = "█" * round(value * _BAR_WIDTH)
        table.add_row(Text(name, style=style), f"{value:6.1%}", Text(bar, style=colour(name)))
    table.add_row("", "", "")
    table.add_row(Text("course", style="dim"), "", _course(prediction))
    head = Text(prediction.name, style="bold")
    head.append(f"  {_clock(prediction.duration_seconds)}", style="not bold")
    milliseconds = round(prediction.call_seconds * 1000)
    answer = f"{prediction.model} version {prediction.version} in {milliseconds} ms"
    return Group(head, table, Text(answer, style="dim"))


def _short_names(names: Sequence[str]) -> list[str]:
    """Paths without the folder that all of them share."""
    folders = [pathlib.PurePath(name).parent.parts for name in names]
    shared = 0
    while all(len(parts) > shared for parts in folders) and (
        len({parts[shared] for parts in folders}) == 1
    ):
        shared += 1
    return [str(pathlib.PurePath(*pathlib.PurePath(name).parts[shared:])) for name in names]


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _course(prediction: GenrePrediction) -> Text:
    """The song's windows as blocks in the colours of their genres."""
    timeline = prediction.timeline()
    step = max(1, -(-len(timeline) // _MOST_BLOCKS))
    text = Text()
    for _, genre, _ in timeline[::step]:
        text.append("■", style=colour(genre))
    return text
