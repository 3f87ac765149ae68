"""The page's bars, and its sentence on two models."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from serving.client import GenrePrediction
from serving.client.colours import colour

_MOST_BARS = 12
_BAR_PIXELS = 29
_LONGEST_NAME = 24


def genre_bars(prediction: GenrePrediction, colours: Mapping[str, str]) -> go.Figure:
    """The probabilities of the likeliest genres (at most 12), the likeliest on top."""
    ranked = prediction.ranked()[:_MOST_BARS][::-1]
    names = [name for name, _ in ranked]
    values = [value for _, value in ranked]
    figure = go.Figure(
        go.Bar(
            x=values,
            y=list(range(len(names))),
            orientation="h",
            marker_color=[colour(dict(colours), name) for name in names],
            text=[f"{100 * value:.1f} %" for value in values],
            textposition="outside",
            cliponaxis=False,
            customdata=[_plain(name) for name in names],
            hovertemplate="%{customdata}: %{text}<extra></extra>",
        )
    )
    figure.update_layout(
        height=40 + _BAR_PIXELS * len(names),
        margin={"l": 8, "r": 56, "t": 8, "b": 8},
        bargap=0.28,
        showlegend=False,
    )
    figure.update_xaxes(range=[0, 1], visible=False, fixedrange=True)
    figure.update_yaxes(
        ticks="",
        tickfont_size=14,
        tickvals=list(range(len(names))),
        ticktext=[_plain(_shortened(name)) for name in names],
        fixedrange=True,
    )
    return figure


def agreement(predictions: Sequence[GenrePrediction]) -> str:
    """One sentence on what two models say of the same song."""
    first, second = predictions
    best = [[genre for _, genre, _ in prediction.timeline()] for prediction in predictions]
    windows = min(map(len, best))
    same = int(np.sum(np.array(best[0][:windows]) == np.array(best[1][:windows])))
    verdict = (
        f"Both say {first.genre}"
        if first.genre == second.genre
        else f"They differ: {first.genre} and {second.genre}"
    )
    return f"{verdict}; they agree in {same} of {windows} windows."


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def _plain(name: str) -> str:
    """A name that plotly, which reads a few HTML tags, shows as it is."""
    return name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
