"""Which versions of a model should be loaded: TF Serving's version policies."""

import os
import re
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

_VERSION = re.compile(r"[0-9]+/?")
_LARGEST_VERSION = 2**63 - 1


def list_versions(base_path: str) -> dict[int, str]:
    """The version folders under `base_path` (local, gs:// or s3://), by number.

    As TF Serving does, it passes over names that are no number of 64 bits.

    Raises:
      tf.errors.OpError, OSError: It cannot be listed.
    """
    base = base_path.rstrip("/")
    # gfile fails where any name is not UTF-8.
    names = tf.io.gfile.listdir(base) if "://" in base else os.listdir(base or "/")  # noqa: PTH208
    folders = {
        int(name.rstrip("/")): f"{base}/{name.rstrip('/')}"
        for name in names
        if _VERSION.fullmatch(name)
    }
    return {number: path for number, path in folders.items() if number <= _LARGEST_VERSION}


def aspired(policy: Any, versions: Iterable[int], *, broken: Iterable[int]) -> set[int]:
    """The versions that should be loaded.

    Unlike TF Serving, which stops there, `latest` passes over broken versions to older ones, so
    that a server that starts beside a broken release serves the one before it.

    Args:
      policy: A `FileSystemStoragePathSourceConfig.ServableVersionPolicy`.
      versions: All that exist.
      broken: Those of them that could not be loaded.
    """
    usable = sorted(set(versions) - set(broken))
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return set(usable)
    if kind == "specific":
        return set(usable) & set(policy.specific.versions)
    return set(usable[-(policy.latest.num_versions or 1) :])


Fingerprint = frozenset[tuple[str, int, int]]


def fingerprint(path: str) -> Fingerprint | None:
    """Names, sizes and times of the files under `path`: a broken version that changes is retried.

    A version that is still being copied shows as broken first and then as changed.

    Returns:
      The files, or None where they cannot be listed.
    """
    files = set()
    try:
        for folder, _, names in tf.io.gfile.walk(path, onerror=_raise):
            for name in names:
                stat = tf.io.gfile.stat(f"{folder.rstrip('/')}/{name}")
                files.add((f"{folder}/{name}", stat.length, stat.mtime_nsec))
    except (tf.errors.OpError, UnicodeError):
        return None
    return frozenset(files)


def _raise(error: Exception) -> None:
    raise error
