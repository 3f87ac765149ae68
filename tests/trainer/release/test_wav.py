"""WAV files in the served graph: plain ones take the short way, and all give the same sound."""

import io
import struct

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from components.audio import codec
from components.trainer.release.wav import decode_wav

RATE = 22_050


def noise(seconds: float = 0.1, channels: int = 1) -> np.ndarray:
    sound = np.random.default_rng(0).uniform(-1, 1, (int(seconds * RATE), channels))
    return sound.astype(np.float32)


def written(sound: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, sound, RATE, format="WAV", **options)
    return buffer.getvalue()


def with_chunk(wav: bytes) -> bytes:
    """With a chunk before the samples, as programs that keep a title write it."""
    chunk = b"LIST" + struct.pack("<I", 4) + b"INFO"
    return wav[:4] + struct.pack("<I", len(wav) + 4) + wav[8:36] + chunk + wav[36:]


PLAIN = codec.encode_wav(noise()[:, 0], RATE)
GRAPH = tf.function(decode_wav, input_signature=[tf.TensorSpec([], tf.string)])


@pytest.mark.parametrize(
    "wav",
    [
        PLAIN,
        written(noise(), subtype="PCM_16"),
        written(noise(channels=2), subtype="PCM_16"),
        with_chunk(PLAIN),
        PLAIN + b"LIST\4\0\0\0INFO",
        codec.encode_wav(np.array([-1.0, 1.0, 0.0]), 8000),
        codec.encode_wav(np.zeros(0), RATE),
    ],
)
def test_the_sound_is_that_of_tensorflows_decoder(wav):
    channels, expected_rate = tf.audio.decode_wav(wav)
    sound, rate = GRAPH(wav)
    np.testing.assert_array_equal(sound, channels.numpy().mean(axis=1))
    assert rate == expected_rate


@pytest.mark.parametrize(
    "wav",
    [
        b"",
        b"RIFF",
        PLAIN[:43],
        b"\0" * 100,
        written(noise(), subtype="FLOAT"),
        PLAIN.replace(b"fmt ", b"abcd"),
    ],
)
def test_what_is_no_such_file_is_refused(wav):
    with pytest.raises(tf.errors.InvalidArgumentError):
        GRAPH(wav)


@pytest.mark.parametrize("wav", [PLAIN[:-2], PLAIN[:-1], PLAIN[:60]])
def test_a_file_that_breaks_off_is_judged_by_tensorflow(wav):
    try:
        expected = tf.audio.decode_wav(wav)[0].numpy()[:, 0]
    except tf.errors.InvalidArgumentError:
        with pytest.raises(tf.errors.InvalidArgumentError):
            GRAPH(wav)
    else:
        np.testing.assert_array_equal(GRAPH(wav)[0], expected)


def test_plain_files_take_the_short_way():
    """The fault that is in the file is found by the other decoder alone."""
    faulty = PLAIN[:4] + b"\1\0\0\0" + PLAIN[8:28] + b"\1\0\0\0" + PLAIN[32:]  # bytes a second
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.audio.decode_wav(faulty)
    np.testing.assert_array_equal(GRAPH(faulty)[0], GRAPH(PLAIN)[0])
