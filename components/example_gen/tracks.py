"""Examines one audio file at a time and makes its record.

Pure functions from a file's bytes to a few measurements (`examine`) and to a record (`to_example`).
"""

import dataclasses
import hashlib
import math

from components.audio import codec, fingerprints, levels, loudness
from components.audio.bandwidth import LongTermSpectrum
from components.audio.settings import AudioSettings
from components.common import raw_examples
from components.example_gen import files
from components.gtzan import layout
from components.gtzan.limits import TrackLimits
from components.gtzan.listing import DataFile

EMPTY = "empty"
NOT_AUDIO = "not audio"
NOT_A_NUMBER = "not a number"
TOO_SHORT = "under one window long"
TOO_LONG = "too long"
BAD_RATE = "unusable sample rate"
SILENT = "silent"
MOSTLY_SILENT = "mostly silent"
TOO_QUIET = "too quiet"
CLIPPED = "clipped"
UNREADABLE = "unreadable"
NOT_UTF8 = "name is not UTF-8"
UNKNOWN_GENRE = "unknown genre folder"
DUPLICATE = "duplicate"
SAME_ID = "same track id"
NOT_LISTED = "not listed"
NEAR_DUPLICATE = "near-duplicate"

# Reasons to leave a file out that do not count as faults.
NO_FAULT = frozenset({DUPLICATE, SAME_ID, NOT_LISTED, NEAR_DUPLICATE})

# Decoded on both sides of the clip, so that the resampler's edge effects lie outside it.
_MARGIN_SECONDS = 1.0


@dataclasses.dataclass(frozen=True)
class Examined:
    """What ingest knows of a file after reading it once.

    Attributes:
      path: Relative to the genre folders' parent, as `blues/blues.00000.wav`.
      track_id: The track's id, as `blues.00000`.
      genre: Its genre, "" for an unknown folder.
      fault: Why it cannot be used, or "".
      detail: A sentence on the fault.
      content: Hash of the clips' PCM: equal for exact duplicates.
      duration_seconds: Length of the whole sound, in seconds.
      source_sample_rate_hz: The file's own rate, in hertz.
      peak: Largest magnitude, 0 to 1 (see `components.audio.levels.Levels`).
      rms_db: Root mean square, in dBFS.
      silent_fraction: Share of silent blocks, 0 to 1.
      clipped_fraction: Share of samples at full scale, 0 to 1.
      bandwidth_hz: The highest frequency at which the file's sound still has power, in hertz.
      audio_bytes: Size of the PCM in its record, in bytes.
      fingerprint: `components.audio.fingerprints.Fingerprint` of the clips as bytes; only the
        search for near-duplicates keeps it.
      label: What its split depends on: its split on the published lists, its artist, or "".
      split: The split that it is assigned to; "" before, and for a file that is left out.
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
    bandwidth_hz: float = 0.0
    audio_bytes: int = 0
    fingerprint: bytes = b""
    label: str = ""
    split: str = ""

    def left_out(self, reason: str, detail: str) -> "Examined":
        """The track with the reason why it is not used."""
        return dataclasses.replace(self, fault=reason, detail=detail)


def examine_file(
    file: DataFile, *, folder: str, genres: tuple[str, ...], audio: AudioSettings
) -> Examined:
    """Reads and examines a file in `folder`, the genre folders' parent, whatever it is."""
    track = identify(file.path, genres)
    if file.problem:
        return track.left_out(UNREADABLE, file.problem)
    if track.fault:
        return track
    try:
        data = files.read(f"{folder}/{file.path}")
    # One broken file must not stop the run, and each file system raises errors of its own.
    except Exception as error:
        return track.left_out(UNREADABLE, reason(error))
    return examine(track, data, audio)


def reason(error: Exception) -> str:
    """Why a file system could not open or read a file."""
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def identify(path: str, genres: tuple[str, ...]) -> Examined:
    """Derives genre and track id from a file's path, relative to the genre folders' parent."""
    if not layout.is_text(path):
        path = layout.printable(path)
        return Examined(path, path, "", NOT_UTF8, "rename it, with letters that are UTF-8")
    folder, _, below = path.partition("/") if "/" in path else ("", "", path)
    genre = layout.genre_of_folder(folder, genres)
    if genre is None:
        detail = f"{folder} is none of the genres" if folder else "in no genre's folder"
        return Examined(path, layout.track_id(folder, below), "", UNKNOWN_GENRE, detail)
    return Examined(path, layout.track_id(genre, below), genre)


def examine(track: Examined, data: bytes, audio: AudioSettings) -> Examined:
    """Measures a file, given its bytes, and checks it against the limits.

    Returns:
      The result of `identify` with its measurements, or with its fault.
    """
    spectrum = LongTermSpectrum()
    try:
        sound, pcm = clip(track, data, audio, spectrum)
    except codec.AudioError as error:
        return track.left_out(error.kind, str(error).removeprefix(track.path).strip())
    samples = codec.from_pcm16(pcm)
    measured = levels.measure(samples)
    track = dataclasses.replace(
        track,
        content=content_hash(pcm),
        duration_seconds=sound.duration_seconds,
        source_sample_rate_hz=sound.source_sample_rate_hz,
        audio_bytes=len(pcm),
        bandwidth_hz=spectrum.bandwidth_hz(),
        **dataclasses.asdict(measured),
    )
    fault, detail = judge(track, TrackLimits.of(audio))
    if fault:
        return track.left_out(fault, detail)
    if loudness.is_silent(samples, audio):
        return track.left_out(SILENT, f"no clip of it reaches {loudness.SILENCE_LUFS:g} LUFS")
    of_sound = fingerprints.fingerprint(samples, audio.sample_rate_hz)
    return dataclasses.replace(track, fingerprint=of_sound.to_bytes())


def judge(track: Examined, limits: TrackLimits) -> tuple[str, str]:
    """Compares a track's measurements with the limits, which the schema states too.

    Args:
      track: The measured track.
      limits: Limits of a usable track.

    Returns:
      The first fault and its detail; two empty strings if there is none.
    """
    seconds, rate = track.duration_seconds, track.source_sample_rate_hz
    if seconds < limits.min_seconds:
        return TOO_SHORT, f"{seconds:.2f} s, a window is {limits.min_seconds:g} s"
    if seconds > limits.max_seconds:
        return TOO_LONG, f"{seconds:.0f} s, at most {limits.max_seconds:g} s"
    if not limits.min_rate_hz <= rate <= limits.max_rate_hz:
        return BAD_RATE, f"{rate} Hz, from {limits.min_rate_hz} to {limits.max_rate_hz} Hz"
    if track.silent_fraction == 1.0:
        return SILENT, (
            f"the RMS of every {levels.BLOCK_SAMPLES} samples is under {levels.SILENCE_DB:g} dBFS; "
            f"the highest sample is at {_decibels(track.peak)}"
        )
    if track.silent_fraction > limits.max_silent_fraction:
        return MOSTLY_SILENT, (
            f"{track.silent_fraction:.1%} of its blocks are under {levels.SILENCE_DB:g} dBFS, "
            f"at most {limits.max_silent_fraction:.0%} may be"
        )
    if track.peak < limits.min_peak:
        return TOO_QUIET, (
            f"the highest sample is at {_decibels(track.peak)}, "
            f"at least {_decibels(limits.min_peak)} is needed"
        )
    if track.rms_db < limits.min_rms_db:
        return TOO_QUIET, (
            f"its RMS is {track.rms_db:.1f} dBFS, at least {limits.min_rms_db:g} dBFS is needed"
        )
    if track.clipped_fraction > limits.max_clipped_fraction:
        return CLIPPED, (
            f"{track.clipped_fraction:.1%} of its samples are at full scale, "
            f"at most {limits.max_clipped_fraction:.0%} may be"
        )
    return "", ""


def _decibels(peak: float) -> str:
    return f"{20 * math.log10(peak):.1f} dBFS" if peak else "digital zero"


def to_example(track: Examined, data: bytes, audio: AudioSettings) -> bytes:
    """Makes an examined track's record, a serialized raw example (`schemas/gtzan.pbtxt`).

    Raises:
      IngestError: The file has changed since it was examined.
    """
    try:
        _, pcm = clip(track, data, audio)
    except codec.AudioError as error:
        raise files.changed(track.path, str(error)) from error
    if content_hash(pcm) != track.content:
        raise files.changed(track.path, "it holds other sound")
    return raw_examples.serialise(
        {
            "track_id": track.track_id,
            "genre": track.genre,
            "audio": pcm,
            "duration_seconds": track.duration_seconds,
            "source_sample_rate_hz": track.source_sample_rate_hz,
            "peak": track.peak,
            "rms_db": track.rms_db,
            "silent_fraction": track.silent_fraction,
            "clipped_fraction": track.clipped_fraction,
            "bandwidth_hz": track.bandwidth_hz,
            "content_hash": track.content,
        }
    )


def clip(
    track: Examined, data: bytes, audio: AudioSettings, spectrum: LongTermSpectrum | None = None
) -> tuple[codec.DecodedAudio, bytes]:
    """Decodes a file and takes its clips.

    A sound no longer than a clip is taken as it is. Of a longer one the middle is taken, or up to
    `audio.clips_per_track` clips, spread evenly over it (over its middle half hour at most).

    Args:
      track: The result of `identify`.
      data: The file's bytes.
      audio: Rate and length of a clip.
      spectrum: If given, gathers the spectrum of what is decoded.

    Returns:
      The decoded sound, and its clips end to end as little-endian 16-bit PCM.

    Raises:
      AudioError: The file is not audio, or not usable audio.
    """
    middle_seconds = audio.clip_seconds + 2 * _MARGIN_SECONDS
    sound = codec.decode(
        data,
        name=track.path,
        sample_rate_hz=audio.sample_rate_hz,
        middle_seconds=middle_seconds if audio.clips_per_track == 1 else codec.MAXIMUM_SECONDS,
        observe=spectrum.add if spectrum else None,
    )
    clips = codec.take_clips(sound.samples, audio.clip_samples, audio.clips_per_track)
    return sound, codec.to_pcm16(clips)


def content_hash(pcm: bytes) -> str:
    """Hashes the PCM of a track's clips."""
    return hashlib.blake2b(pcm, digest_size=16).hexdigest()
