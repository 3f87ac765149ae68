"""Reads the files that split methods take: published lists of tracks, and artists."""

import collections
import csv
import re
import unicodedata
from collections.abc import Sequence

from components.gtzan import layout
from components.gtzan.splits import SPLITS, TEST, TRAIN, VALIDATION, SplitError

_LIST_NAME = re.compile(
    r"(?P<split>train|training|valid|validation|val|test|testing|eval)"
    r"(?:[_.-]+(?P<family>.+?))?\.txt",
    re.IGNORECASE,
)
_LIST_SPLITS = {"tr": TRAIN, "va": VALIDATION, "te": TEST, "ev": TEST}


def choose_lists(
    names: Sequence[str], *, family: str = "", folder: str = "the folder"
) -> dict[str, str]:
    """Chooses the three split lists of a folder: `train_filtered.txt` and so on.

    Args:
      names: Names of the files in the folder, without their path.
      family: The part between the split's name and the suffix (`filtered`); optional if the folder
        has only one family.
      folder: Name of the folder, for errors.

    Returns:
      File name by split.

    Raises:
      SplitError: There is no such family, more than one to choose from, or a list is missing.
    """
    families: dict[str, dict[str, str]] = collections.defaultdict(dict)
    for name in sorted(names):
        match = _LIST_NAME.fullmatch(name)
        if match:
            split = _LIST_SPLITS[match["split"][:2].lower()]
            known = families[(match["family"] or "").lower()].setdefault(split, name)
            if known != name:
                raise SplitError(
                    f"two split lists for {split} in {folder}. Received: {known} and {name}"
                )
    there = ", ".join(map(repr, sorted(families))) or "none"
    if not family and len(families) > 1:
        raise SplitError(
            f"{folder} has several families of split lists: name one, as in "
            f"--split-family {sorted(families)[0] or 'NAME'}. Received: {there}"
        )
    chosen = families.get(family.lower() or next(iter(families), ""), {})
    lacking = [split for split in SPLITS if split not in chosen]
    if lacking:
        raise SplitError(
            f"no split list for {' and '.join(lacking)} "
            f"(train{'_' + family if family else '*'}.txt and so on) in {folder}, which has the "
            f"families: {there}. Received: {', '.join(sorted(names)[:5]) or 'no files'}"
        )
    return {split: chosen[split] for split in SPLITS}


def parse_list(text: str, genres: Sequence[str] = ()) -> list[str]:
    """Reads a split list: one `genre/genre.NNNNN.wav` per line; blank lines and # are skipped.

    `genres`, in label order, are needed to recognise tracks in folders below a genre's.
    """
    lines = (line.strip() for line in text.lstrip("\ufeff").splitlines())
    return [
        layout.listed_track_id(line, genres) for line in lines if line and not line.startswith("#")
    ]


def parse_artists(text: str, *, name: str) -> dict[str, str]:
    """Reads a CSV file with the columns `track_id` and `artist`.

    Args:
      text: The file.
      name: Name of the file, for errors.

    Returns:
      Artist by track id; rows without an artist are left out.

    Raises:
      SplitError: It is no CSV, a column is missing, or one track has two artists.
    """
    # Ids are composed (NFC), as those of tracks: file names that macOS made are not.
    lines = unicodedata.normalize("NFC", text.lstrip("\ufeff")).splitlines(keepends=True)
    try:
        return _artists(csv.DictReader(lines, skipinitialspace=True), name)
    except csv.Error as error:
        raise SplitError(f"{name} is not a CSV file that can be read: {error}") from error


def _artists(rows: csv.DictReader, name: str) -> dict[str, str]:
    columns = [(column or "").strip() for column in rows.fieldnames or ()]
    rows.fieldnames = columns
    if not {"track_id", "artist"} <= set(columns):
        raise SplitError(
            f"{name} needs a first line with the columns track_id and artist. "
            f"Received: {', '.join(columns) or 'an empty file'}"
        )
    artists: dict[str, str] = {}
    for row in rows:
        track, artist = (row["track_id"] or "").strip(), (row["artist"] or "").strip()
        if track and artist and artists.setdefault(track, artist) != artist:
            raise SplitError(
                f"{name} gives track {track} two artists. Received: {artists[track]} and {artist}"
            )
    return artists
