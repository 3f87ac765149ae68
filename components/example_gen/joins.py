"""Joins PCollections by key, with fewer steps than Beam's CoGroupByKey, which costs time to start.

A side is made with `keyed`; after `Join`, `side` gives its values of one key.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apache_beam as beam

# A key, and the values that PCollections have for it, each with the name of its side.
Joined = tuple[str, Iterable[tuple[str, Any]]]


def keyed(
    values: beam.PCollection[Any],
    name: str,
    key: Callable[[Any], str],
    value: Callable[[Any], Any] | None = None,
) -> beam.PCollection[tuple[str, tuple[str, Any]]]:
    """Makes one side of a join.

    Args:
      values: A PCollection.
      name: Name of the side.
      key: Gives an element's key.
      value: Gives what of an element is joined; all of it by default.
    """
    return values | f"Key_{name}" >> beam.Map(
        lambda one: (key(one), (name, value(one) if value else one))
    )


@beam.ptransform_fn
def Join(  # noqa: N802
    sides: Iterable[beam.PCollection[tuple[str, tuple[str, Any]]]],
) -> beam.PCollection[Joined]:
    """Groups sides that `keyed` made by their key."""
    return sides | "Sides" >> beam.Flatten() | "Group" >> beam.GroupByKey()


def side(joined: Joined, name: str) -> Iterator[Any]:
    """The values of a side; they are read from the engine again each time."""
    return (value for one, value in joined[1] if one == name)


def first(joined: Joined, name: str, default: Any = None) -> Any:
    """The first value of a side, for sides with one value at most."""
    return next(side(joined, name), default)
