"""Decoding, fitting and PCM: what goes in comes out, and what is no sound is refused."""

import io
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from components.audio import codec, levels

RATE = 22_050


def tone(hertz: float, seconds: float, rate: int = RATE, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype("f4")


def file_of(samples: np.ndarray, rate: int, kind: str, subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


def decode(data: bytes, **options) -> codec.DecodedAudio:
    return codec.decode(data, name="song", sample_rate_hz=RATE, **options)


def loudest_hertz(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * RATE / len(samples))


@pytest.mark.parametrize("kind", ["WAV", "AU", "FLAC", "MP3", "OGG"])
def test_a_tone_keeps_its_pitch_level_and_length_in_every_format(kind):
    stereo = np.stack([tone(440, 4, 44_100)] * 2, axis=1)
    sound = decode(file_of(stereo, 44_100, kind))
    middle = sound.samples[RATE : 3 * RATE]
    assert (sound.source_sample_rate_hz, sound.source_channels) == (44_100, 2)
    assert sound.samples.dtype == np.float32
    assert sound.duration_seconds == pytest.approx(4, abs=0.06)  # MP3 pads to whole frames
    assert loudest_hertz(middle) == pytest.approx(440, abs=1)
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)


@pytest.mark.parametrize("kind", ["WAV", "AU", "FLAC"])
def test_sixteen_bit_files_at_the_wanted_rate_come_back_bit_for_bit(kind):
    pcm = np.random.default_rng(0).integers(-32768, 32768, size=RATE).astype("<i2")
    sound = decode(file_of(pcm, RATE, kind, "PCM_16"))
    assert codec.to_pcm16(sound.samples) == pcm.tobytes()


def test_resampling_keeps_what_is_below_half_the_rate_and_drops_what_is_above():
    below, above = tone(5_000, 3, 48_000), tone(15_000, 3, 48_000)
    kept = decode(file_of(below, 48_000, "WAV")).samples
    dropped = decode(file_of(above, 48_000, "WAV")).samples
    assert len(kept) == pytest.approx(3 * RATE, abs=1)
    assert np.abs(kept[RATE:-RATE]).max() == pytest.approx(0.5, rel=0.01)
    assert np.abs(dropped[RATE:-RATE]).max() < 1e-3


def test_a_file_read_in_many_blocks_has_no_seam():
    rate = 48_000
    sound = decode(file_of(tone(1_000, 30, rate), rate, "WAV", "FLOAT")).samples
    ideal = tone(1_000, 30)
    inner = slice(RATE, len(ideal) - RATE)
    assert np.abs(sound[inner] - ideal[inner]).max() < 1e-3


def test_opposite_channels_cancel_in_the_mono_mix():
    one = tone(300, 3)
    assert np.abs(decode(file_of(np.stack([one, -one], axis=1), RATE, "WAV")).samples).max() < 1e-4


def test_only_the_middle_of_long_sound_is_decoded():
    seconds = np.repeat(np.arange(60) / 100, RATE).astype("f4")  # each second its own level
    sound = decode(file_of(seconds, RATE, "WAV", "FLOAT"), middle_seconds=10)
    assert sound.duration_seconds == 60
    assert len(sound.samples) == 10 * RATE
    np.testing.assert_allclose(sound.samples, seconds[25 * RATE : 35 * RATE], atol=1e-6)


@pytest.mark.parametrize(
    ("data", "kind", "says"),
    [
        (b"", "empty", "empty"),
        (b"hello, this is a letter\n" * 100, "not audio", "not audio"),
        (b"RIFF" + bytes(200), "not audio", "not audio"),
        (b"\x89PNG\r\n\x1a\n" + bytes(500), "not audio", "not audio"),
        (np.random.default_rng(1).bytes(50_000), "not audio", "not audio"),
        (file_of(np.zeros(0, "f4"), RATE, "WAV"), "empty", "no samples"),
        (file_of(np.array([0, np.nan] * 99, "f4"), RATE, "WAV", "FLOAT"), "not a number", "NaN"),
        (file_of(np.array([0, np.inf] * 99, "f4"), RATE, "WAV", "FLOAT"), "not a number", "NaN"),
        (file_of(np.zeros(99, "f4"), 8, "WAV"), "unusable sample rate", "8 Hz"),
    ],
)
def test_data_that_is_not_audio_is_refused_with_one_sentence(data, kind, says):
    with pytest.raises(codec.AudioError, match=f"^song .*{says}") as error:
        decode(data)
    assert error.value.kind == kind


def test_sound_beyond_the_limit_is_refused_unless_its_middle_is_enough():
    data = file_of(np.zeros(int(1000 * (codec.MAXIMUM_SECONDS + 1)), "i2"), 1000, "FLAC")
    with pytest.raises(codec.AudioError, match="too long") as error:
        decode(data)
    assert error.value.kind == "too long"
    assert len(decode(data, middle_seconds=1).samples) == pytest.approx(RATE, abs=1)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "MP3", "OGG"])
@pytest.mark.parametrize("part", [0.01, 0.35, 0.6])
def test_the_middle_of_a_file_that_breaks_off_is_that_of_what_is_left(kind, part):
    data = file_of(tone(440, 20), RATE, kind)
    try:
        sound = decode(data[: int(len(data) * part)], middle_seconds=4)
    except codec.AudioError as error:
        assert error.kind == "not audio"
        return
    assert np.isfinite(sound.samples).all() and len(sound.samples)
    # Vorbis has its tables in front and codes the first blocks with more bits.
    assert 20 * part - 5.5 < sound.duration_seconds < 20 * part + 0.8
    assert len(sound.samples) <= 4 * RATE + 1
    assert len(sound.samples) >= RATE * min(3.9, sound.duration_seconds - 0.1)
    if sound.duration_seconds > 3:
        assert np.sqrt(np.mean(sound.samples**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.03)


def test_a_header_that_promises_more_than_there_is_costs_no_memory():
    data = bytearray(file_of(tone(440, 1), RATE, "WAV"))
    data[40:44] = struct.pack("<I", 0xFFFFFFF0)
    assert len(decode(bytes(data)).samples) == RATE


def test_float_files_beyond_full_scale_are_clipped():
    sound = decode(file_of(tone(440, 1, level=30.0), RATE, "WAV", "FLOAT"))
    assert np.abs(sound.samples).max() == 1.0


@given(st.integers(1, 400), st.integers(1, 400))
def test_a_clip_is_the_middle_or_the_whole(samples, clip_samples):
    sound = np.arange(1, samples + 1, dtype="f4")
    clip = codec.take_clips(sound, clip_samples)
    assert clip.dtype == np.float32 and len(clip) == min(samples, clip_samples)
    before, after = clip[0] - 1, samples - clip[-1]
    assert (np.diff(clip) == 1).all() and abs(before - after) <= 1


@given(st.integers(1, 1000), st.integers(1, 100), st.integers(1, 20))
def test_clips_are_spread_evenly_and_never_overlap(samples, clip_samples, most):
    sound = np.arange(samples, dtype="f4")
    taken = codec.take_clips(sound, clip_samples, most)
    if samples <= clip_samples:
        np.testing.assert_array_equal(taken, sound)
        return
    clips = taken.reshape(-1, clip_samples)
    assert len(clips) == min(most, samples // clip_samples)
    assert (np.diff(clips, axis=1) == 1).all()
    gaps = np.diff(np.concatenate([[-1], clips[:, [0, -1]].ravel(), [samples]]))[::2] - 1
    assert gaps.min() >= 0
    inner, outer = gaps[1:-1], gaps[[0, -1]]
    # Half a gap before the first and after the last, a whole one between two.
    share = (samples - len(clips) * clip_samples) / len(clips)
    assert np.abs(outer - share / 2).max() <= 1
    assert not len(inner) or np.abs(inner - share).max() <= 1


@given(st.lists(st.integers(-32768, 32767)))
def test_pcm_survives_the_way_to_float_and_back(values):
    pcm = np.array(values, "<i2").tobytes()
    assert codec.to_pcm16(codec.from_pcm16(pcm)) == pcm


def test_an_encoded_wav_is_read_by_others_and_by_us():
    sound = tone(440, 2)
    wav = codec.encode_wav(sound, RATE)
    read, rate = soundfile.read(io.BytesIO(wav), dtype="float32")
    assert rate == RATE and np.abs(read - sound).max() <= 1 / 65536
    np.testing.assert_array_equal(decode(wav).samples, read)


def test_odd_pcm_is_refused():
    with pytest.raises(codec.AudioError, match="Received: 3 bytes"):
        codec.from_pcm16(b"abc")


def test_levels_of_a_full_scale_sine_are_minus_three_decibels():
    measured = levels.measure(tone(1001, 2, level=1.0))
    assert measured.peak == pytest.approx(1.0, abs=1e-4)
    assert measured.rms_db == pytest.approx(-3.01, abs=0.01)
    assert measured.silent_fraction == 0.0


def test_levels_tell_the_silent_and_the_clipped_part():
    half = np.concatenate([np.zeros(64 * levels.BLOCK_SAMPLES), np.ones(64 * levels.BLOCK_SAMPLES)])
    measured = levels.measure(half.astype("f4"))
    assert measured.silent_fraction == 0.5
    assert measured.clipped_fraction == 0.5
    assert levels.measure(np.zeros(5000, "f4")) == levels.Levels(0.0, levels.FLOOR_DB, 1.0, 0.0)
    assert levels.measure(np.zeros(0, "f4")).silent_fraction == 1.0


def test_real_tracks_come_back_bit_for_bit(real_music):
    for genre in ("blues", "metal"):
        path = real_music / "genres_original" / genre / f"{genre}.00000.wav"
        pcm, rate = soundfile.read(path, dtype="int16")
        assert rate == RATE
        assert codec.to_pcm16(decode(path.read_bytes()).samples) == pcm.astype("<i2").tobytes()
