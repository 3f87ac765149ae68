"""Sets candidates beside the model in production, on the same test tracks of the same run."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from components.common.answers import TrackAnswers
from components.gate import paired, production
from components.gate.candidate import readable
from components.gate.evidence import Against, Evidence
from components.gate.production import Production


def reference(
    serving_folder: str, candidates: Sequence[Evidence], *, examples: str, genres: tuple[str, ...]
) -> Production | None:
    """Reads production, and asks it about the test tracks where that is needed.

    A candidate with the same checksum has answered the same tracks already: its answers are taken,
    which keeps a repeated run short. Such a version may even be damaged; the push mends it.

    Args:
      serving_folder: Folder of the versions.
      candidates: The models of this run.
      examples: URI of the raw examples.
      genres: Names in label order.

    Returns:
      Production with its answers or its problem; None if nothing is in production.
    """
    problems: dict[str, str] = {}
    current = readable(lambda: production.newest(serving_folder), problems, "production")
    if current is None:
        return Production(problem=problems["production"]) if problems else None
    for candidate in candidates:
        if candidate.checksum and candidate.checksum == current.checksum:
            return _same(current, candidate)
    if current.problem or current.genres != genres:
        return current  # with other genres, each candidate's comparison says what differs
    own = readable(lambda: production.ask(current, examples, genres), problems, "production")
    version = f"version {current.version}"
    problem = ""
    if own is None:
        problem = f"{version} does not answer: {problems['production']}"
    elif own.probabilities.shape[1] != len(genres):
        count = own.probabilities.shape[1]
        problem = f"{version} answers with {count} genres instead of {len(genres)}"
    elif not own.answered.all():
        problem = f"{version} answers with NaN"
    return dataclasses.replace(current, answers=None if problem else own, problem=problem)


def _same(current: Production, candidate: Evidence) -> Production:
    """Production that is a model of this run: what this run asked counts for it, too."""
    own, problem = candidate.answers, ""
    if own is None or not own.answered.all():
        own = None
        problem = (
            f"version {current.version} is {candidate.name} of this run, which did not answer "
            "every test track"
        )
    return dataclasses.replace(current, answers=own, same_as=candidate.name, problem=problem)


def against(
    candidate: Evidence, current: Production | None, *, genres: tuple[str, ...], waived: bool
) -> Against:
    """Compares a candidate with production.

    Args:
      candidate: The model.
      current: From `reference`.
      genres: Names in label order.
      waived: Whether the run may replace a model that it cannot be compared with.
    """
    if current is None:
        return Against(none_yet=True, note="nothing is in production yet")
    version = f"version {current.version}"
    if current.same_as and candidate.name == current.same_as:
        return Against(same_model=True, note=f"{version} is this very model")
    if current.problem:
        return _impossible(current.problem, waived)
    if candidate.answers is None:
        return Against(note=f"{version} is there, and the candidate's answers are not")
    problems: dict[str, str] = {}
    differs = readable(
        lambda: production.incompatible(current, candidate.model, genres), problems, "signatures"
    )
    if differs is None or differs:
        return _impossible(differs or problems["signatures"], waived)
    if current.answers is None:
        return _impossible(f"{version} was not asked", waived)
    return _compared(candidate.answers, current.answers, current, genres, waived)


def _compared(
    candidate: TrackAnswers,
    other: TrackAnswers,
    current: Production,
    genres: tuple[str, ...],
    waived: bool,
) -> Against:
    training = current.training or frozenset()
    rows = {track: index for index, track in enumerate(other.track_ids)}
    unseen = [content not in training for content in candidate.contents]
    left_out = len(unseen) - sum(unseen)
    shared = [
        (index, rows[track])
        for index, track in enumerate(candidate.track_ids)
        if unseen[index] and track in rows
    ]
    if not shared:
        return _impossible(
            f"version {current.version} was trained on all test tracks ({left_out} of "
            f"{len(unseen)}): no track is left to compare on",
            waived,
            left_out=left_out,
        )
    ours, theirs = (list(side) for side in zip(*shared, strict=True))
    if len(shared) + left_out < len(unseen) or not candidate.answered[ours].all():
        return _impossible("not all test tracks were answered by both", waived, left_out=left_out)
    note = f"compared with version {current.version} on {len(shared)} test tracks"
    if left_out:
        note += f"; {left_out} more are left out, as it was trained on them"
    if current.training is None:
        note += "; it does not say what it was trained on, so none is left out"
    predicted, before = candidate.predictions[ours], other.predictions[theirs]
    return Against(
        comparison=paired.compare(
            candidate.probabilities[ours], other.probabilities[theirs], candidate.labels[ours]
        ),
        left_out=left_out,
        note=note,
        track_changes=[
            {
                "track_id": candidate.track_ids[ours[index]],
                "genre": genres[candidate.labels[ours[index]]],
                "candidate": genres[predicted[index]],
                "production": genres[before[index]],
            }
            for index in np.flatnonzero(predicted != before)
        ],
    )


def _impossible(problem: str, waived: bool, left_out: int = 0) -> Against:
    note = f"not compared: {problem}"
    return Against(problem=problem, waived=waived, left_out=left_out, note=note)
