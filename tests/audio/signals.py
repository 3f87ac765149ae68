"""Sounds whose features are known, and librosa's answers in our framing."""

import librosa
import numpy as np

from components.audio import loudness
from components.audio.settings import AudioSettings


def tone(frequency_hz: float, settings: AudioSettings) -> np.ndarray:
    """A sine of a clip's length, float32 [clip_samples]."""
    time = np.arange(settings.clip_samples) / settings.sample_rate_hz
    return (0.5 * np.sin(2 * np.pi * frequency_hz * time)).astype(np.float32)


def levelled(sound: np.ndarray, settings: AudioSettings) -> np.ndarray:
    """A sound at the loudness of the settings, which features leave as it is: float32 [samples]."""
    gain_db = settings.loudness_lufs - loudness.lufs(sound, settings)
    return (sound * 10 ** (gain_db / 20)).astype(np.float32)


def clicks(beats_per_minute: float, settings: AudioSettings, *, seconds: float = 30) -> np.ndarray:
    """Decaying noise bursts at an even tempo, float32 [samples]."""
    generator = np.random.default_rng(5)
    burst = generator.normal(size=2000) * np.exp(-np.arange(2000) / 300)
    samples = int(seconds * settings.sample_rate_hz)
    sound = np.zeros(samples + len(burst))
    step = 60 * settings.sample_rate_hz / beats_per_minute
    for start in np.arange(0, samples, step).astype(int):
        sound[start : start + len(burst)] += 0.2 * burst
    return sound[:samples].astype(np.float32)


def noise(settings: AudioSettings, *, samples: int | None = None) -> np.ndarray:
    """White noise, float32 [samples]."""
    size = samples or settings.clip_samples
    return np.random.default_rng(7).normal(scale=0.1, size=size).astype(np.float32)


def edge_signals(settings: AudioSettings) -> dict[str, np.ndarray]:
    """What breaks logarithms and divisions, float32 [clip_samples] each."""
    samples = np.arange(settings.clip_samples)
    click = np.zeros(settings.clip_samples, np.float32)
    click[settings.clip_samples // 2] = 1.0
    return {
        "silence": np.zeros(settings.clip_samples, np.float32),
        "full-scale square wave": np.where(samples // 50 % 2, 1.0, -1.0).astype(np.float32),
        "one-sample click": click,
        "constant": np.ones(settings.clip_samples, np.float32),
        "one quantum": np.where(samples % 2, 1 / 32_768, 0.0).astype(np.float32),
    }


def librosa_magnitudes(sound: np.ndarray, settings: AudioSettings) -> np.ndarray:
    """Magnitudes of librosa's spectrum of the end-padded sound, [bins, frames]."""
    padded = np.pad(sound, (0, settings.fft_length))
    spectrum = librosa.stft(
        padded, n_fft=settings.fft_length, hop_length=settings.hop_length, center=False
    )
    return np.abs(spectrum)[:, : settings.frames_in(len(sound))]


def librosa_frames(sound: np.ndarray, settings: AudioSettings) -> dict[str, np.ndarray]:
    """librosa's quantities of each frame, [frames, …] each, named as ours (numbers left off)."""
    rate = settings.sample_rate_hz
    magnitude = librosa_magnitudes(sound, settings)
    frames = magnitude.shape[1]
    padded = np.pad(sound, (0, settings.fft_length))
    level_db = librosa.power_to_db(librosa.feature.melspectrogram(S=magnitude**2, sr=rate))
    chroma = librosa.feature.chroma_stft(S=magnitude**2, sr=rate, tuning=0.0)
    values = {
        "chroma": chroma,
        "rms": librosa.feature.rms(y=padded, center=False)[:, :frames],
        "spectral_centroid": librosa.feature.spectral_centroid(S=magnitude, sr=rate),
        "spectral_bandwidth": librosa.feature.spectral_bandwidth(S=magnitude, sr=rate),
        "rolloff": librosa.feature.spectral_rolloff(S=magnitude, sr=rate),
        "zero_crossing_rate": librosa.feature.zero_crossing_rate(padded, center=False)[:, :frames],
        "mfcc": librosa.feature.mfcc(S=level_db, n_mfcc=settings.mfcc_coefficients),
        "contrast": librosa.feature.spectral_contrast(S=magnitude, sr=rate),
        "tonnetz": librosa.feature.tonnetz(chroma=chroma, sr=rate),
        "onset_strength": librosa.onset.onset_strength(S=level_db, sr=rate, center=False)[None],
    }
    return {name: value.T for name, value in values.items()}
