"""What the gate takes from the ingest report: near-duplicates on two sides of the split."""

import json

from components.gate.executor import _leakage


def test_all_pairs_are_counted_and_those_across_splits_are_named(tmp_path):
    named = [
        {"first": "a", "second": "b", "across_splits": True},
        {"first": "c", "second": "d", "across_splits": False},
    ]
    content = {"pairs": 700, "leaks": 600, "near_duplicates": named}
    (tmp_path / "report.json").write_text(json.dumps(content))
    leakage = _leakage(str(tmp_path))
    assert leakage == {"pairs": 700, "across_splits": 600, "near_duplicates": named[:1]}


def test_a_report_that_is_none_says_nothing(tmp_path):
    assert _leakage(str(tmp_path)) == {}
    (tmp_path / "report.json").write_text("[]")
    assert _leakage(str(tmp_path)) == {}
