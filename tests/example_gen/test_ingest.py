"""The executor on real files and artifacts, through Beam's direct runner."""

import dataclasses
import json
import os
import shutil
import signal
import time
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import soundfile
from apache_beam.testing.util import assert_that, equal_to

from components.audio import codec
from components.common import progress
from components.example_gen import counts, executor, files, ingest, lists, tracks
from components.example_gen.component import fingerprint
from components.example_gen.files import IngestError
from components.example_gen.settings import IngestSettings, SplitSettings
from components.gtzan.genres import GENRES
from components.gtzan.splits import SPLITS
from tests.example_gen import conftest as world
from tests.gtzan import at_once


@pytest.fixture(scope="module")
def ingested(music, tmp_path_factory):
    """The good music, ingested once, and the progress that was told."""
    told = []
    with progress.listening(lambda *call: told.append(call)):
        examples, report = world.run_executor(
            music, tmp_path_factory.mktemp("good"), world.few_settings()
        )
    return examples, report, told


@pytest.fixture(scope="module")
def records(ingested):
    return {split: world.read_split(ingested[0], split) for split in SPLITS}


TOTAL = len(world.FEW) * world.PER_GENRE


def test_every_track_becomes_one_record_in_one_split_and_progress_is_told(ingested, records):
    ids = [record["track_id"].decode() for split in SPLITS for record in records[split]]
    expected = [f"{genre}.{i:05d}" for genre in world.FEW for i in range(world.PER_GENRE)]
    assert sorted(ids) == sorted(expected)
    for split in SPLITS:
        assert {record["genre"].decode() for record in records[split]} == set(world.FEW)
    told = ingested[2]
    assert ("tracks examined", TOTAL, TOTAL) in told
    assert [done for activity, done, _ in told if activity == "tracks written"][-1] == TOTAL


def test_a_record_holds_the_file_s_own_samples_and_levels(records, music):
    for record in records["test"]:
        genre, name = record["genre"].decode(), record["track_id"].decode()
        pcm, _ = soundfile.read(music / genre / f"{name}.wav", dtype="int16")
        start = (len(pcm) - world.SHORT.clip_samples) // 2
        clip = pcm[start : start + world.SHORT.clip_samples]
        assert record["audio"] == clip.astype("<i2").tobytes()
        assert record["duration_seconds"] == pytest.approx(4.2, abs=1e-3)
        assert record["source_sample_rate_hz"] == 22_050
        assert record["peak"] == pytest.approx(np.abs(clip / 32768).max(), abs=1e-6)
        rms = 10 * np.log10(np.mean((clip / 32768) ** 2))
        assert record["rms_db"] == pytest.approx(rms, abs=1e-3)
        assert record["silent_fraction"] == record["clipped_fraction"] == 0.0
        assert record["bandwidth_hz"] == pytest.approx(11_025, abs=100)  # noise, up to the end
        assert record["content_hash"].decode() == tracks.content_hash(record["audio"])


def test_artifacts_have_the_properties_that_tfx_reads(ingested):
    from tfx.components.util import examples_utils, tfxio_utils

    examples, report, _ = ingested
    assert examples.splits == list(SPLITS)
    assert examples_utils.get_payload_format_string(examples) == "FORMAT_TF_EXAMPLE"
    assert report.get_int_custom_property("tracks") == TOTAL
    assert json.loads(report.get_string_custom_property("reasons")) == {}
    factory = tfxio_utils.get_tfxio_factory_from_artifact([examples], ["test"])
    source = factory(str(Path(examples.uri, "Split-test", "*")))
    with beam.Pipeline(argv=world.BEAM_ARGS) as pipeline:
        rows = pipeline | source.RawRecordBeamSource() | beam.combiners.Count.Globally()
        assert_that(rows, equal_to([report.get_int_custom_property("test")]))


def test_the_report_is_json_csv_and_a_page_that_needs_no_network(ingested):
    folder = Path(ingested[1].uri)
    assert sorted(path.name for path in folder.iterdir()) == [
        "index.html",
        "report.json",
        "tracks-00000-of-00001.csv",
        "training_tracks-00000-of-00001.txt",
    ]
    summary = json.loads((folder / "report.json").read_text())
    assert summary["accepted"] == sum(summary["splits"].values()) == TOTAL
    assert all(sum(row.values()) == world.PER_GENRE for row in summary["tracks"].values())
    page = (folder / "index.html").read_text()
    assert all(f"</span>{genre}</td>" in page for genre in world.FEW)
    assert "http://" not in page and "https://" not in page
    assert len((folder / "tracks-00000-of-00001.csv").read_text().splitlines()) == TOTAL + 1


def test_the_report_lists_the_sound_that_is_trained_on(ingested, records):
    path = Path(ingested[1].uri, "training_tracks-00000-of-00001.txt")
    lines = path.read_text().splitlines()
    assert lines == sorted(record["content_hash"].decode() for record in records["train"])
    assert not {record["content_hash"].decode() for record in records["test"]} & set(lines)


def test_the_same_data_gives_the_same_files(ingested, music, tmp_path):
    settings = world.few_settings()
    again, report = world.run_executor(
        music, tmp_path, settings, data_fingerprint=fingerprint(str(music), settings)
    )
    for first, second in ((ingested[0], again), (ingested[1], report)):
        for path in Path(first.uri).rglob("*-of-*"):
            assert Path(second.uri, path.relative_to(first.uri)).read_bytes() == path.read_bytes()


def test_too_many_faults_stop_the_run_with_the_table_and_the_report(music, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(music, data)
    for number in range(4):
        (data / "pop" / f"pop.0009{number}.wav").write_bytes(b"no sound")
    with pytest.raises(IngestError, match=r"(?s)4 of 16 files are faulty.*validation") as error:
        world.run_executor(data, tmp_path / "out", world.few_settings())
    assert "pop/pop.00090.wav: not audio" in str(error.value)
    assert (tmp_path / "out" / "report" / "index.html").read_text() == error.value.page
    assert not list((tmp_path / "out").rglob("*tfrecord*"))


def test_no_music_at_all_is_a_clear_error(tmp_path):
    with pytest.raises(IngestError, match=r"Received: .*/nowhere"):
        files.find_tracks(str(tmp_path / "nowhere"), GENRES)
    with pytest.raises(IngestError, match=r"\.wav, .*blues, .*Received: "):
        files.find_tracks(str(tmp_path), GENRES)


def test_lists_and_artists_are_read_from_files(music, tmp_path):
    for split, index in (("train", 0), ("valid", 1), ("test", 2)):
        lines = [f"{genre}/{genre}.{index:05d}.wav\n" for genre in world.FEW]
        (tmp_path / f"{split}_mine.txt").write_text("".join(lines))
    listed = world.few_settings(split=SplitSettings("listed", lists=str(tmp_path)))
    assert executor.read_labels(listed) == {
        f"{genre}.{index:05d}": split for index, split in enumerate(SPLITS) for genre in world.FEW
    }
    genres = {f"{genre}.{i:05d}": genre for genre in world.FEW for i in range(3)}
    rows = [f"{track},{genre} {(int(track[-1]) + 1) % 3}\n" for track, genre in genres.items()]
    (tmp_path / "artists.csv").write_text("track_id,artist\n" + "".join(rows))
    settings = world.few_settings(
        split=SplitSettings("artist", artists=str(tmp_path / "artists.csv"))
    )
    examples, _ = world.run_executor(music, tmp_path / "artist", settings)
    assert at_once.by_artist(genres, executor.read_labels(settings), seed=0) == {
        record["track_id"].decode(): split
        for split in SPLITS
        for record in world.read_split(examples, split)
    }


def test_the_job_that_an_engine_is_sent_does_not_grow_with_the_music(tmp_path):
    sizes = []
    for count in (1, 500):
        folder = tmp_path / str(count).zfill(3) / "jazz"
        folder.mkdir(parents=True)
        for index in range(count):
            (folder / f"jazz.{index:05d}.wav").touch()
        found = files.find_tracks(str(folder.parent), GENRES)
        listing = str(folder.parent / "list")
        lists.save_lines(listing, map(dataclasses.asdict, found.files))
        pipeline = beam.Pipeline(argv=world.BEAM_ARGS)
        pipeline | ingest.ExamineFiles(
            folder=found.folder, listing=listing, total=count, settings=world.few_settings()
        )
        sizes.append(pipeline.to_runner_api().ByteSize())
    assert sizes[1] - sizes[0] < 1000  # two bytes a file: their names are not in it


def change(path: Path) -> None:
    path.write_bytes(codec.encode_wav(world.sound(999), 22_050))


@pytest.mark.parametrize("how", [change, Path.unlink, lambda path: path.write_bytes(b"RIFF")])
def test_a_file_that_changes_between_the_two_passes_is_named(music, tmp_path, monkeypatch, how):
    data = tmp_path / "data"
    shutil.copytree(music, data)
    judge = counts._judge

    def judge_late(*arguments):
        how(data / "jazz" / "jazz.00001.wav")
        return judge(*arguments)

    monkeypatch.setattr(counts, "_judge", judge_late)
    with pytest.raises(IngestError, match=r"^jazz/jazz\.00001\.wav changed while"):
        world.run_executor(data, tmp_path, world.few_settings())


def test_music_that_changed_since_its_fingerprint_is_not_cached_under_it(music, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(music, data)
    settings = world.few_settings()
    before = fingerprint(str(data), settings)
    change(data / "jazz" / "jazz.00001.wav")
    with pytest.raises(IngestError, match="changed while"):
        world.run_executor(data, tmp_path, settings, data_fingerprint=before)


def test_the_fingerprint_follows_the_content_and_not_the_clock(music, tmp_path):
    data = tmp_path / "a [strange] name"
    shutil.copytree(music, data)
    settings = world.few_settings()
    first = fingerprint(str(data), settings)
    song = data / "pop" / "pop.00000.wav"
    os.utime(song, (1, 1))
    assert fingerprint(str(data), settings) == first
    content = song.read_bytes()
    song.write_bytes(content[:-1] + b"\x01")
    changed = fingerprint(str(data), settings)
    song.write_bytes(content)
    song.rename(song.with_name("pop.00099.wav"))
    renamed = fingerprint(str(data), settings)
    assert len({first, changed, renamed}) == 3

    artists = tmp_path / "artists.csv"
    by_artist = world.few_settings(split=SplitSettings("artist", artists=str(artists)))
    with pytest.raises(IngestError, match=r"Received: .*artists.csv"):
        fingerprint(str(data), by_artist)
    artists.write_text("track_id,artist\n")
    before = fingerprint(str(data), by_artist)
    artists.write_text("track_id,artist\npop.00001,x\n")
    assert fingerprint(str(data), by_artist) != before


def test_a_signal_ends_the_hashing(tmp_path, monkeypatch):
    settings = world.few_settings()
    for genre in settings.genres:
        (tmp_path / genre).mkdir()
        for number in range(200):
            (tmp_path / genre / f"{number}.wav").touch()
    hashed = []

    def digest(*_):
        time.sleep(0.2)
        hashed.append(1)

    monkeypatch.setattr(files, "_digest", digest)

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(KeyboardInterrupt):
            fingerprint(str(tmp_path), settings)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert len(hashed) < 200 * len(settings.genres)


def test_the_real_tracks_are_seventy_different_recordings_and_all_accepted(real_music, tmp_path):
    settings = IngestSettings(GENRES)
    examples, report = world.run_executor(real_music / "genres_original", tmp_path, settings)
    content = json.loads(Path(report.uri, "report.json").read_text())
    assert content["accepted"] == 70
    assert content["rejected"] == content["near_duplicates"] == []
    assert all(row["train"] >= 4 for row in content["tracks"].values())
    record = world.read_split(examples, "test")[0]
    assert len(record["audio"]) == 2 * settings.audio.clip_samples
