"""A cached file of records that lost its end is named before anything reads it."""

from pathlib import Path

import pytest
from tfx.types import standard_artifacts

from components.common import raw_examples, runtime
from components.common.errors import UserError
from components.common.record_files import whole_records

RECORDS = [b"one", b"", b"three" * 100]
OVERHEAD = 16  # bytes of a record beside its data


@pytest.fixture
def examples(tmp_path):
    made = standard_artifacts.Examples()
    made.uri = str(tmp_path / "examples" / "7")
    raw_examples.write_records(f"{made.uri}/Split-train/data_tfrecord-00000-of-00001", RECORDS)
    return made


@pytest.fixture
def file(examples) -> Path:
    return Path(examples.uri) / "Split-train" / "data_tfrecord-00000-of-00001"


def test_a_file_that_is_cut_off_anywhere_is_found(file):
    content = file.read_bytes()
    ends = [0]
    for record in RECORDS:
        ends.append(ends[-1] + len(record) + OVERHEAD)
    assert ends[-1] == len(content)
    for size in range(len(content) + 1):
        file.write_bytes(content[:size])
        before = sum(end <= size for end in ends) - 1
        assert whole_records(file) == (None if size in ends else before)


def test_an_executor_that_would_read_it_names_it(examples, file):
    runtime.prepare({"examples": [examples]}, {}, {})
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UserError, match=f"^{file} is cut off after 2 records") as raised:
        runtime.prepare({"examples": [examples]}, {}, {})
    assert "metadata.db" in str(raised.value)


def test_what_is_compressed_or_no_example_is_left_to_its_reader(examples, file):
    cut = file.read_bytes()[:-1]
    file.unlink()
    file.with_name("transformed_examples-00000-of-00001.gz").write_bytes(cut)
    report = standard_artifacts.Model()
    report.uri = examples.uri
    runtime.prepare({"examples": [examples], "model": [report]}, {}, {})
