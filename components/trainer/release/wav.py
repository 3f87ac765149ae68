"""Decodes WAV files in the served graph, by core operations."""

from typing import Any

import tensorflow as tf

MOST_CHANNELS = 64
_MOST_CHUNKS = 1000  # more would take long to walk through, and no program writes them

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_FORMAT_BYTES = 40  # of the extensible format, whose last 16 are a GUID that ends in these:
_GUID_END = b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
# How other files begin, and what they are called.
_OTHER_FILES = {
    b"ID3": "an MP3 file",
    b"\xff\xfb": "an MP3 file",
    b"\xff\xf3": "an MP3 file",
    b"fLaC": "a FLAC file",
    b"OggS": "an Ogg file",
    b"FORM": "an AIFF file",
    b".snd": "an AU file",
    b"RF64": "an RF64 file",
    b"RIFF": "a RIFF file that is no WAV",
}


def decode_wav(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes a WAV file and averages its channels.

    PCM of 8 to 32 bits and floats of 32 and 64 bits are read, also in WAVE_FORMAT_EXTENSIBLE, with
    up to `MOST_CHANNELS` channels and chunks in any order. Floats are clipped to full scale.

    Args:
      data: string [], the file.

    Returns:
      float32 [samples] in [-1, 1], and the sample rate in hertz, int64 [].

    Raises:
      InvalidArgumentError: It is no such file, or its header is at odds with its content; the text
        names what was found.
    """
    riff = tf.logical_and(
        tf.strings.substr(_padded(data, 12), 0, 4) == b"RIFF",
        tf.strings.substr(_padded(data, 12), 8, 4) == b"WAVE",
    )
    data = checked(data, (riff, ["the file is no WAV file. Received:", _kind_of_file(data)]))
    fields, tag, content = _format_and_content(data)
    channels, bits = fields[1], fields[7]
    rate = fields[2] + 65_536 * fields[3]
    container = (bits + 7) // 8
    decoders = {
        (_PCM, 1): _pcm8,
        (_PCM, 2): _pcm16,
        (_PCM, 3): _pcm24,
        (_PCM, 4): _pcm32,
        (_FLOAT, 4): lambda content: _floats(content, tf.float32),
        (_FLOAT, 8): lambda content: _floats(content, tf.float64),
    }
    matches = tf.stack([(tag == known) & (container == size) for known, size in decoders])
    content_bytes = tf.cast(tf.strings.length(content), tf.int64)
    content = checked(
        content,
        (
            (tag == _PCM) | (tag == _FLOAT),
            ["the WAV holds sound that is neither PCM (1) nor float (3). Received format:", tag],
        ),
        (
            tf.reduce_any(matches) & (bits >= 8),
            ["the WAV must have 8 to 32 bits, or floats of 32 or 64. Received bits:", bits],
        ),
        (
            (channels >= 1) & (channels <= MOST_CHANNELS),
            [f"the WAV must have 1 to {MOST_CHANNELS} channels. Received:", channels],
        ),
        (
            fields[6] == channels * container,
            [
                "the WAV's header is wrong: its frames cannot be of so many bytes. Received:",
                fields[6],
            ],
        ),
        (content_bytes > 0, ["the WAV holds no samples"]),
        (
            content_bytes % tf.maximum(channels * container, 1) == 0,
            [
                "the WAV's header is wrong: its samples are no whole number of frames. Received "
                "bytes:",
                content_bytes,
            ],
        ),
    )
    values = tf.switch_case(
        tf.argmax(matches, output_type=tf.int32),
        [lambda decode=decode: decode(content) for decode in decoders.values()],
    )
    return _mono(values, tf.cast(channels, tf.int32)), rate


def checked(values: tf.Tensor, *checks: tuple[tf.Tensor, list[Any]]) -> tf.Tensor:
    """The values, once every condition holds; the first that does not is the error."""
    before: list[tf.Operation] = []
    for condition, message in checks:
        with tf.control_dependencies(before):
            assertion = tf.debugging.Assert(condition, message)
        before = [] if assertion is None else [assertion]  # None where nothing is a graph
    with tf.control_dependencies(before):
        return tf.identity(values)


def _format_and_content(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Finds the chunks of the format and the samples.

    Returns:
      The format's 16-bit fields, int64 [20]; its tag, int64 []; the samples, string [].
    """
    length = tf.cast(tf.strings.length(data), tf.int64)
    none = tf.constant(-1, tf.int64)

    def more(count: tf.Tensor, position: tf.Tensor, *found: tf.Tensor) -> tf.Tensor:
        searching = (found[0] < 0) | (found[2] < 0)
        return searching & (position + 8 <= length) & (count < _MOST_CHUNKS)

    def next_chunk(
        count: tf.Tensor,
        position: tf.Tensor,
        format_at: tf.Tensor,
        format_bytes: tf.Tensor,
        data_at: tf.Tensor,
        data_bytes: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        name = tf.strings.substr(data, position, 4)
        halves = _fields(tf.strings.substr(data, position + 4, 4))
        size, begin = halves[0] + 65_536 * halves[1], position + 8
        is_format = (name == b"fmt ") & (format_at < 0)
        is_data = (name == b"data") & (data_at < 0)
        return (
            count + 1,
            begin + size + size % 2,
            tf.where(is_format, begin, format_at),
            tf.where(is_format, size, format_bytes),
            tf.where(is_data, begin, data_at),
            tf.where(is_data, size, data_bytes),
        )

    start = (tf.constant(0), tf.constant(12, tf.int64), none, none, none, none)
    _, _, format_at, format_bytes, data_at, data_bytes = tf.while_loop(more, next_chunk, start)
    data = checked(
        data,
        (format_at >= 0, ["the WAV has no chunk that describes its format"]),
        (
            (format_bytes >= 16) & (format_at + format_bytes <= length),
            [
                "the WAV's header is wrong: its format cannot be of so many bytes. Received:",
                format_bytes,
            ],
        ),
        (data_at >= 0, ["the WAV holds no samples: it has no chunk of them"]),
        (
            data_at + data_bytes <= length,
            [
                "the WAV breaks off, or its header is wrong: it says that so many bytes of samples "
                "follow, then come so many. Received:",
                data_bytes,
                length - data_at,
            ],
        ),
    )
    described = tf.strings.substr(data, format_at, tf.minimum(format_bytes, _FORMAT_BYTES))
    described = _padded(described, _FORMAT_BYTES)
    fields = _fields(described)
    extensible = (fields[0] == _EXTENSIBLE) & (tf.strings.substr(described, 26, 14) == _GUID_END)
    tag = tf.where(extensible, fields[12], fields[0])
    return fields, tag, tf.strings.substr(data, data_at, data_bytes)


def _kind_of_file(data: tf.Tensor) -> tf.Tensor:
    start = _padded(data, 16)
    text = tf.strings.regex_full_match(start, r"[\t\n\r -~]+\x00*")
    kind = tf.where(text, "text", tf.where(tf.strings.length(data) > 0, "other data", "0 bytes"))
    for beginning, name in _OTHER_FILES.items():
        kind = tf.where(tf.strings.substr(start, 0, len(beginning)) == beginning, name, kind)
    return kind


def _padded(text: tf.Tensor, length: int) -> tf.Tensor:
    """The first `length` bytes of a text, filled up with zeros."""
    return tf.strings.substr(tf.strings.join([text, b"\0" * length]), 0, length)


def _fields(text: tf.Tensor) -> tf.Tensor:
    """The 16-bit numbers in a text, int64 [bytes / 2]."""
    return tf.cast(tf.io.decode_raw(text, tf.uint16, little_endian=True), tf.int64)


def _pcm8(content: tf.Tensor) -> tf.Tensor:
    return (tf.cast(tf.io.decode_raw(content, tf.uint8), tf.float32) - 128.0) / 128.0


def _pcm16(content: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.io.decode_raw(content, tf.int16, little_endian=True), tf.float32) / 2.0**15


def _pcm24(content: tf.Tensor) -> tf.Tensor:
    in_threes = tf.reshape(tf.io.decode_raw(content, tf.uint8), [-1, 3])
    in_fours = tf.pad(in_threes, [[0, 0], [1, 0]])  # a low byte of zeros: 32 bits
    return tf.cast(tf.bitcast(in_fours, tf.int32), tf.float32) / 2.0**31


def _pcm32(content: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.io.decode_raw(content, tf.int32, little_endian=True), tf.float32) / 2.0**31


def _floats(content: tf.Tensor, kind: tf.DType) -> tf.Tensor:
    values = tf.cast(tf.io.decode_raw(content, kind, little_endian=True), tf.float32)
    finite = tf.reduce_all(tf.math.is_finite(values))
    values = checked(values, (finite, ["the WAV holds NaN or infinite samples"]))
    return tf.clip_by_value(values, -1.0, 1.0)


def _mono(values: tf.Tensor, channels: tf.Tensor) -> tf.Tensor:
    """Averages the channels of interleaved samples: float32 [samples]."""

    def averaged() -> tf.Tensor:
        mean = tf.fill([channels, 1], 1.0 / tf.cast(channels, tf.float32))
        return tf.matmul(tf.reshape(values, [-1, channels]), mean)[:, 0]

    return tf.cond(channels == 1, lambda: values, averaged)
