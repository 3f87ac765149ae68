"""Analysis settings: sample rate, and lengths of clips, frames and windows."""

import dataclasses
import math
from typing import Any

MOST_CLIPS_PER_TRACK = 20  # ten minutes of sound

LOWEST_RATE_HZ = 8_000
HIGHEST_RATE_HZ = 192_000
RATE_RULE = f"a multiple of 50 Hz from {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz, or of 11025 Hz"

# A larger value is a typing error: it would take hours or all memory.
_MOST = {
    "sample_rate_hz": 192_000,
    "clip_seconds": 30,
    "fft_length": 16_384,
    "mel_bins": 512,
    "top_db": 200.0,
}


def is_usual(rate_hz: Any) -> Any:
    """Whether a rate in hertz, a number or a tensor, obeys `RATE_RULE`: releases resample it."""
    inside = (rate_hz >= LOWEST_RATE_HZ) & (rate_hz <= HIGHEST_RATE_HZ)
    return inside & ((rate_hz % 50 == 0) | (rate_hz % 11_025 == 0))


@dataclasses.dataclass(frozen=True)
class AudioSettings:
    """The analysis settings that ingest, training and serving share.

    Attributes:
      sample_rate_hz: Rate of every clip after ingest, in hertz.
      clip_seconds: Length of a clip, in seconds.
      fft_length: Samples in one analysis frame (and points of its FFT).
      hop_length: Samples between the starts of two frames.
      mel_bins: Bands of the mel spectrogram.
      mfcc_coefficients: Cepstral coefficients kept, the zeroth included.
      top_db: Decibels below a sound's loudest bin at which its spectrogram is cut off.
      window_seconds: Nominal length of a window, in seconds.
      loudness_lufs: Loudness that a clip is brought to before its features are computed, in LUFS.
      clips_per_track: Most clips that a track's record holds, 1 to `MOST_CLIPS_PER_TRACK`.

    Examples:
      >>> settings = AudioSettings()
      >>> settings.clip_samples, settings.frames_per_clip, settings.window_frames
      (661500, 1292, 128)
      >>> AudioSettings(mel_bins=0)
      Traceback (most recent call last):
      ValueError: mel_bins must be over 0. Received: 0
    """

    sample_rate_hz: int = 22_050
    clip_seconds: int = 30
    fft_length: int = 2048
    hop_length: int = 512
    mel_bins: int = 128
    mfcc_coefficients: int = 20
    top_db: float = 80.0
    window_seconds: float = 3.0
    loudness_lufs: float = -14.0
    clips_per_track: int = 1

    def __post_init__(self) -> None:
        """Checks that features can be computed with these settings.

        Raises:
          ValueError: A setting is out of range; the text names it and its range.
        """
        for name in ("top_db", "window_seconds", "loudness_lufs"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} must be a finite number. Received: {getattr(self, name)}")
        for name in ("sample_rate_hz", "clip_seconds", "hop_length", "mel_bins", "top_db"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be over 0. Received: {getattr(self, name)}")
        for name, most in _MOST.items():
            if getattr(self, name) > most:
                raise ValueError(
                    f"{name} must be at most {most:g}. Received: {getattr(self, name)}"
                )
        if self.hop_length > self.fft_length:
            raise ValueError(
                f"hop_length must be at most fft_length ({self.fft_length}), or sound between two "
                f"frames is not heard. Received: {self.hop_length}"
            )
        if not -60.0 <= self.loudness_lufs <= 0.0:
            raise ValueError(f"loudness_lufs must be from -60 to 0. Received: {self.loudness_lufs}")
        if not 1 <= self.clips_per_track <= MOST_CLIPS_PER_TRACK:
            raise ValueError(
                f"clips_per_track must be from 1 to {MOST_CLIPS_PER_TRACK}. "
                f"Received: {self.clips_per_track}"
            )
        if self.fft_length < 2 or self.fft_length % 2:
            raise ValueError(f"fft_length must be even, 2 or more. Received: {self.fft_length}")
        if not 1 <= self.mfcc_coefficients <= self.mel_bins:
            raise ValueError(
                "mfcc_coefficients must be from 1 to mel_bins. Received: mfcc_coefficients "
                f"{self.mfcc_coefficients}, mel_bins {self.mel_bins}"
            )
        if self.window_frames < 32 or self.window_seconds > self.clip_seconds:
            raise ValueError(
                "window_seconds must be at least 32 frames "
                f"({32 * self.hop_length / self.sample_rate_hz:.2f} s) and at most clip_seconds "
                f"({self.clip_seconds}). Received: {self.window_seconds:g}"
            )

    @property
    def clip_samples(self) -> int:
        """Samples in a clip (661 500)."""
        return self.sample_rate_hz * self.clip_seconds

    @property
    def frames_per_second(self) -> float:
        """Spectrogram frames a second (43.07)."""
        return self.sample_rate_hz / self.hop_length

    @property
    def frames_per_clip(self) -> int:
        """Spectrogram frames in a clip (1292): the end is padded to a whole frame."""
        return self.frames_in(self.clip_samples)

    @property
    def window_frames(self) -> int:
        """Spectrogram frames in a window (128): the largest multiple of 32 in `window_seconds`.

        A multiple of 32 survives five poolings by two without a remainder.
        """
        return int(self.window_seconds * self.frames_per_second) // 32 * 32

    @property
    def window_samples(self) -> int:
        """Samples from one window's start to the next one's (65 536 = 2.97 s)."""
        return self.window_frames * self.hop_length

    @property
    def minimum_samples(self) -> int:
        """Fewest samples that can be classified (66 150): one nominal window."""
        return int(self.window_seconds * self.sample_rate_hz)

    def frames_in(self, samples: int) -> int:
        """Spectrogram frames that `samples` samples give."""
        return -(-samples // self.hop_length)
