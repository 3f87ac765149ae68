"""Sets candidates beside the model in production, on the same test tracks of the same run."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from components.common.answers import TrackAnswers
from components.gate import paired, production
from components.gate.candidate import Candidate, readable
from components.gate.evidence import Against
from components.gate.production import Production


@dataclasses.dataclass(frozen=True)
class Reference:
    """Production and its answers.

    Attributes:
      production: What is in production; None if nothing is, or `problem` says why it is unknown.
      answers: For the test tracks; None if it was not asked.
      same_as: The candidate that is this very model, or "".
      problem: Why there are no answers; "" if there are, or nothing is in production.
    """

    production: Production | None = None
    answers: TrackAnswers | None = None
    same_as: str = ""
    problem: str = ""


def reference(
    serving_folder: str, candidates: Sequence[Candidate], *, examples: str, genres: tuple[str, ...]
) -> Reference:
    """Reads production, and asks it about the test tracks where that is needed.

    A candidate with the same checksum has answered the same tracks already: its answers are taken,
    which keeps a repeated run short. Such a version may even be damaged; the push mends it.

    Args:
      serving_folder: Folder of the versions.
      candidates: The models of this run.
      examples: URI of the raw examples.
      genres: Names in label order.
    """
    problems: dict[str, str] = {}
    current = readable(lambda: production.newest(serving_folder), problems, "production")
    if current is None:
        return Reference(problem=problems.get("production", ""))
    for candidate in candidates:
        if candidate.checksum and candidate.checksum == current.checksum:
            return _same(current, candidate)
    if current.problem:
        return Reference(current, problem=current.problem)
    if current.genres != genres:
        return Reference(current)  # each candidate's comparison says what differs
    own = readable(lambda: production.ask(current, examples, genres), problems, "production")
    if own is None:
        return Reference(
            current, problem=f"version {current.version} does not answer: {problems['production']}"
        )
    if own.probabilities.shape[1] != len(genres):
        return Reference(
            current,
            problem=f"version {current.version} answers with {own.probabilities.shape[1]} genres "
            f"instead of {len(genres)}",
        )
    if not own.answered.all():
        return Reference(current, problem=f"version {current.version} answers with NaN")
    return Reference(current, own)


def _same(current: Production, candidate: Candidate) -> Reference:
    """Production that is a model of this run: what this run asked counts for it, too."""
    own = candidate.answers
    if own is None or not own.answered.all():
        return Reference(
            current,
            same_as=candidate.name,
            problem=f"version {current.version} is {candidate.name} of this run, which did not "
            "answer every test track",
        )
    return Reference(current, own, same_as=candidate.name)


def against(
    candidate: Candidate, base: Reference, *, genres: tuple[str, ...], waived: bool
) -> Against:
    """Compares a candidate with production.

    Args:
      candidate: The model.
      base: From `reference`.
      genres: Names in label order.
      waived: Whether the run may replace a model that it cannot be compared with.
    """
    if base.production is None and not base.problem:
        return Against(none_yet=True, note="nothing is in production yet")
    current = base.production
    if current is not None and candidate.name == base.same_as:
        return Against(same_model=True, note=f"version {current.version} is this very model")
    if current is None or base.problem:
        return _impossible(base.problem, waived)
    version = f"version {current.version}"
    if candidate.answers is None:
        return Against(note=f"{version} is there, and the candidate's answers are not")
    problems: dict[str, str] = {}
    differs = readable(
        lambda: production.incompatible(current, candidate.model, genres),
        problems,
        "signatures",
    )
    if differs is None or differs:
        return _impossible(differs or problems["signatures"], waived)
    if base.answers is None:
        return _impossible(f"{version} was not asked", waived)
    return _compared(candidate.answers, base.answers, current, genres, waived)


def _compared(
    candidate: TrackAnswers,
    other: TrackAnswers,
    version: Production,
    genres: tuple[str, ...],
    waived: bool,
) -> Against:
    training = version.training or frozenset()
    places = {track: index for index, track in enumerate(other.track_ids)}
    unseen = [content not in training for content in candidate.contents]
    left_out = len(unseen) - sum(unseen)
    shared = [
        (index, places[track])
        for index, track in enumerate(candidate.track_ids)
        if unseen[index] and track in places
    ]
    if not shared:
        return _impossible(
            f"version {version.version} was trained on all test tracks ({left_out} of "
            f"{len(unseen)}): no track is left to compare on",
            waived,
            left_out=left_out,
        )
    ours, theirs = (list(side) for side in zip(*shared, strict=True))
    if len(shared) + left_out < len(unseen) or not candidate.answered[ours].all():
        return _impossible("not all test tracks were answered by both", waived, left_out=left_out)
    note = f"compared with version {version.version} on {len(shared)} test tracks"
    if left_out:
        note += f"; {left_out} more are left out, as it was trained on them"
    if version.training is None:
        note += "; it does not say what it was trained on, so none is left out"
    predicted = candidate.predictions[ours]
    before = other.predictions[theirs]
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
    return Against(
        problem=problem,
        waived=waived,
        left_out=left_out,
        note=f"not compared: {problem}",
    )
