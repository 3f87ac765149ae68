"""What a stage's code is, as a short string, so that changed code is not served from the cache."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent

_SOURCES = (".py", ".jinja")

INGEST_CODE = (
    "components/audio/codec.py",
    "components/audio/levels.py",
    "components/gtzan/genres.py",
    "components/gtzan/layout.py",
    "components/gtzan/splits.py",
    "components/example_gen",
)
# All that knows sound, but for what ingest alone uses.
FEATURE_CODE = ("components/audio", "components/transform")
TRAINER_CODE = ("components/trainer",)


def source_fingerprint(paths: Sequence[str], *, without: Sequence[str] = ()) -> str:
    """Hash of the source files at `paths`.

    Args:
      paths: Files, and folders searched below, relative to the project's root.
      without: Files left out.

    Raises:
      FileNotFoundError: A path does not exist: the lists above have gone stale.
    """
    digest = hashlib.sha256()
    for path in paths:
        place = _ROOT / path
        files = [place]
        if place.is_dir():
            files = sorted(file for file in place.rglob("*") if file.suffix in _SOURCES)
        for file in files:
            name = str(file.relative_to(_ROOT))
            if name not in without:
                digest.update(name.encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def feature_fingerprint() -> str:
    """Hash of the code that decides what features are."""
    return source_fingerprint(FEATURE_CODE, without=INGEST_CODE)


def file_fingerprint(path: Path) -> str:
    """Hash of one file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
