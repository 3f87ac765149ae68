"""A cached file of records that is missing or damaged is named, and made anew by the next run."""

from pathlib import Path

import pytest
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.metadata import sqlite_metadata_connection_config
from tfx.orchestration.pipeline import Pipeline
from tfx.types import artifact_utils, standard_artifacts

from components.common import raw_examples, record_files, runtime, tracking
from components.common.errors import UserError

RECORDS = [b"one", b"", b"three" * 100]
FILES = [f"data_tfrecord-{index:05d}-of-00003" for index in range(3)]


def write_examples(examples: standard_artifacts.Examples) -> None:
    """Two splits of three files, one of them compressed as Transform's are."""
    import tensorflow as tf

    examples.split_names = artifact_utils.encode_split_names(["train", "test"])
    for name in FILES:
        raw_examples.write_records(f"{examples.uri}/Split-train/{name}", RECORDS)
    compressed = Path(examples.uri, "Split-test", "transformed_examples-00000-of-00001.gz")
    compressed.parent.mkdir()
    with tf.io.TFRecordWriter(str(compressed), "GZIP") as file:
        for record in RECORDS:
            file.write(record)


@pytest.fixture
def examples(tmp_path):
    made = standard_artifacts.Examples()
    made.uri = str(tmp_path / "examples" / "7")
    write_examples(made)
    return made


def read(examples: standard_artifacts.Examples) -> None:
    """What every executor does first."""
    runtime.prepare({"examples": [examples]}, {}, {})


@pytest.mark.parametrize(
    "name", [f"Split-train/{FILES[1]}", "Split-test/transformed_examples-00000-of-00001.gz"]
)
def test_a_file_that_is_damaged_or_cut_off_anywhere_is_named(examples, name, monkeypatch):
    monkeypatch.setenv(tracking.RUN_ID_VARIABLE, "1")  # on Kubeflow nothing is renamed
    read(examples)
    file = Path(examples.uri, name)
    content = file.read_bytes()
    # Nobody reads a gzip file's time, flags and system. What ends between two records seems whole.
    passed_over = {0, *range(3, 10)} if file.suffix == ".gz" else {0, 19, 35}
    for place in sorted(set(range(len(content))) - passed_over):
        for damaged in (
            content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :],
            content[:place],
        ):
            file.write_bytes(damaged)
            with pytest.raises(UserError, match=f"^{file} is damaged .*--cache-epoch"):
                read(examples)


def test_a_file_or_a_split_that_is_missing_is_named(examples, monkeypatch):
    monkeypatch.setenv(tracking.RUN_ID_VARIABLE, "1")
    folder = Path(examples.uri, "Split-train")
    (folder / FILES[1]).unlink()
    with pytest.raises(UserError, match=f"^{folder}/{FILES[1]} is missing"):
        read(examples)
    for file in folder.iterdir():
        file.unlink()
    with pytest.raises(UserError, match=f"^{folder} is missing"):
        read(examples)


def test_what_holds_no_records_is_left_to_its_reader(tmp_path):
    model = standard_artifacts.Model()
    model.uri = str(tmp_path / "nowhere")
    runtime.prepare({"model": [model]}, {}, {})


@component
def make(count_in: Parameter[str], examples: OutputArtifact[standard_artifacts.Examples]):
    with Path(count_in).open("a") as file:
        file.write("made\n")
    write_examples(examples)


@component
def consume(setting: Parameter[str], examples: InputArtifact[standard_artifacts.Examples]):
    read(examples)


def test_the_next_run_makes_anew_what_a_run_found_damaged(tmp_path):
    count = tmp_path / "count"

    def run(setting: str) -> None:
        maker = make(count_in=str(count))
        reader = consume(setting=setting, examples=maker.outputs["examples"])
        store = sqlite_metadata_connection_config(str(tmp_path / "metadata.db"))
        LocalDagRunner().run(
            Pipeline(
                pipeline_name="p",
                pipeline_root=str(tmp_path / "root"),
                components=[maker, reader],
                metadata_connection_config=store,
                enable_cache=True,
            )
        )

    run("1")
    (file,) = tmp_path.glob(f"root/make/examples/*/Split-train/{FILES[2]}")
    file.write_bytes(file.read_bytes()[:-9] + b"\0" * 9)
    with pytest.raises(UserError, match=f"^{file} is damaged .*next run makes it anew") as error:
        run("2")
    assert count.read_text().count("made") == 1
    (aside,) = tmp_path.glob(f"root/make/examples/*{record_files.DAMAGED}/Split-train/{FILES[2]}")
    assert str(aside.parents[1]) in str(error.value)
    run("2")
    assert count.read_text().count("made") == 2
