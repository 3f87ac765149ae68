"""Which versions of a model should be loaded: TF Serving's version policies."""

import re
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

_VERSION = re.compile(r"\d+/?")


def list_versions(base_path: str) -> dict[int, str]:
    """The version folders under `base_path` (local, gs:// or s3://), by number.

    Raises:
      tf.errors.OpError: It cannot be listed.
    """
    base = base_path.rstrip("/")
    return {
        int(name.rstrip("/")): f"{base}/{name.rstrip('/')}"
        for name in tf.io.gfile.listdir(base)
        if _VERSION.fullmatch(name)
    }


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


def fingerprint(path: str) -> frozenset[tuple[str, int, int]]:
    """Names, sizes and times of the files under `path`: a broken version that changes is retried.

    A version that is still being copied shows as broken first and then as changed.
    """
    files = set()
    try:
        for folder, _, names in tf.io.gfile.walk(path):
            for name in names:
                stat = tf.io.gfile.stat(f"{folder.rstrip('/')}/{name}")
                files.add((f"{folder}/{name}", stat.length, stat.mtime_nsec))
    except tf.errors.OpError:
        return frozenset()
    return frozenset(files)
