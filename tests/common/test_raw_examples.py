"""Raw examples as tracks: what ingest writes is read, and what is missing is named."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from components.audio import codec
from components.common import raw_examples
from components.common.raw_examples import RawTrack
from tests.conftest import serialise

TRACK = RawTrack("Blasmusik (süd).00003", "Blasmusik (süd)", b"\1\0\2\0", content="ab12")


def test_a_record_of_ingest_is_read(request):
    first, second, *_ = request.getfixturevalue("raw_examples")
    example = first | {"content_hash": b"00ff"}
    track = RawTrack.parse(serialise(example))
    assert track.track_id == example["track_id"].decode()
    assert (track.genre, track.audio) == (example["genre"].decode(), example["audio"])
    assert (track.content, track.failure) == ("00ff", "")
    np.testing.assert_array_equal(track.samples, codec.from_pcm16(example["audio"]))
    assert RawTrack.parse(serialise({**second})).track_id != track.track_id


@pytest.mark.parametrize(
    "track", [TRACK, dataclasses.replace(TRACK, audio=b"", content="", failure="broken")]
)
def test_a_track_is_read_as_it_was_written(track):
    assert RawTrack.parse(track.serialise()) == track
    assert track.serialise() == track.serialise()


def test_an_example_without_sound_or_reason_is_refused():
    with pytest.raises(ValueError, match="lacks genre, audio"):
        RawTrack.parse(serialise({"track_id": b"a", "label": 3}))


def test_files_are_read_in_order_plain_or_compressed(tmp_path):
    folder = tmp_path / "examples" / "Split-test"
    tracks = [dataclasses.replace(TRACK, track_id=f"blues.{number:05d}") for number in range(3)]
    raw_examples.write_records(f"{folder}/data_tfrecord-00000-of-00002", [tracks[0].serialise()])
    with tf.io.TFRecordWriter(f"{folder}/data_tfrecord-00001-of-00002.gz", "GZIP") as file:
        for track in tracks[1:]:
            file.write(track.serialise())
    files = raw_examples.split_files(str(tmp_path / "examples"), "test")
    assert list(raw_examples.tracks(files)) == tracks
    with pytest.raises(ValueError, match=r"no examples in .*/Split-train"):
        raw_examples.split_files(str(tmp_path / "examples"), "train")
