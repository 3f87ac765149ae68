"""Predictions as a person reads them in a terminal."""

import pathlib
from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from components.common.releases import Release
from serving.client.colours import genre_colours
from serving.client.results import GenrePrediction
from serving.client.songs import printable

_BAR_WIDTH = 20
_MOST_BLOCKS = 40
_LEAST_SHOWN = 0.01


def songs_table(
    predictions: Sequence[GenrePrediction], release: Release, *, ascii_only: bool = False
) -> Group:
    """One row a song: its genre, how sure, what else, and its course.

    Args:
      predictions: One a row.
      release: The version that answered.
      ascii_only: Draw with characters that every terminal has.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("song", overflow="fold")
    table.add_column("genre", no_wrap=True)
    table.add_column("sure", justify="right", no_wrap=True)
    table.add_column("or else")
    table.add_column("length", justify="right", no_wrap=True)
    table.add_column("second by second", no_wrap=True)
    colours = genre_colours(*(prediction.genres for prediction in predictions))
    names = _short_names([prediction.name for prediction in predictions])
    for name, prediction in zip(names, predictions, strict=True):
        # Text, and never a string: a name may hold what rich takes for markup.
        table.add_row(
            Text(printable(name)),
            Text(prediction.genre, style=f"bold {colours[prediction.genre]}"),
            Text(_percent(prediction.probability)),
            Text(runners_up(prediction), style="dim"),
            Text(clock(prediction.duration_seconds)),
            _course(prediction, colours, ascii_only=ascii_only),
        )
    return Group(table, *_foot(predictions[0], release, ""))


def song_table(prediction: GenrePrediction, release: Release, *, ascii_only: bool = False) -> Group:
    """One row a genre, as bars: all that is known of a single song. Arguments: `songs_table`'s."""
    colours = genre_colours(prediction.genres)
    table = Table(box=None, show_header=False, padding=(0, 1))
    for name, value in prediction.ranked():
        style = colours[name]
        bar = ("#" if ascii_only else "█") * round(value * _BAR_WIDTH)
        table.add_row(
            Text(name, style=f"bold {style}" if name == prediction.genre else style),
            Text(f"{100 * value:5.1f} %"),
            Text(bar, style=style),
        )
    table.add_row("", "", "")
    course = _course(prediction, colours, ascii_only=ascii_only)
    table.add_row(Text("course", style="dim"), Text(""), course)
    head = Text(printable(prediction.name), style="bold")
    head.append(f"  {clock(prediction.duration_seconds)}  ", style="not bold")
    head.append(prediction.verdict())
    milliseconds = f" in {round(prediction.call_seconds * 1000)} ms"
    return Group(head, table, *_foot(prediction, release, milliseconds))


def runners_up(prediction: GenrePrediction) -> str:
    """What else it may be: "pop 23 %, rock 9 %: close"."""
    others = ", ".join(
        f"{genre} {_percent(value)}"
        for genre, value in prediction.ranked()[1:3]
        if value >= _LEAST_SHOWN
    )
    return f"{others}: close" if prediction.close else others


def clock(seconds: float) -> str:
    """Seconds as minutes: "3:07"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _foot(prediction: GenrePrediction, release: Release, answered: str) -> list[Text]:
    lines = [Text(f"{release.title(prediction.model)}{answered}", style="dim")]
    if release.note:
        lines.append(Text(release.note, style="bold"))
    return lines


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _short_names(names: Sequence[str]) -> list[str]:
    """Paths without the folder that all of them share."""
    folders = [pathlib.PurePath(name).parent.parts for name in names]
    shared = 0
    while all(len(parts) > shared for parts in folders) and (
        len({parts[shared] for parts in folders}) == 1
    ):
        shared += 1
    return [str(pathlib.PurePath(*pathlib.PurePath(name).parts[shared:])) for name in names]


def _course(prediction: GenrePrediction, colours: dict[str, str], *, ascii_only: bool) -> Text:
    """The song's windows as blocks in the colours of their genres."""
    timeline = prediction.timeline()
    step = max(1, -(-len(timeline) // _MOST_BLOCKS))
    text = Text()
    for _, genre, _ in timeline[::step]:
        text.append("#" if ascii_only else "■", style=colours[genre])
    return text
