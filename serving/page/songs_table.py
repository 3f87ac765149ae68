"""Several songs: a table to sort and to download, and a choice of one or two to look at."""

import csv
import io
import json
from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from serving.client import FileResult
from serving.client.output import CSV_COLUMNS, csv_row
from serving.client.tables import runners_up
from serving.page.models import ModelChoice
from serving.page.sources import Song

_MOST_SIDE_BY_SIDE = 2


def choose_from_table(
    brought: Sequence[Song],
    results: Mapping[str, list[FileResult]],
    models: Sequence[ModelChoice],
) -> list[Song]:
    """Draws the table. Returns the one or two songs to show below it."""
    answers = [answer for song in brought for answer in results[song.key]]
    st.dataframe(
        _frame(brought, results, models),
        hide_index=True,
        column_config={
            "sure": st.column_config.ProgressColumn(format="%.0f %%", min_value=0, max_value=100),
            "length": st.column_config.NumberColumn(format="%.0f s"),
        },
    )
    left, right, _ = st.columns((1, 1, 4))
    left.download_button(
        "Download CSV", _csv(answers), "genres.csv", "text/csv", on_click="ignore", width="stretch"
    )
    right.download_button(
        "Download JSON",
        _json(answers),
        "genres.json",
        "application/json",
        on_click="ignore",
        width="stretch",
    )
    names = {song.key: f"{index}. {song.name}" for index, song in enumerate(brought, 1)}
    chosen = st.multiselect(
        "Look at one song, or at two side by side",
        list(names),
        default=[brought[0].key],
        format_func=lambda key: names[key],
        max_selections=_MOST_SIDE_BY_SIDE,
        key="look at",
    )
    return [song for song in brought if song.key in chosen]


def _frame(
    brought: Sequence[Song],
    results: Mapping[str, list[FileResult]],
    models: Sequence[ModelChoice],
) -> pd.DataFrame:
    rows = []
    for song in brought:
        first, *others = results[song.key]
        row: dict[str, object] = {"song": song.name, "genre": "", "sure": None}
        row |= {"or else": first.error, "length": None}
        if first.prediction is not None:
            row["genre"] = first.prediction.genre
            row["sure"] = 100 * first.prediction.probability
            row["or else"] = runners_up(first.prediction)
            row["length"] = first.prediction.duration_seconds
        for choice, other in zip(models[1:], others, strict=True):
            name = f"{choice.model} {choice.label or choice.version}"
            row[f"{name} says"] = other.prediction.verdict() if other.prediction else other.error
        rows.append(row)
    return pd.DataFrame(rows)


def _csv(answers: Sequence[FileResult]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    writer.writerows(csv_row(answer) for answer in answers)
    return text.getvalue()


def _json(answers: Sequence[FileResult]) -> str:
    return json.dumps([answer.as_json() for answer in answers], indent=1, ensure_ascii=False)
