"""The names of all features, in the order in which they are listed: one line a feature.

Whoever computes a feature finds it by name (`components.audio.features`) and does not read this
list, so that adding a feature leaves what was computed of the others in the cache.
"""

FEATURE_NAMES = (
    "log_mel",
    "mfcc",
    "descriptors",
    "music_mel",
    "waveform",
)
