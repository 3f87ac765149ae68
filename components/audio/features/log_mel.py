"""log_mel: a mel power spectrogram in decibels, cut off below the sound's loudest bin.

>>> from components.audio.settings import AudioSettings
>>> ENTRY.describe(AudioSettings()).clip_shape  # frames and columns of a clip of 30 s
(1292, 128)
"""

from components.audio.feature_entry import FeatureEntry

ENTRY = FeatureEntry(
    name="log_mel",
    compute=lambda sound: sound.level_db,
    hop_samples=lambda settings: settings.hop_length,
    bins=lambda settings: settings.mel_bins,
    window_frames=lambda settings: settings.window_frames,
    highest_mel_hz=lambda settings: settings.sample_rate_hz / 2,
)
