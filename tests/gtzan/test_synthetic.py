"""The synthetic sample: shaped as GTZAN, the same every time, no two tracks alike."""

import hashlib
import json
import shutil

import numpy as np
import pytest
import soundfile

from components.audio import levels
from components.common.errors import UserError
from components.gtzan import instruments, styles, synthetic
from components.gtzan.genres import GENRES


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return synthetic.write_sample(tmp_path_factory.mktemp("x") / "sample", tracks_per_genre=2)


def test_a_sample_has_the_layout_and_format_of_gtzan(sample):
    assert sorted(path.name for path in sample.iterdir() if path.is_dir()) == sorted(GENRES)
    for genre in GENRES:
        files = sorted(path.name for path in (sample / genre).iterdir())
        assert files == [f"{genre}.00000.wav", f"{genre}.00001.wav"]
        info = soundfile.info(sample / genre / files[0])
        assert (info.samplerate, info.channels, info.subtype) == (22_050, 1, "PCM_16")
        assert 30.0 <= info.duration <= 30.6


def test_all_composed_tracks_differ(sample):
    seen = set()
    for path in sorted(sample.glob("*/*.wav")):
        sound, _ = soundfile.read(path, dtype="float32")
        measured = levels.measure(sound)
        assert -30 < measured.rms_db < -9 and measured.silent_fraction < 0.2, path
        assert measured.clipped_fraction < 0.001, path
        seen.add(hashlib.sha256(sound.tobytes()).hexdigest())
    assert len(seen) == 2 * len(GENRES)


def test_a_track_depends_on_genre_index_and_seed_alone():
    first = synthetic.compose_track("jazz", 3, 7)
    np.testing.assert_array_equal(first, synthetic.compose_track("jazz", 3, 7))
    assert not np.array_equal(first[:1000], synthetic.compose_track("jazz", 3, 8)[:1000])
    with pytest.raises(ValueError, match="Received: 'polka'"):
        synthetic.compose_track("polka", 0, 0)


def test_rhythms_fill_a_bar_and_chords_have_shapes():
    for style in styles.STYLES.values():
        rhythms = style.kick + style.snare + style.cymbal + style.comp + style.bass_rhythm
        assert {len(rhythm) for rhythm in rhythms} == {16}
        for progression in style.progressions:
            assert all(chord[-3:] in styles.SHAPES for chord in progression.split())


@pytest.mark.parametrize("name", instruments.INSTRUMENTS)
def test_an_instrument_plays_the_note_it_is_given(name):
    instrument = instruments.INSTRUMENTS[name]
    sound = instruments.note(instrument, 57, 1.0, rng=np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 1 << 17))
    hertz = np.fft.rfftfreq(1 << 17, 1 / instruments.RATE_HZ)
    expected = 220.0 * 2**instrument.octave
    near = spectrum[np.abs(hertz - expected) < 0.04 * expected].max()
    below = spectrum[hertz < 0.9 * expected].max()
    assert near > 5 * below


def test_an_interrupted_sample_is_completed_and_the_rest_kept(sample):
    manifest = json.loads((sample / "sample.json").read_text())
    (sample / "sample.json").write_text(json.dumps({**manifest, "complete": False}))
    lost, kept = sample / "pop" / "pop.00001.wav", sample / "pop" / "pop.00000.wav"
    content, time = lost.read_bytes(), kept.stat().st_mtime_ns
    lost.unlink()
    calls = []
    for _ in range(2):  # the second finds it complete
        synthetic.write_sample(sample, tracks_per_genre=2, progress=lambda *it: calls.append(it))
    assert calls == [(20, 20)]
    assert lost.read_bytes() == content and kept.stat().st_mtime_ns == time
    assert json.loads((sample / "sample.json").read_text()) == manifest


def test_another_size_and_seed_replace_the_sample(sample, tmp_path):
    folder = tmp_path / "sample"
    shutil.copytree(sample, folder)
    first = (folder / "metal" / "metal.00000.wav").read_bytes()
    synthetic.write_sample(folder, tracks_per_genre=1, seed=1)
    assert len(list(folder.glob("*/*.wav"))) == len(GENRES)
    assert (folder / "metal" / "metal.00000.wav").read_bytes() != first


def test_a_folder_of_something_else_is_not_touched(tmp_path):
    song = tmp_path / "rock" / "mine.wav"
    song.parent.mkdir()
    song.write_bytes(b"precious")
    with pytest.raises(UserError, match=r"folder of its own\. Received"):
        synthetic.write_sample(tmp_path)
    assert song.read_bytes() == b"precious"
