"""What the composer of the synthetic sample draws from: chords, scales and ten styles of music.

A rhythm is a bar of sixteen steps: `x` accented, `o` soft, `.` a rest. A progression is one chord a
bar, each a root in semitones above the key note and the name of a shape.
"""

from pathlib import Path

import yaml
from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

SHAPES = {
    "maj": (0, 4, 7),
    "min": (0, 3, 7),
    "sus": (0, 5, 7),
    "pow": (0, 7, 12),
    "dom": (0, 4, 7, 10),
    "ma7": (0, 4, 7, 11),
    "mi7": (0, 3, 7, 10),
    "mi9": (0, 3, 10, 14),
    "do9": (0, 4, 10, 14),
    "hdi": (0, 3, 6, 10),
    "dim": (0, 3, 6),
}

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic": (0, 2, 3, 5, 7, 8, 11),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "blues": (0, 3, 5, 6, 7, 10),
    "pentatonic": (0, 2, 4, 7, 9),
}

Range = tuple[float, float]


@dataclass(frozen=True)
class Style:
    """What tracks of one genre have in common; each track draws its own values.

    Attributes:
      tempo_bpm: Range of quarter notes a minute.
      swing: Range of the off-beats' delay, as a part of their grid: 0 straight, 1/3 triplets.
      swing_steps: Grid that swings: 2 for eighths, 1 for sixteenths.
      kick: Rhythms to choose from; so are `snare`, `cymbal`, `comp` and `bass_rhythm`.
      snare: Rhythms.
      cymbal: Rhythms of the hi-hat or ride.
      ride: Whether the cymbal is a ride.
      progressions: Chords by bar.
      scales: Scales of the melody.
      comp: Rhythms of the chords.
      bass_rhythm: Rhythms of the bass.
      bass_motion: How the bass moves: root, fifth, octave, walk or riff.
      chords: Instruments of the chords; so are `bass` and `lead`.
      bass: Instruments.
      lead: Instruments.
      lead_density: Range of the part of steps on which the melody sounds.
      drive: Range of distortion, 0 clean.
      room: Range of the reverberation's part.
      drums: Range of the drums' level, 0 none.
      swell_db: Range of how far loudness rises and falls over a track, in dB.
      tilt_db: Range of the master's brightness, in dB an octave above 1 kHz.
    """

    tempo_bpm: Range
    kick: tuple[str, ...]
    snare: tuple[str, ...]
    cymbal: tuple[str, ...]
    progressions: tuple[str, ...]
    scales: tuple[str, ...]
    comp: tuple[str, ...]
    bass_rhythm: tuple[str, ...]
    bass_motion: tuple[str, ...]
    chords: tuple[str, ...]
    bass: tuple[str, ...]
    lead: tuple[str, ...]
    swing: Range = (0.0, 0.04)
    swing_steps: int = 2
    ride: bool = False
    lead_density: Range = (0.2, 0.45)
    drive: Range = (0.0, 0.3)
    room: Range = (0.08, 0.25)
    drums: Range = (0.6, 1.0)
    swell_db: Range = (1.0, 4.0)
    tilt_db: Range = (-3.0, 0.5)


STYLES = TypeAdapter(dict[str, Style]).validate_python(
    yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())
)
