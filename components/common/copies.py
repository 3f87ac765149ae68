"""Ids of tracks and of their copies: training and validation splits hold both."""

from collections import Counter
from collections.abc import Iterable

_MARK = "\x1f"  # ingest escapes control characters, so no track's own id holds it


def distinct_ids(track_ids: Iterable[str]) -> tuple[str, ...]:
    """Marks every id that came before with the number of the copy.

    Examples:
      >>> ids = distinct_ids(["blues.1", "rock.1", "blues.1"])
      >>> len(set(ids)), [original_id(track_id) for track_id in ids]
      (3, ['blues.1', 'rock.1', 'blues.1'])
    """
    seen: Counter[str] = Counter()
    marked = []
    for track_id in track_ids:
        marked.append(f"{track_id}{_MARK}{seen[track_id]}" if seen[track_id] else track_id)
        seen[track_id] += 1
    return tuple(marked)


def original_id(track_id: str) -> str:
    """The id of the track that `track_id` is, or is a copy of."""
    return track_id.partition(_MARK)[0]


def originals(track_ids: Iterable[str]) -> int:
    """Number of different tracks, without copies."""
    return len(set(map(original_id, track_ids)))
