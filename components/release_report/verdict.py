"""The verdict on a run, in one sentence."""

from collections.abc import Mapping, Sequence
from typing import Any

from components.release_report.evidence import best_by_validation, failed_gates

_MOST_NAMED = 4


def verdict(judgement: Mapping[str, Any], chosen: str | None) -> str:
    """Says which model may go into production, or why none may.

    Whether it then was pushed is not known yet: `published_report` adds that.

    Args:
      judgement: The gate's `report.json`.
      chosen: The model that ModelSelector picked, or None.

    Returns:
      One sentence, as plain text.
    """
    if chosen is None:
        return _refusal(judgement)
    judged = judgement["models"][chosen]
    gates, failed = judged["gates"], failed_gates(judged)
    asked = [gate for gate in gates if gate["judged"]]
    passed = f"it passed {f'{len(asked) - len(failed)} of' if failed else 'all'} "
    passed += _many(len(asked), "gate")
    if len(asked) < len(gates):
        passed += " that could be judged"
    if waivers := judgement["waivers"]:
        names = listed([waiver["gate"] for waiver in waivers])
        passed += (
            f", with {'a waiver' if len(waivers) == 1 else f'{len(waivers)} waivers'} ({names})"
        )
    if loosened := judgement["loosened"]:
        passed += f", with {_many(len(loosened), 'threshold')} looser than the default"
    against = judged["against_production"] or {}
    may = "may stay in production" if against.get("same_model") else "may go into production"
    accuracy, tracks = judged["figures"]["accuracy"]["value"], judgement["tracks"]["test"]
    right = f"and is right on {round(accuracy * tracks)} of {tracks} test tracks"
    return f"{chosen} {may}: {passed}, {right}."


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _refusal(judgement: Mapping[str, Any]) -> str:
    models = judgement["models"]
    if not models:
        return "No model is released: none was judged."
    best = best_by_validation(judgement)
    failed = [_within(gate["title"]) for gate in failed_gates(models[best])]
    named = listed(failed[:_MOST_NAMED])
    if len(failed) > _MOST_NAMED:
        named = f"{', '.join(failed[:_MOST_NAMED])} and {len(failed) - _MOST_NAMED} more"
    if not failed:
        why = f"{best} was judged by no gate"
    elif len(models) == 1:
        why = f"{best} failed {named}"
    else:
        why = f"{best}, the best of {len(models)} by validation, failed {named}"
    return f"No model is released: {why}."


def _within(title: str) -> str:
    """A title as it is written within a sentence; "MP3 …" and "F1 …" stay as they are."""
    return title[:1].lower() + title[1:] if title[1:2].islower() else title


def listed(names: Sequence[str]) -> str:
    """Joins names as a sentence does: "a", "a and b", "a, b and c"."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
