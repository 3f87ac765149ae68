"""Releases: versions in a serving folder, what each says of itself, and the log of changes."""

from components.common.releases.contents import Row
from components.common.releases.faults import Verification
from components.common.releases.records import (
    LOG_FILE,
    MODEL_FILE,
    RELEASE_FILE,
    SYNTHETIC_NOTE,
    Change,
    Release,
    checksums,
    model_checksum,
    pretraining_note,
    read_release,
)
from components.common.releases.store import JudgedAgainst, Push, ReleaseStore

__all__ = [
    "LOG_FILE",
    "MODEL_FILE",
    "RELEASE_FILE",
    "SYNTHETIC_NOTE",
    "Change",
    "JudgedAgainst",
    "Push",
    "Release",
    "ReleaseStore",
    "Row",
    "Verification",
    "checksums",
    "model_checksum",
    "pretraining_note",
    "read_release",
]
