"""WAV files in the served graph: all that soundfile writes, as soundfile reads it; sentences."""

import io
import re
import struct

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from components.audio import codec
from components.trainer.release.wav import decode_wav

RATE = 22_050
SUBTYPES = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
GRAPH = tf.function(decode_wav, input_signature=[tf.TensorSpec([], tf.string)])


def noise(channels: int = 1, seconds: float = 0.1) -> np.ndarray:
    sound = np.random.default_rng(0).uniform(-1, 1, (int(seconds * RATE), channels))
    return sound.astype(np.float32)


def written(sound: np.ndarray, subtype: str = "PCM_16", file_format: str = "WAV", rate=RATE):
    buffer = io.BytesIO()
    soundfile.write(buffer, sound, rate, subtype, format=file_format)
    return buffer.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def file_of(*chunks: bytes) -> bytes:
    return chunk(b"RIFF", b"WAVE" + b"".join(chunks))


def form(tag=1, channels=1, rate=RATE, align=2, bits=16) -> bytes:
    """The chunk that describes a format."""
    fields = struct.pack("<HHIIHH", tag, channels, rate, rate * align, align, bits)
    return chunk(b"fmt ", fields)


SAMPLES = chunk(b"data", codec.to_pcm16(noise()[:, 0]))
PLAIN = codec.encode_wav(noise()[:, 0], RATE)


@pytest.mark.parametrize("file_format", ["WAV", "WAVEX"])
@pytest.mark.parametrize("subtype", SUBTYPES)
def test_the_sound_is_that_of_soundfile(subtype, file_format):
    for channels in (1, 2, 6):
        data = written(noise(channels), subtype, file_format, rate=48_000)
        expected, _ = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
        sound, rate = GRAPH(data)
        np.testing.assert_allclose(sound, expected.mean(axis=1), atol=1e-6)
        assert rate == 48_000


def test_sound_of_one_channel_and_16_bits_is_that_of_ingest_bit_for_bit():
    ingested = codec.decode(PLAIN, name="a.wav", sample_rate_hz=RATE)
    np.testing.assert_array_equal(GRAPH(PLAIN)[0], ingested.samples)


@pytest.mark.parametrize(
    "wav",
    [
        file_of(chunk(b"LIST", b"INFOodd"), form(), chunk(b"fact", b"1234"), SAMPLES),
        file_of(SAMPLES, form()),
        file_of(form(), SAMPLES, chunk(b"id3 ", b"title")),
        PLAIN + b"what is after the end",
        PLAIN[:4] + b"\xff\xff\xff\xff" + PLAIN[8:],  # nobody needs the size of the whole
        file_of(form(bits=12), SAMPLES),  # in the high bits of 16
    ],
    ids=["before", "order", "after", "behind", "whole", "12 bits"],
)
def test_chunks_stand_in_any_order_among_others(wav):
    np.testing.assert_array_equal(GRAPH(wav)[0], GRAPH(PLAIN)[0])


def test_floats_beyond_full_scale_are_clipped_as_at_ingest():
    loud = written(3 * noise(2), "FLOAT")
    expected = codec.decode(loud, name="a.wav", sample_rate_hz=RATE).samples
    np.testing.assert_allclose(GRAPH(loud)[0], expected, atol=1e-6)


def mp3() -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, noise(), RATE, format="MP3")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("wav", "sentence"),
    [
        (b"", "no WAV file.*0 bytes"),
        (b"RIFF", "RIFF file that is no WAV"),
        (b"\0" * 100, "no WAV file.*other data"),
        (b"Dear server", "no WAV file.*text"),
        (mp3(), "no WAV file.*MP3"),
        (written(noise(), "PCM_16", "FLAC"), "no WAV file.*FLAC"),
        (written(noise(), "VORBIS", "OGG"), "no WAV file.*Ogg"),
        (written(noise(), "ULAW"), r"neither PCM \(1\) nor float \(3\).*7"),
        (written(noise(), "IMA_ADPCM"), "neither PCM.*17"),
        (file_of(SAMPLES), "no chunk that describes its format"),
        (file_of(form()), "holds no samples"),
        (file_of(form(), chunk(b"data", b"")), "holds no samples"),
        (file_of(form(channels=0, align=0), SAMPLES), "1 to 64 channels.*0"),
        (file_of(form(channels=65, align=130), SAMPLES), "1 to 64 channels.*65"),
        (file_of(form(align=4), SAMPLES), "frames cannot be of so many bytes.*4"),
        (file_of(form(align=0), SAMPLES), "frames cannot be of so many bytes.*0"),
        (file_of(form(bits=4, align=1), SAMPLES), "8 to 32 bits.*4"),
        (file_of(form(bits=64, align=8), SAMPLES), "8 to 32 bits.*64"),
        (file_of(form(tag=3), SAMPLES), "8 to 32 bits.*16"),
        (file_of(form(), chunk(b"data", b"abc")), "no whole number of frames.*3"),
        (PLAIN[:-1], "breaks off.*4410.*4409"),
        (PLAIN[:40] + b"\xff\xff\xff\xff" + PLAIN[44:], "breaks off.*4294967295"),
        (file_of(chunk(b"fmt ", b"\1\0\1\0"), SAMPLES), "format cannot be of so many bytes.*4"),
        (PLAIN[:30], "format cannot be of so many bytes.*16"),
        (file_of(chunk(b"JUNK", b"") * 1000, form(), SAMPLES), "no chunk that describes"),
        (written(np.array([0.0, np.nan]), "FLOAT"), "NaN or infinite"),
        (written(np.array([0.0, np.inf]), "DOUBLE"), "NaN or infinite"),
    ],
)
def test_what_is_no_such_file_is_refused_by_what_it_is(wav, sentence):
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        GRAPH(wav)
    assert re.search(sentence, error.value.message.replace("\n", " ")), error.value.message


def test_a_file_cut_anywhere_is_refused():
    for length in range(len(PLAIN) - 50, len(PLAIN)):
        with pytest.raises(tf.errors.InvalidArgumentError):
            GRAPH(PLAIN[:length])
    for length in range(60):
        with pytest.raises(tf.errors.InvalidArgumentError, match="WAV"):
            GRAPH(PLAIN[:length])
