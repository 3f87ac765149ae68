"""The sounds of the synthetic sample: notes by wavetable, drums by noise and sine, a room, a drive.

Everything is numpy on one track at a time. A note reads two single-cycle tables, a bright and a
dull one, and fades from the first to the second as strings and pipes do; a table look-up costs a
tenth of summing the harmonics for each note.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

RATE_HZ = 22_050

_TABLE = 2048

Sound = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Instrument:
    """How a pitched instrument sounds.

    Attributes:
      slope: Harmonic n has the amplitude n ** -slope.
      odd: Amplitude of the even harmonics: 1 all alike, 0 only odd ones (hollow, as a clarinet).
      attack_seconds: Time to full level.
      decay_seconds: Time constant of the level's fall.
      sustain: Level, 0 to 1, that it falls to while the note is held.
      release_seconds: Time constant after the note's end.
      darkening_seconds: Time constant of the fade from bright to dull.
      vibrato: Depth in semitones.
      detune: Difference in semitones between its two voices; 0 is one voice.
      level: Loudness in the mix.
      octave: Octaves by which it is moved.
    """

    slope: float
    odd: float = 1.0
    attack_seconds: float = 0.005
    decay_seconds: float = 0.5
    sustain: float = 0.0
    release_seconds: float = 0.06
    darkening_seconds: float = 0.3
    vibrato: float = 0.0
    detune: float = 0.0
    level: float = 1.0
    octave: int = 0


INSTRUMENTS = {
    "piano": Instrument(1.5, decay_seconds=0.9, darkening_seconds=0.25, detune=0.02),
    "epiano": Instrument(2.2, odd=0.35, decay_seconds=1.1, darkening_seconds=0.4, vibrato=0.04),
    "guitar": Instrument(1.2, decay_seconds=0.6, darkening_seconds=0.15),
    "banjo": Instrument(0.9, decay_seconds=0.18, darkening_seconds=0.08, level=0.9),
    "fuzz": Instrument(0.8, decay_seconds=1.5, sustain=0.6, darkening_seconds=1.5, detune=0.06),
    "organ": Instrument(1.4, odd=0.6, attack_seconds=0.01, sustain=0.9, vibrato=0.08, level=0.7),
    "strings": Instrument(
        1.2, attack_seconds=0.09, sustain=0.85, release_seconds=0.2, vibrato=0.12, detune=0.12
    ),
    "cello": Instrument(1.3, attack_seconds=0.06, sustain=0.8, release_seconds=0.2, vibrato=0.1),
    "fiddle": Instrument(0.95, attack_seconds=0.04, sustain=0.8, vibrato=0.2, level=0.7),
    "flute": Instrument(2.6, attack_seconds=0.05, sustain=0.8, vibrato=0.15, octave=1, level=0.8),
    "brass": Instrument(1.1, attack_seconds=0.03, sustain=0.75, vibrato=0.1, level=0.8),
    "harmonica": Instrument(0.8, odd=0.5, attack_seconds=0.03, sustain=0.8, vibrato=0.2, level=0.6),
    "synth": Instrument(1.0, attack_seconds=0.02, sustain=0.7, detune=0.18, level=0.7),
    "upright": Instrument(2.0, decay_seconds=0.4, darkening_seconds=0.1, level=1.3),
    "electric": Instrument(1.5, decay_seconds=0.7, sustain=0.2, darkening_seconds=0.2, level=1.2),
    "synthbass": Instrument(1.0, decay_seconds=0.3, sustain=0.35, darkening_seconds=0.15),
    "sub": Instrument(3.5, decay_seconds=1.2, sustain=0.4, darkening_seconds=0.3, level=1.5),
}


def note(instrument: Instrument, midi: float, seconds: float, *, rng: np.random.Generator) -> Sound:
    """Renders one note.

    Args:
      instrument: What plays it.
      midi: Pitch as a MIDI number: 69 is 440 Hz, 12 an octave.
      seconds: How long the note is held, in seconds.
      rng: Draws the phases.

    Returns:
      float32 [n], with the release after the note's end.
    """
    hertz = 440.0 * 2.0 ** ((midi + 12 * instrument.octave - 69) / 12)
    time = np.arange(int((seconds + 3 * instrument.release_seconds) * RATE_HZ)) / RATE_HZ
    bright = _table(instrument.slope, instrument.odd, hertz)
    dull = _table(instrument.slope + 1.2, instrument.odd, hertz)
    fade = np.exp(-time / instrument.darkening_seconds)
    wobble = instrument.vibrato / 12 * np.log(2) * hertz / (2 * np.pi * 5.5)
    sound = np.zeros(len(time))
    for cents in {-instrument.detune / 2, instrument.detune / 2}:
        phase = hertz * 2.0 ** (cents / 12) * time + rng.random()
        if wobble:
            phase = phase + wobble * np.sin(2 * np.pi * 5.5 * time) * np.minimum(1.0, time / 0.3)
        index = (phase * _TABLE).astype(np.int64) & (_TABLE - 1)
        sound += dull[index] + fade * (bright[index] - dull[index])
    held = instrument.sustain + (1 - instrument.sustain) * np.exp(-time / instrument.decay_seconds)
    envelope = np.minimum(1.0, time / instrument.attack_seconds) * held
    envelope *= np.exp(-np.maximum(0.0, time - seconds) / instrument.release_seconds)
    return (0.2 * instrument.level * envelope * sound).astype(np.float32)


def kick(*, rng: np.random.Generator) -> Sound:
    """Renders a bass drum: a sine that falls in pitch, and a click."""
    time = np.arange(int(0.35 * RATE_HZ)) / RATE_HZ
    end_hz, sweep_hz = rng.uniform(42, 62), rng.uniform(60, 180)
    phase = end_hz * time + sweep_hz * 0.03 * (1 - np.exp(-time / 0.03))
    body = np.sin(2 * np.pi * phase) * np.exp(-time / rng.uniform(0.07, 0.18))
    click = rng.normal(size=len(time)) * np.exp(-time / 0.003) * rng.uniform(0.05, 0.4)
    return (0.9 * (body + click)).astype(np.float32)


def snare(*, rng: np.random.Generator) -> Sound:
    """Renders a snare drum: noise over a short tone."""
    time = np.arange(int(0.3 * RATE_HZ)) / RATE_HZ
    noise = rng.normal(size=len(time)) * np.exp(-time / rng.uniform(0.05, 0.13))
    tone = np.sin(2 * np.pi * rng.uniform(150, 240) * time) * np.exp(-time / 0.06)
    return (0.28 * noise + 0.4 * tone).astype(np.float32)


def cymbal(*, ride: bool, rng: np.random.Generator) -> Sound:
    """Renders a closed hi-hat, or a ride: high noise, for the ride with partials that ring."""
    time = np.arange(int((0.5 if ride else 0.15) * RATE_HZ)) / RATE_HZ
    noise = np.diff(np.diff(rng.normal(size=len(time) + 2)))
    sound = 0.09 * noise * np.exp(-time / (0.05 if ride else rng.uniform(0.02, 0.06)))
    if ride:
        for hertz in rng.uniform(2500, 8500, size=5):
            sound = sound + 0.035 * np.sin(2 * np.pi * hertz * time) * np.exp(-time / 0.2)
    return sound.astype(np.float32)


def driven(sound: Sound, amount: float) -> Sound:
    """Distorts as an amplifier does, at about the same loudness: tanh, 0 leaves it as it is."""
    if amount <= 0:
        return sound
    level = float(np.sqrt(np.mean(np.square(sound)))) + 1e-9
    bent = np.tanh(sound / level * (0.3 + amount))
    return (bent * (level / (float(np.sqrt(np.mean(np.square(bent)))) + 1e-9))).astype(np.float32)


def mastered(sound: Sound, *, room: float, tilt_db: float, rng: np.random.Generator) -> Sound:
    """Adds a room and tilts the spectrum, both in one pass through the frequency domain.

    Args:
      sound: float32 [n].
      room: Part of the reverberation.
      tilt_db: Gain in dB an octave above 1 kHz.
      rng: Draws the room.
    """
    # Tens of thousands have small factors, so the transform is quick, and are closer than the next
    # power of two.
    size = -(-(len(sound) + RATE_HZ) // 10_000) * 10_000
    time = np.arange(RATE_HZ) / RATE_HZ
    tail = rng.normal(size=RATE_HZ) * np.exp(-time / rng.uniform(0.1, 0.3))
    tail *= room / np.sqrt(np.sum(np.square(tail)))
    tail[0] += 1.0
    octaves = np.log2(np.maximum(np.fft.rfftfreq(size, 1 / RATE_HZ), 1000.0) / 1000.0)
    response = np.fft.rfft(tail, size) * 10 ** (tilt_db * octaves / 20)
    return np.fft.irfft(np.fft.rfft(sound, size) * response, size)[: len(sound)].astype(np.float32)


def _table(slope: float, even: float, hertz: float) -> npt.NDArray[np.float64]:
    """Makes one cycle with the harmonics below the Nyquist frequency, of unit loudness."""
    harmonic = np.arange(1, max(2, min(40, int(RATE_HZ / 2 / hertz))))
    amplitude = harmonic**-slope * np.where(harmonic % 2 == 0, even, 1.0)
    spectrum = np.zeros(_TABLE // 2 + 1, np.complex128)
    # Phases spread as the square of the number keep the wave from being one sharp peak.
    spectrum[harmonic] = amplitude * np.exp(1j * np.pi * harmonic**2 / len(harmonic))
    wave = np.fft.irfft(spectrum)
    return wave / np.sqrt(np.mean(np.square(wave)))
