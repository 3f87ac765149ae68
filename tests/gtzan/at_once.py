"""The splits of all tracks at once: what the steps of ingest must come to, one track at a time."""

import collections
import random
from collections.abc import Mapping

from components.gtzan import splits


def by_artist(
    genres: Mapping[str, str],
    artists: Mapping[str, str] | None = None,
    *,
    seed: int,
    ratios: splits.Ratios | None = None,
) -> dict[str, str]:
    """Split by track id, of tracks with their genre; without artists it is `stratified`."""
    ratios = ratios or splits.Ratios()
    group_of = {track: splits.group_of(track, (artists or {}).get(track, "")) for track in genres}
    held: dict = collections.defaultdict(collections.Counter)
    for track, genre in genres.items():
        held[group_of[track]][genre] += 1
    hashed = {group: splits.by_hash(group, seed=seed, ratios=ratios) for group in held}
    counts: collections.Counter = collections.Counter()
    for group, members in held.items():
        counts.update({(genre, hashed[group]): number for genre, number in members.items()})
    moved = splits.fill_up(held, counts, seed=seed, ratios=ratios)
    return {track: moved.get(group, hashed[group]) for track, group in group_of.items()}


def random_music(seed: int) -> tuple[dict[str, str], dict[str, str]]:
    """Genres of unequal size, and artists who play in several of them."""
    draw = random.Random(seed)
    genres, artists = {}, {}
    for genre in range(draw.randint(1, 6)):
        for number in range(draw.choice((2, 3, 5, 9, 20, 60))):
            track = f"{genre}.{number:05d}"
            genres[track] = str(genre)
            if draw.random() < 0.7:
                artists[track] = str(draw.randint(0, 25))
    return genres, artists
