"""Bounds of JSON that others may have written."""

import json

import pytest

from components.common import foreign_json


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[" * 5000, "not valid JSON"),
        (b"[" * 65 + b"]" * 65, "64 deep"),
        (b'"' + b"x" * foreign_json.MAX_BYTES + b'"', "16 MiB"),
        (b'"\\ud800"', "not valid JSON"),
        (b'"\xff"', "not valid JSON"),
        (b"NaN", "not valid JSON"),
        (b"1" * 401, "not valid JSON"),
        (b"", "not valid JSON"),
    ],
)
def test_what_is_no_json_or_beyond_the_bounds_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(foreign_json.ForeignJsonError, match=reason):
        foreign_json.parse(content)


def test_what_it_takes_can_be_written_again() -> None:
    value = foreign_json.parse(
        b'{"a": ' + b"[" * 60 + b'1, "\\u00e9", 1e3, null' + b"]" * 60 + b"}"
    )
    assert json.loads(json.dumps(value, indent=2)) == value
