"""mfcc: mel-frequency cepstral coefficients, the cosine transform of log_mel.

>>> from components.audio.settings import AudioSettings
>>> ENTRY.describe(AudioSettings()).clip_shape  # frames and columns of a clip of 30 s
(1292, 20)
"""

from components.audio.feature_entry import FeatureEntry

ENTRY = FeatureEntry(
    name="mfcc",
    compute=lambda sound: sound.cepstrum,
    hop_samples=lambda settings: settings.hop_length,
    bins=lambda settings: settings.mfcc_coefficients,
    window_frames=lambda settings: settings.window_frames,
)
