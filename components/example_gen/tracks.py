"""One file at a time: is it a track, and what does its record hold?

Pure functions from bytes to small facts (`examine`) and to a record (`to_example`). The sound
itself never leaves them except inside a record that is on its way to a file.
"""

import dataclasses
import hashlib

import tensorflow as tf

from components.audio import codec, levels
from components.audio.settings import AudioSettings
from components.gtzan import layout

EMPTY = "empty"
NOT_AUDIO = "not audio"
NOT_A_NUMBER = "not a number"
TOO_SHORT = "under one window long"
SILENT = "silent"
UNREADABLE = "unreadable"
UNKNOWN_GENRE = "unknown genre folder"
DUPLICATE = "duplicate"
SAME_ID = "same track id"
NOT_LISTED = "not listed"

# Left out for a reason that says nothing against the data.
NO_FAULT = frozenset({DUPLICATE, SAME_ID, NOT_LISTED})

# Decoded around the middle: the resampler's edge effects must lie outside of the clip.
_MARGIN_SECONDS = 1.0


@dataclasses.dataclass(frozen=True)
class Examined:
    """What is known of a file after it was read once.

    Attributes:
      path: Relative to the data folder, as `blues/blues.00000.wav`.
      track_id: The track's id, as `blues.00000`.
      genre: Its genre, "" for an unknown folder.
      fault: Why it cannot be used, or "".
      detail: A sentence on the fault.
      content: Hash of the clip's PCM: equal for exact duplicates.
      duration_seconds: Length of the whole sound, in seconds.
      source_sample_rate_hz: The file's own rate, in hertz.
      peak: See `components.audio.levels.Levels`, as for the rest.
      rms_db: In dBFS.
      silent_fraction: 0 to 1.
      clipped_fraction: 0 to 1.
    """

    path: str
    track_id: str
    genre: str
    fault: str = ""
    detail: str = ""
    content: str = ""
    duration_seconds: float = 0.0
    source_sample_rate_hz: int = 0
    peak: float = 0.0
    rms_db: float = levels.FLOOR_DB
    silent_fraction: float = 1.0
    clipped_fraction: float = 0.0


def identify(path: str, genres: tuple[str, ...]) -> Examined:
    """Reads what a file's path says: its genre and its track's id.

    Args:
      path: Relative to the data folder.
      genres: The genres that there are.
    """
    folder, _, file_name = path.rpartition("/")
    genre = layout.genre_of_folder(folder, genres)
    if genre is None:
        detail = f"{folder or 'the top folder'} is none of the genres"
        return Examined(path, layout.track_id(folder, file_name), "", UNKNOWN_GENRE, detail)
    return Examined(path, layout.track_id(genre, file_name), genre)


def examine(track: Examined, data: bytes, audio: AudioSettings) -> Examined:
    """Judges a file by its content.

    Args:
      track: What its path says.
      data: Its bytes.
      audio: Rate and length of a clip.

    Returns:
      The track with its measures, or with its fault.
    """
    try:
        sound, pcm = clip(track, data, audio)
    except codec.AudioError as error:
        return dataclasses.replace(track, fault=error.kind, detail=_without_path(error, track))
    measured = levels.measure(codec.from_pcm16(pcm))
    track = dataclasses.replace(
        track,
        content=content_hash(pcm),
        duration_seconds=sound.duration_seconds,
        source_sample_rate_hz=sound.source_sample_rate_hz,
        **dataclasses.asdict(measured),
    )
    if sound.duration_seconds < audio.window_seconds:
        detail = f"{sound.duration_seconds:.2f} s, a window is {audio.window_seconds:g} s"
        return dataclasses.replace(track, fault=TOO_SHORT, detail=detail)
    if measured.silent_fraction == 1.0:
        detail = f"nothing above {levels.SILENCE_DB:g} dBFS, peak {measured.peak:.4f}"
        return dataclasses.replace(track, fault=SILENT, detail=detail)
    return track


def to_example(track: Examined, data: bytes, audio: AudioSettings) -> bytes:
    """Makes a track's record, the raw example of DESIGN.md.

    Args:
      track: What `examine` found in the same bytes.
      data: The file's bytes.
      audio: Rate and length of a clip.

    Returns:
      A serialized tf.Example, the same bytes every time.

    Raises:
      RuntimeError: The file has changed since it was examined.
    """
    _, pcm = clip(track, data, audio)
    if content_hash(pcm) != track.content:
        raise RuntimeError(f"the file changed while it was being ingested. Received: {track.path}")
    example = tf.train.Example(
        features=tf.train.Features(
            feature={
                "track_id": _bytes(track.track_id.encode()),
                "genre": _bytes(track.genre.encode()),
                "audio": _bytes(pcm),
                "duration_seconds": _float(track.duration_seconds),
                "source_sample_rate_hz": tf.train.Feature(
                    int64_list=tf.train.Int64List(value=[track.source_sample_rate_hz])
                ),
                "peak": _float(track.peak),
                "rms_db": _float(track.rms_db),
                "silent_fraction": _float(track.silent_fraction),
                "clipped_fraction": _float(track.clipped_fraction),
            }
        )
    )
    return example.SerializeToString(deterministic=True)


def clip(track: Examined, data: bytes, audio: AudioSettings) -> tuple[codec.DecodedAudio, bytes]:
    """Decodes a file's middle and cuts or pads it to a clip.

    Args:
      track: What its path says.
      data: The file's bytes.
      audio: Rate and length of a clip.

    Returns:
      The decoded sound, and the clip as little-endian 16-bit PCM.

    Raises:
      AudioError: It is no sound that can be used.
    """
    sound = codec.decode(
        data,
        name=track.path,
        sample_rate_hz=audio.sample_rate_hz,
        middle_seconds=audio.clip_seconds + 2 * _MARGIN_SECONDS,
    )
    return sound, codec.to_pcm16(codec.fit_clip(sound.samples, audio.clip_samples))


def content_hash(pcm: bytes) -> str:
    """Hashes a clip's PCM."""
    return hashlib.blake2b(pcm, digest_size=16).hexdigest()


def _without_path(error: codec.AudioError, track: Examined) -> str:
    return str(error).removeprefix(track.path).strip()


def _bytes(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _float(value: float) -> tf.train.Feature:
    return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
