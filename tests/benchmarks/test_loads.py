"""Memory beside loads and closes of a model."""

import pathlib

import pytest

from benchmarks import loads
from tests.serving.tone_model import write_tone_model


@pytest.mark.slow
def test_memory_is_printed_for_each_part_of_the_loads(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tone_model(tmp_path / "1")
    assert loads.main(["--model-base-path", str(tmp_path), "--loads", "3"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["loads", "given", "out", "resident", "trimmed"]
    assert [row.split()[0] for row in rows] == ["1", "2", "3"]
    for row in rows:
        given_out, resident, trimmed = (float(size) for size in row.split()[1::2])
        assert 0 < given_out < resident
        assert 0 < trimmed <= resident
