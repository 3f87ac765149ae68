"""The GTZAN folder layout: one folder a genre, one file a track, and what their names say.

Pure string work: names in, names out. Whoever lists the files does the reading, so that the same
rules hold for a local folder, gs:// and s3://.
"""

import posixpath
from collections.abc import Iterable, Sequence

# Where the genre folders are, below the folder that a user names: right there, or where Kaggle's
# copy, the first archive, and mirdata's unpacking of it have them. The first with some is taken.
ROOTS = ("", "genres_original", "genres", "gtzan_genre/genres")


def genre_of_folder(folder: str, genres: Sequence[str]) -> str | None:
    """Names the genre of a folder: `Hip-Hop`, `hip hop` and `hiphop` are one.

    Args:
      folder: The folder's own name, without its path.
      genres: The genres that there are.

    Returns:
      One of `genres`, or None.
    """
    plain = _plain(folder)
    return next((genre for genre in genres if _plain(genre) == plain), None)


def track_id(genre: str, file_name: str) -> str:
    """Makes a track's id: its file's name without the suffix, which must start with the genre.

    `blues.00000.wav` is `blues.00000`; `blues/some song.mp3` is `blues.some song`, so that equal
    names in two genres stay two tracks.

    Args:
      genre: The track's genre.
      file_name: The file's own name, without its path.
    """
    stem = posixpath.splitext(file_name)[0]
    return stem if stem.startswith(f"{genre}.") else f"{genre}.{stem}"


def listed_track_id(path: str) -> str:
    """Makes the id of a track as the published lists name it: `blues/blues.00012.wav`."""
    folder, file_name = posixpath.split(path.strip().replace("\\", "/"))
    genre = posixpath.basename(folder)
    return track_id(genre, file_name) if genre else posixpath.splitext(file_name)[0]


def is_hidden(path: str) -> bool:
    """Tells whether any part of a relative path starts with a dot (`.DS_Store`, `._track.wav`)."""
    return any(part.startswith(".") for part in path.split("/"))


def has_genre_folders(paths: Iterable[str], genres: Sequence[str]) -> bool:
    """Tells whether any of the paths, relative to a data folder, lies in a genre's folder."""
    folders = {posixpath.dirname(path) for path in paths}
    return any(genre_of_folder(folder, genres) for folder in folders)


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())
