"""The GTZAN folder layout: one folder per genre, one file per track.

Pure functions on names, so that the same rules hold for local folders, gs:// and s3://; the caller
lists the files. Paths are relative to the data folder, with forward slashes.
"""

import collections
import difflib
import functools
import posixpath
import unicodedata
from collections.abc import Iterable, Sequence

from components.common.errors import UserError

# Where the genre folders may be, below the data folder: in it, or as in Kaggle's copy (and its zip,
# one level up), the first archive, and mirdata's copy of that.
ROOTS = (
    "",
    "genres_original",
    "genres",
    "gtzan_genre/genres",
    "Data/genres_original",
    "archive/Data/genres_original",
)

FEWEST_GENRES = 2
FEWEST_TRACKS = 3  # of a genre: one in each split

_SEPARATORS = frozenset(("Zs", "Zl", "Zp", "Pd", "Pc"))  # spaces, dashes and underscores, and "."


class GenreError(UserError):
    """The genre folders cannot be used as they are; the message tells the user why."""


def genre_of_folder(folder: str, genres: Sequence[str]) -> str | None:
    """Finds the genre of a folder: `Hip-Hop`, `hip hop` and `hiphop` are the same genre.

    Case, Unicode normalisation, spaces, dashes, underscores and full stops make no difference;
    every other character does, so that `R&B`, `RnB` and `RB` are three genres.
    """
    return _by_key(tuple(genres)).get(_key(folder))


def track_id(genre: str, path: str) -> str:
    """Makes a track's id: its path in the genre's folder without the suffix, after the genre.

    `blues.00000.wav` is `blues.00000`, as its name starts with the genre already, `some song.mp3`
    is `blues.some song`, and `Album 1/01.mp3` is `blues.Album 1/01`. So equal names in two genres
    or in two albums stay two tracks.

    Args:
      genre: The track's genre.
      path: The file's path below the genre's folder.
    """
    stem = unicodedata.normalize("NFC", posixpath.splitext(path)[0])
    return stem if stem.startswith(f"{genre}.") else f"{genre}.{stem}"


def listed_track_id(path: str, genres: Sequence[str] = ()) -> str:
    """Makes the id of a track as split lists name it: `blues/blues.00012.wav`.

    Args:
      path: The file's path; parts before the genre's folder are ignored.
      genres: Genres in label order. If none is in the path, the file's own folder counts as the
        genre's.
    """
    parts = unicodedata.normalize("NFC", path).strip().replace("\\", "/").split("/")
    for depth, folder in enumerate(parts[:-1]):
        genre = genre_of_folder(folder, genres)
        if genre:
            return track_id(genre, "/".join(parts[depth + 1 :]))
    if len(parts) > 1:
        return track_id(parts[-2], parts[-1])
    return posixpath.splitext(parts[-1])[0]


def is_hidden(path: str) -> bool:
    """Tells whether any part of a relative path starts with a dot (`.DS_Store`, `._track.wav`)."""
    return any(part.startswith(".") for part in path.split("/"))


def is_text(path: str) -> bool:
    """Tells whether a path is valid text; a name that is not UTF-8 on disk contains surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in path)


def printable(path: str) -> str:
    """Escapes undecodable bytes and control characters, so that any terminal can show a path."""
    text = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(
        mark if unicodedata.category(mark) != "Cc" else mark.encode("unicode_escape").decode()
        for mark in text
    )


def find_root(paths: Sequence[str], genres: Sequence[str]) -> str | None:
    """Finds the first of `ROOTS` that contains a genre folder of the audio files at `paths`."""
    for root in ROOTS:
        if any(genre_of_folder(folder, genres) for folder in _folders_below(paths, root)):
            return root
    return None


def check_genres(paths: Sequence[str], genres: Sequence[str]) -> None:
    """Checks that each of the chosen genres has a folder with enough audio files.

    Raises:
      GenreError: There are fewer than two genres, two have the same folder, or one has no folder or
        fewer than three tracks.
    """
    check_names(genres)
    folders = _folders_below(paths, find_root(paths, genres) or "")
    counts: collections.Counter[str] = collections.Counter()
    for folder, number in folders.items():
        counts[genre_of_folder(folder, genres) or ""] += number
    missing = [genre for genre in genres if not counts[genre]]
    if missing:
        raise GenreError(_about_missing(missing, genres, sorted(folders)))
    _check_sizes(counts, genres)


def _about_missing(missing: list[str], genres: Sequence[str], folders: list[str]) -> str:
    others = {_key(folder): folder for folder in folders if not genre_of_folder(folder, genres)}
    misspelt = {
        others[near[0]]: genre
        for genre in missing
        if (near := difflib.get_close_matches(_key(genre), others, n=1, cutoff=0.75))
    }
    if misspelt:
        questions = (f"{printable(name)!r}: did you mean {misspelt[name]}?" for name in misspelt)
        return f"--data: no genre has the name of the folder {', '.join(questions)} Rename it"
    if not folders:
        return "--data: there is no folder with audio files in it; each genre needs one"
    return (
        f"--genres: no folder with audio files for {', '.join(missing)}; `--genres auto` takes the "
        f"folders that are there ({', '.join(map(printable, folders))}) as the genres"
    )


def genres_in(paths: Sequence[str]) -> tuple[str, ...]:
    """Derives the genres from the folders that contain audio files (`--genres auto`).

    The folders are those of the first of `ROOTS` that exists, else of the data folder itself.

    Returns:
      The folders' names in order, in Unicode's composed form (NFC).

    Raises:
      GenreError: There are under two, two differ in their spelling only, a name cannot be used, or
        a genre has under three tracks.
    """
    root = next((root for root in ROOTS[1:] if _folders_below(paths, root)), "")
    folders = _folders_below(paths, root)
    unusable = sorted(printable(folder) for folder in folders if not is_text(folder))
    if unusable:
        raise GenreError(
            f"--genres auto: the name of a genre folder is not UTF-8; rename it: {unusable[0]}"
        )
    if pair := _same_spelling(sorted(folders)):
        raise GenreError(
            f"--genres auto: the folders {' and '.join(map(_spelled, pair))} differ in "
            "spelling only and would be one genre; put them together or rename one"
        )
    counts = {unicodedata.normalize("NFC", folder).strip(): n for folder, n in folders.items()}
    genres = tuple(sorted(counts))
    check_names(genres)
    _check_sizes(counts, genres)
    return genres


def check_names(genres: Sequence[str]) -> None:
    """Checks that genre names are distinct and printable.

    Raises:
      GenreError: There are fewer than two names, two name the same folder, or one is not a line of
        text.
    """
    if len(genres) < FEWEST_GENRES:
        raise GenreError(
            f"--genres: a classifier needs at least {FEWEST_GENRES} genres, each a folder with "
            f"audio files. Received: {', '.join(map(printable, genres)) or 'none'}"
        )
    for genre in genres:
        if not genre.strip() or printable(genre) != genre:
            raise GenreError(
                "--genres: a genre's name must be one line of printable text. "
                f"Received: {printable(genre)!r}"
            )
    if pair := _same_spelling(genres):
        raise GenreError(f"--genres: {' and '.join(map(_spelled, pair))} name the same folder")


def _same_spelling(names: Iterable[str]) -> tuple[str, str] | None:
    """The first two names that are spelled alike."""
    by_key: dict[str, str] = {}
    for name in names:
        if _key(name) in by_key:
            return by_key[_key(name)], name
        by_key[_key(name)] = name
    return None


def _check_sizes(counts: dict[str, int], genres: Sequence[str]) -> None:
    small = [genre for genre in genres if counts[genre] < FEWEST_TRACKS]
    if small:
        raise GenreError(
            f"--genres: a genre needs at least {FEWEST_TRACKS} tracks, one in each split. "
            f"Received: {', '.join(f'{genre} with {counts[genre]}' for genre in small)}"
        )


def _folders_below(paths: Iterable[str], root: str) -> collections.Counter[str]:
    """Counts the audio files, at any depth, in each folder directly below `root`."""
    prefix = f"{root}/" if root else ""
    below = (path[len(prefix) :] for path in paths if path.startswith(prefix))
    return collections.Counter(path.partition("/")[0] for path in below if "/" in path)


@functools.lru_cache(maxsize=8)
def _by_key(genres: tuple[str, ...]) -> dict[str, str]:
    return {_key(genre): genre for genre in reversed(genres)}


@functools.lru_cache(maxsize=4096)
def _key(name: str) -> str:
    """Key that is equal for all spellings of a genre; never empty for a name."""
    # Unicode's canonical caseless matching (definition D145).
    folded = unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())
    bare = "".join(
        mark for mark in folded if mark != "." and unicodedata.category(mark) not in _SEPARATORS
    )
    return bare or folded


def _spelled(name: str) -> str:
    """A name, with code points if it is not ASCII, because NFC and NFD look alike."""
    return repr(name) if name.isascii() else f"{name!r} ({name!a})"
