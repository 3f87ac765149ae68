"""Near-duplicates: planted copies are found, different tracks are no pair, and leaks are said."""

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from components.audio import codec
from components.audio.fingerprints import Fingerprint, fingerprint
from components.audio.settings import AudioSettings
from components.example_gen import report, tracks
from components.example_gen.repeats import dropped
from components.gtzan import synthetic
from components.gtzan.genres import GENRES
from tests.example_gen import conftest as world
from tests.example_gen import deciding
from tests.example_gen.deciding import search

RATE = 22_050


def re_encoded(samples: np.ndarray, compression: float = 0.9) -> bytes:
    """As MP3, at 24 kbit/s; at 80 with a compression of 0.5."""
    coded = io.BytesIO()
    soundfile.write(
        coded, samples, RATE, format="MP3", bitrate_mode="CONSTANT", compression_level=compression
    )
    return coded.getvalue()


def wav(samples: np.ndarray) -> bytes:
    return codec.encode_wav(samples, RATE)


def words(track: tracks.Examined) -> Fingerprint:
    return Fingerprint.from_bytes(track.fingerprint)


COPIES = {
    "mp3": re_encoded,
    "shifted": lambda samples: wav(samples[round(1.3 * RATE) :]),
    "faster": lambda samples: wav(soxr.resample(samples, RATE, RATE / 1.02)),
    "slower": lambda samples: wav(soxr.resample(samples, RATE, RATE / 0.98)),
    "all": lambda samples: re_encoded(
        soxr.resample(samples[round(1.3 * RATE) :], RATE, RATE / 1.02)
    ),
    "quiet": lambda samples: wav(0.1 * samples),
}


@pytest.fixture(scope="module")
def composed() -> dict[str, np.ndarray]:
    """The sample's first track of each genre, by path."""
    return {f"{g}/{g}.00000.wav": synthetic.compose_track(g, 0, 0) for g in GENRES}


@pytest.fixture(scope="module")
def examined(composed) -> list[tracks.Examined]:
    """What ingest knows of them, and of copies of one, each of a genre of its own."""
    music = {path: wav(samples) for path, samples in composed.items()}
    source = composed["jazz/jazz.00000.wav"]
    for genre, (name, copy) in zip(GENRES, COPIES.items(), strict=False):
        music[f"{genre}/copy {name}.wav"] = copy(source)
    audio = AudioSettings()
    return [
        tracks.examine(tracks.identify(path, GENRES), data, audio) for path, data in music.items()
    ]


@pytest.fixture(scope="module")
def decided(examined) -> deciding.Decided:
    return deciding.run(examined)


def test_every_planted_copy_is_found_and_no_two_different_tracks_are_a_pair(examined, decided):
    pairs = decided.near_duplicates
    copies = {track.path for track in examined if "copy" in track.path}
    family = {*copies, "jazz/jazz.00000.wav"}
    assert len(copies) == len(COPIES)
    sides = [{pair.first, pair.second} for pair in pairs]
    assert set().union(*(side for side in sides if "jazz/jazz.00000.wav" in side)) == family
    assert all(side <= family for side in sides)


def test_a_pair_says_how_the_second_differs(examined):
    by_name = {track.path.partition("copy ")[2][:-4]: track for track in examined}
    original = next(track for track in examined if track.path == "jazz/jazz.00000.wav")
    for name, shift_seconds, speed in (("shifted", 1.3, 1.0), ("faster", 0.0, 1.02)):
        found = search({"a first one": words(original), "copy": words(by_name[name])})[0]
        assert found.shift_seconds == pytest.approx(shift_seconds, abs=0.1)
        assert found.speed == pytest.approx(speed, abs=0.006)
        assert found.distance < 0.2 and found.seconds > 25


def test_warn_keeps_all_and_passes_on_no_fingerprint(examined, decided):
    assert len(decided.accepted) == len(examined) and not decided.left_out
    assert not any(track.fingerprint for track in decided.accepted)


def test_a_pair_says_in_which_splits_it_is(decided):
    split_of = {track.path: split for split, some in decided.splits.items() for track in some}
    for pair in decided.near_duplicates:
        assert pair.splits == (split_of[pair.first], split_of[pair.second])
        assert pair.across_splits == (pair.splits[0] != pair.splits[1])
    leaks = [pair for pair in decided.near_duplicates if pair.across_splits]
    assert 0 < decided.counts.leaks == len(leaks) < decided.counts.near_duplicates


def test_drop_keeps_the_first_of_a_recording_and_no_pair_is_left(examined):
    made = deciding.run(examined, duplicates="drop")
    remaining = {track.path for track in made.accepted}
    paths = [track.path for track in examined]
    first = min(path for path in paths if "copy" in path or path == "jazz/jazz.00000.wav")
    assert len(made.left_out) == len(COPIES) and first in remaining
    assert {track.fault for track in made.left_out} == {tracks.NEAR_DUPLICATE}
    assert all(track.detail == f"near-duplicate of {first}" for track in made.left_out)
    assert made.near_duplicates
    for pair in made.near_duplicates:
        assert not {pair.first, pair.second} <= remaining and not pair.across_splits
    assert made.counts.left_out == {tracks.NEAR_DUPLICATE: len(COPIES)} and not made.counts.faulty
    again = deciding.run([track for track in examined if track.path in remaining])
    assert again.splits == made.splits and not again.near_duplicates


def test_a_track_is_kept_if_only_a_dropped_one_is_like_it():
    """a is like b, and b like c, but a is not like c: b goes, and both others stay."""
    assert list(dropped([("b", "c"), ("a", "b")])) == [("b", "a")]


def test_a_search_in_parts_finds_what_a_search_of_all_words_finds(examined, decided):
    fingerprints = {track.path: words(track) for track in examined}
    without_splits = [dataclasses.replace(pair, splits=()) for pair in decided.near_duplicates]
    assert search(fingerprints, parts=7) == without_splits


def test_half_of_a_track_is_found_and_a_few_seconds_are_not(composed):
    samples = composed["rock/rock.00000.wav"].astype(np.float32)
    whole, half = fingerprint(samples, RATE), fingerprint(samples[15 * RATE :], RATE)
    part = fingerprint(samples[: 4 * RATE], RATE)
    (pair,) = search({"a whole": whole, "half": half, "part": part})
    assert (pair.first, pair.second) == ("a whole", "half")
    assert pair.shift_seconds == pytest.approx(15, abs=0.1)
    assert pair.seconds == pytest.approx(15, abs=0.5)


def test_nothing_silent_and_no_tracks_are_no_pairs():
    silent = fingerprint(np.zeros(30 * RATE, np.float32), RATE)
    assert search({"a": silent, "b": silent}) == []
    assert search({}) == []


def test_leaks_are_listed_in_the_report_the_terminal_and_the_run_s_summary(tmp_path):
    genres = ("jazz", "rock")
    for genre in genres:
        for index in range(3):
            samples = synthetic.compose_track(genre, index, 1)[: 12 * RATE]
            world.write_track(tmp_path / "music", genre, index, samples)
            copy = tmp_path / "music" / genre / f"the same {index}.mp3"
            copy.write_bytes(re_encoded(samples, compression=0.5))
    settings = world.ingest_settings(genres=genres, audio=AudioSettings(clip_seconds=12))
    _, artifact = world.run_executor(tmp_path / "music", tmp_path, settings)
    content = json.loads(Path(artifact.uri, "report.json").read_text())
    pairs = content["near_duplicates"]
    assert [(pair["first"], pair["second"]) for pair in pairs] == [
        (f"{genre}/{genre}.{index:05d}.wav", f"{genre}/the same {index}.mp3")
        for genre in genres
        for index in range(3)
    ]
    leaks = [pair for pair in pairs if pair["across_splits"]]
    assert leaks and all(pair["splits"][0] != pair["splits"][1] for pair in leaks)
    text = report.as_text(content)
    assert f"6 pairs of near-duplicates, {len(leaks)} of them" in text
    assert leaks[0]["second"] in text and "--duplicates drop" in text
    page = Path(artifact.uri, "index.html").read_text()
    assert all(pair["second"] in page for pair in pairs)
    leaks_property = artifact.get_int_custom_property("leaks")
    sentence = report.as_sentence({"tracks": 12, "rejected": 0, "leaks": leaks_property})
    assert sentence.endswith("(--duplicates drop keeps one of each)")
    (listed,) = Path(artifact.uri).glob("near_duplicates-*.jsonl")
    assert [json.loads(line) for line in listed.read_text().splitlines()] == pairs
