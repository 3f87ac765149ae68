"""TrainingCopies adds copies beside the tracks, in their split, and loses no track."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tfx.types import artifact_utils, channel, standard_artifacts

from components.audio import codec
from components.audio.settings import AudioSettings
from components.common import raw_examples
from components.common.errors import UserError
from components.common.raw_examples import RawTrack
from components.training_copies import copies, executor
from components.training_copies.component import TrainingCopies
from tests.conftest import chord

SETTINGS = AudioSettings(clip_seconds=4)
SPLITS = {"train": 3, "validation": 2, "test": 2}


def record(number: int, seconds: float = 4.0) -> bytes:
    return raw_examples.serialise(
        {
            "track_id": f"rock.{number:05d}",
            "genre": "rock",
            "audio": codec.to_pcm16(chord(number, SETTINGS, seconds)),
            "content_hash": f"{number:032x}",
            "rms_db": -20.0,
        }
    )


def run(folder: Path, records: dict[str, list[bytes]], count: int = 2):
    """Runs the node on records, in two files a split; returns the examples that it writes."""
    source, output = standard_artifacts.Examples(), standard_artifacts.Examples()
    source.uri, output.uri = str(folder / "raw"), str(folder / "copies")
    for split, of_split in records.items():
        for shard in range(2):
            file = f"{source.uri}/Split-{split}/data_tfrecord-{shard:05d}-of-00002"
            raw_examples.write_records(file, of_split[shard::2])
    node = TrainingCopies(
        examples=channel.Channel(type=standard_artifacts.Examples), audio=SETTINGS, copies=count
    )
    context = executor.Executor.Context(
        beam_pipeline_args=[], tmp_dir=str(folder / "tmp"), unique_id="1"
    )
    executor.Executor(context).Do(
        {"raw_examples": [source]}, {"examples": [output]}, dict(node.exec_properties)
    )
    return output


def read(examples, split: str) -> list[RawTrack]:
    return list(raw_examples.tracks(raw_examples.split_files(examples.uri, split)))


@pytest.fixture(scope="module")
def records() -> dict[str, list[bytes]]:
    numbers = iter(range(100))
    return {split: [record(next(numbers)) for _ in range(count)] for split, count in SPLITS.items()}


@pytest.fixture(scope="module")
def examples(records, tmp_path_factory):
    return run(tmp_path_factory.mktemp("copies"), records)


def test_a_copy_is_in_its_track_s_split_and_never_in_another(examples, records):
    assert artifact_utils.decode_split_names(examples.split_names) == [*SPLITS]
    versions = {"train": 3, "validation": 2, "test": 1}
    for split, of_split in records.items():
        originals = [RawTrack.parse(original) for original in of_split]
        written = read(examples, split)
        assert len(written) == len(originals) * versions[split]
        for original in originals:
            same = [track for track in written if track.track_id == original.track_id]
            assert len(same) == len({track.audio for track in same}) == versions[split]
            assert original in same  # as it is
            assert {(track.genre, track.content) for track in same} == {
                (original.genre, original.content)
            }
            assert all(len(track.audio) <= len(original.audio) for track in same)


def test_a_copy_is_the_same_on_any_worker_and_under_any_name(examples, records, tmp_path):
    swapped = {**records, "train": records["train"][::-1]}
    again = run(tmp_path, swapped)
    for split in SPLITS:
        first, second = (
            sorted((track.track_id, track.audio) for track in read(written, split))
            for written in (examples, again)
        )
        assert first == second
    example = tf.train.Example.FromString(records["train"][0])
    example.features.feature["track_id"].bytes_list.value[0] = b"renamed"
    renamed, original = (
        RawTrack.parse(copies.copied(serialised, 1, SETTINGS))
        for serialised in (example.SerializeToString(), records["train"][0])
    )
    assert renamed.audio == original.audio


def test_all_but_the_sound_of_a_copy_stays(records):
    original = tf.train.Example.FromString(records["train"][0])
    copy = tf.train.Example.FromString(copies.copied(records["train"][0], 1, SETTINGS))
    for example in (original, copy):
        del example.features.feature["audio"]
    assert original == copy


def test_a_track_of_one_window_has_copies_that_a_model_answers():
    for number in range(8):
        short = copies.copied(record(number, seconds=3.0), 1, SETTINGS)
        assert len(RawTrack.parse(short).samples) == SETTINGS.minimum_samples


def test_a_copy_that_cannot_be_made_costs_no_track(records, tmp_path, monkeypatch):
    broken = RawTrack.parse(records["train"][1]).samples

    def degrade(samples, **options):
        if np.array_equal(samples, broken):
            raise RuntimeError("the encoder broke")
        return samples

    monkeypatch.setattr(copies, "degrade", degrade)
    written = [track.track_id for track in read(run(tmp_path, records), "train")]
    assert sorted(written) == sorted(["rock.00000", "rock.00002"] * 3 + ["rock.00001"])


def test_a_disk_without_room_is_named_before_anything_is_written(records, tmp_path, monkeypatch):
    monkeypatch.setattr("components.common.storage.free_bytes", lambda folder: 1_000)
    with pytest.raises(UserError, match="--copies 0"):
        run(tmp_path, records)
    assert not (tmp_path / "copies").exists()
