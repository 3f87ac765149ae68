"""DeformedExamples writes every test track once a deformation, and loses none that goes wrong."""

import dataclasses
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that, equal_to
from tfx.types import artifact_utils, channel, standard_artifacts

from components.audio import codec, deformations
from components.audio.deformations import DEFORMATIONS
from components.audio.settings import AudioSettings
from components.common import raw_examples
from components.common.errors import UserError
from components.common.raw_examples import RawTrack
from components.deformed_examples import executor
from components.deformed_examples.component import DeformedExamples
from components.deformed_examples.deform import DeformFiles, deformed, tasks
from tests.conftest import chord

NAMES = [deformation.name for deformation in DEFORMATIONS]
SETTINGS = AudioSettings(clip_seconds=4, clips_per_track=3)
SECONDS = {"blues.00001": 12.0, "rock 'n' roll.00002": 4.0, "Blasmusik (süd).00003": 3.0}


@pytest.fixture(scope="module")
def tracks() -> list[RawTrack]:
    """Three clips of 4 s, one clip, and a track of exactly one window."""
    return [
        RawTrack(
            name,
            name.rpartition(".")[0],
            codec.to_pcm16(chord(number, SETTINGS, seconds)),
            content=f"{number:032x}",
        )
        for number, (name, seconds) in enumerate(SECONDS.items())
    ]


def run(tracks: list[RawTrack], folder: Path):
    """Writes two shards of tracks and runs the executor; returns the examples it wrote."""
    source, output = standard_artifacts.Examples(), standard_artifacts.Examples()
    source.uri, output.uri = str(folder / "raw"), str(folder / "stress")
    for shard in range(2):
        raw_examples.write_records(
            f"{source.uri}/Split-test/data_tfrecord-{shard:05d}-of-00002",
            [track.serialise() for track in tracks[shard::2]],
        )
    context = executor.Executor.Context(
        # With arguments, TFX would pack itself for remote workers, which takes seconds.
        beam_pipeline_args=[],
        tmp_dir=str(folder / "tmp"),
        unique_id="1",
    )
    node = DeformedExamples(
        examples=channel.Channel(type=standard_artifacts.Examples), audio=SETTINGS
    )
    executor.Executor(context).Do(
        {"raw_examples": [source]}, {"examples": [output]}, dict(node.exec_properties)
    )
    return output


def read(examples, split: str) -> dict[str, RawTrack]:
    read_tracks = raw_examples.tracks(raw_examples.split_files(examples.uri, split))
    return {track.track_id: track for track in read_tracks}


@pytest.fixture(scope="module")
def deformed_examples(tracks, tmp_path_factory):
    return run(tracks, tmp_path_factory.mktemp("stress"))


def test_each_split_is_a_deformation_of_every_track(deformed_examples, tracks):
    assert artifact_utils.decode_split_names(deformed_examples.split_names) == NAMES
    for name in NAMES:
        by_id = read(deformed_examples, name)
        assert set(by_id) == set(SECONDS)
        for track in tracks:
            result = by_id[track.track_id]
            assert (result.genre, result.content, result.failure) == (
                track.genre,
                track.content,
                "",
            )
            assert len(result.samples) >= SETTINGS.minimum_samples
    long = {name: len(read(deformed_examples, name)["blues.00001"].samples) for name in NAMES}
    rate = SETTINGS.sample_rate_hz
    assert long == dict.fromkeys(NAMES, 12 * rate) | {
        "faster_2pc": round(12 * rate / 1.02),
        "first_10s": 10 * rate,
    }


def test_the_sounds_are_the_deformed_ones(deformed_examples, tracks):
    original = tracks[1].samples
    quieter = read(deformed_examples, "quieter_12db")[tracks[1].track_id].samples
    np.testing.assert_allclose(quieter, original * 10 ** (-12 / 20), atol=1 / 32768)
    noise = read(deformed_examples, "noise_20db")[tracks[1].track_id].samples - original
    ratio = np.mean(original**2) / np.mean(noise**2)
    assert 10 * np.log10(ratio) == pytest.approx(20.0, abs=0.05)


def test_a_sound_of_one_window_stays_one_that_a_model_answers(deformed_examples, tracks):
    faster = read(deformed_examples, "faster_2pc")["Blasmusik (süd).00003"].samples
    sound = round(SETTINGS.minimum_samples / 1.02)
    assert len(faster) == SETTINGS.minimum_samples
    assert not faster[sound:].any() and np.abs(faster[sound - 400 : sound]).max() > 0.01


def test_two_runs_write_the_same_bytes(deformed_examples, tracks, tmp_path):
    again = run(tracks, tmp_path)
    for name in NAMES:
        pairs = zip(
            raw_examples.split_files(deformed_examples.uri, name),
            raw_examples.split_files(again.uri, name),
            strict=True,
        )
        for first, second in pairs:
            assert Path(first).read_bytes() == Path(second).read_bytes()


def test_noise_belongs_to_the_sound_and_not_to_its_name(tracks):
    renamed = dataclasses.replace(tracks[0], track_id="other", genre="other")
    noisy = [deformed(track, "noise_20db", SETTINGS) for track in (*tracks, renamed)]
    assert noisy[0].audio == noisy[3].audio
    noise = [noisy[place].samples - tracks[place].samples for place in (0, 1)]
    assert abs(np.corrcoef(noise[0][:80_000], noise[1][:80_000])[0, 1]) < 0.05


def test_a_failed_deformation_costs_no_other_track(tracks, tmp_path, monkeypatch):
    broken_length = len(tracks[1].samples)

    def breaks_on_one(samples, sample_rate_hz, seed):
        if len(samples) == broken_length:
            raise RuntimeError("the encoder broke")
        return samples

    entries = (
        deformations.Deformation("mp3_64k", "MP3", breaks_on_one),
        next(one for one in DEFORMATIONS if one.name == "first_10s"),
    )
    monkeypatch.setattr(deformations, "DEFORMATIONS", entries)
    monkeypatch.setattr("components.deformed_examples.deform.DEFORMATIONS", entries)
    source = str(tmp_path / "data_tfrecord-00000-of-00001")
    raw_examples.write_records(source, [track.serialise() for track in tracks])
    with beam.Pipeline() as pipeline:
        written = (
            pipeline
            | beam.Create(tasks([source], str(tmp_path / "stress")))
            | DeformFiles(audio=SETTINGS)
        )
        assert_that(
            written | beam.Map(lambda one: (one.task.deformation, one.tracks, one.failed)),
            equal_to([("mp3_64k", 3, (tracks[1].track_id,)), ("first_10s", 3, ())]),
        )
    examples = standard_artifacts.Examples()
    examples.uri = str(tmp_path / "stress")
    by_id = read(examples, "mp3_64k")
    failed = by_id.pop(tracks[1].track_id)
    assert (failed.genre, failed.audio) == (tracks[1].genre, b"")
    assert failed.failure == "mp3_64k: the encoder broke"
    assert [track.audio for track in by_id.values()] == [tracks[0].audio, tracks[2].audio]


def test_a_disk_without_room_is_named_before_anything_is_written(tracks, tmp_path, monkeypatch):
    monkeypatch.setattr("components.common.storage.free_bytes", lambda folder: 1_000_000)
    with pytest.raises(UserError, match=r"1\.0 MB free, and .* MB are needed"):
        run(tracks, tmp_path)
    assert not (tmp_path / "stress").exists()
