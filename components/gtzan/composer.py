"""Composes one track of the synthetic sample: a band, a form, and what each player plays.

Nothing here is sampled or learned. It is a demonstration and a test bed: what a model scores on it
says that the pipeline works, not how good the model is on music.
"""

import numpy as np

from components.gtzan import instruments, styles
from components.gtzan.genres import GENRES
from components.gtzan.instruments import RATE_HZ, Sound

COMPOSER_VERSION = 1  # raise it when a change alters the sound

_STEPS = 16  # in a bar
_VELOCITY = {"x": 1.0, "o": 0.45}


def compose_track(genre: str, index: int, seed: int) -> Sound:
    """Composes a track; equal arguments give equal samples.

    Args:
      genre: One of the genres.
      index: Number of the track in its genre.
      seed: Seed of the whole sample.

    Returns:
      float32 [n] in [-1, 1] at 22 050 Hz, 30.0 to 30.6 s long as GTZAN's tracks are.

    Raises:
      ValueError: There is no such genre.
    """
    if genre not in GENRES:
        raise ValueError(f"unknown genre: expected one of {GENRES}. Received: {genre!r}")
    rng = np.random.default_rng([seed, GENRES.index(genre), index])
    return _Track(styles.STYLES[genre], rng).render()


class _Track:
    """One track: the values drawn for it, and its players."""

    def __init__(self, style: styles.Style, rng: np.random.Generator):
        self.style, self.rng = style, rng
        self.samples = int(rng.uniform(30.0, 30.6) * RATE_HZ)
        self.step_seconds = 60.0 / rng.uniform(*style.tempo_bpm) / 4
        self.swing = rng.uniform(*style.swing)
        self.key = int(rng.integers(-5, 7))
        self.chords = [
            (int(token[:-3]), styles.SHAPES[token[-3:]])
            for token in self._pick(style.progressions).split()
        ]
        self.bars = int(self.samples / RATE_HZ / (self.step_seconds * _STEPS)) + 1
        self.sounds: dict[tuple[str, int, int], Sound] = {}
        # Tracks start anywhere in a song, and not all parts play all the time.
        self.first_bar = int(rng.integers(0, len(self.chords)))
        self.form = {
            part: rng.random(self.bars // 4 + 1) < chance
            for part, chance in (("drums", 0.93), ("chords", 0.9), ("bass", 0.95), ("lead", 0.65))
        }

    def render(self) -> Sound:
        style, rng = self.style, self.rng
        dry, band = self._bus(), self._bus()
        self._play_drums(dry, rng.uniform(*style.drums))
        self._play_bass(dry, rng.uniform(0.55, 0.95))
        self._play_chords(band, rng.uniform(0.35, 0.75))
        self._play_lead(band, rng.uniform(0.4, 0.9))
        mix = dry + instruments.driven(band, rng.uniform(*style.drive))
        mix = instruments.mastered(
            mix[: self.samples],
            room=rng.uniform(*style.room),
            tilt_db=rng.uniform(*style.tilt_db),
            rng=rng,
        )
        time = np.arange(self.samples) / self.samples
        swell = rng.uniform(*style.swell_db) / 2
        cycles, phase = rng.uniform(0.4, 1.6), rng.random()
        mix *= 10 ** (swell * np.sin(2 * np.pi * (cycles * time + phase)) / 20)
        mix += rng.normal(size=self.samples) * 10 ** (rng.uniform(-72, -52) / 20)
        loudness = 10 ** (rng.uniform(-22, -11) / 20)
        mix *= loudness / np.sqrt(np.mean(np.square(mix)))
        return np.tanh(mix).astype(np.float32)

    def _pick(self, choices: tuple[str, ...]) -> str:
        return choices[int(self.rng.integers(len(choices)))]

    def _bus(self) -> Sound:
        return np.zeros(self.samples + 4 * RATE_HZ, np.float32)

    def _plays(self, part: str, bar: int) -> bool:
        return bool(self.form[part][bar // 4])

    def _start(self, bar: int, step: int) -> int:
        """Sample at which a step starts, with swing and a few milliseconds of human timing."""
        grid = self.style.swing_steps
        late = self.swing * grid if (step // grid) % 2 else 0.0
        seconds = (bar * _STEPS + step + late) * self.step_seconds + self.rng.normal() * 0.004
        return max(0, int(seconds * RATE_HZ))

    def _add(self, bus: Sound, start: int, sound: Sound, level: float) -> None:
        """Mixes a sound in, cut off where the bus ends."""
        end = min(len(bus), start + len(sound))
        if start < end:
            bus[start:end] += level * self.rng.uniform(0.8, 1.1) * sound[: end - start]

    def _note(self, name: str, midi: int, steps: int) -> Sound:
        """Renders a note, or takes it from the track's cache."""
        key = (name, midi, steps)
        if key not in self.sounds:
            self.sounds[key] = instruments.note(
                instruments.INSTRUMENTS[name], midi, steps * self.step_seconds, rng=self.rng
            )
        return self.sounds[key]

    def _chord(self, bar: int) -> tuple[int, tuple[int, ...]]:
        return self.chords[(bar + self.first_bar) % len(self.chords)]

    def _play_drums(self, bus: Sound, level: float) -> None:
        style, rng = self.style, self.rng
        kit = (
            (self._pick(style.kick), instruments.kick(rng=rng), 1.0),
            (self._pick(style.snare), instruments.snare(rng=rng), 0.8),
            (
                self._pick(style.cymbal),
                instruments.cymbal(ride=style.ride, rng=rng),
                rng.uniform(0.4, 1.0),
            ),
        )
        if level <= 0:
            return
        for bar in range(self.bars):
            if not self._plays("drums", bar):
                continue
            fill = bar % 8 == 7 and rng.random() < 0.6
            for number, (rhythm, sound, share) in enumerate(kit):
                for step, mark in enumerate(rhythm):
                    if fill and number == 1 and step >= 12 and rng.random() < 0.7:
                        mark = "x"
                    if mark in _VELOCITY:
                        gain = level * share * _VELOCITY[mark]
                        self._add(bus, self._start(bar, step), sound, gain)

    def _play_bass(self, bus: Sound, level: float) -> None:
        style, rng = self.style, self.rng
        name, rhythm = self._pick(style.bass), self._pick(style.bass_rhythm)
        motion = self._pick(style.bass_motion)
        riff = rng.choice([0, 0, 7, 10, 12, -2, 3], size=_STEPS)
        for bar in range(self.bars):
            if not self._plays("bass", bar):
                continue
            root, shape = self._chord(bar)
            hits = [step for step, mark in enumerate(rhythm) if mark in _VELOCITY]
            for number, step in enumerate(hits):
                offset = 0
                if motion == "fifth":
                    offset = 7 if number % 2 else 0
                elif motion == "octave":
                    offset = 12 if number % 2 else 0
                elif motion == "riff" and number:
                    offset = int(riff[step])
                elif motion == "walk" and number:
                    offset = int(rng.choice([*shape, shape[-1] - 12, shape[1] + 1]))
                until = hits[number + 1] if number + 1 < len(hits) else _STEPS
                sound = self._note(name, 36 + self.key % 12 + root % 12 + offset, until - step)
                self._add(bus, self._start(bar, step), sound, level * _VELOCITY[rhythm[step]])

    def _play_chords(self, bus: Sound, level: float) -> None:
        style, rng = self.style, self.rng
        name, rhythm = self._pick(style.chords), self._pick(style.comp)
        broken = rhythm.count("o") > 5  # many soft notes are an arpeggio, not a chord each
        hold = rng.uniform(0.4, 1.0)
        for bar in range(self.bars):
            if not self._plays("chords", bar):
                continue
            root, shape = self._chord(bar)
            base = (40 if name == "fuzz" else 52) + self.key + root % 12
            hits = [step for step, mark in enumerate(rhythm) if mark in _VELOCITY]
            for number, step in enumerate(hits):
                until = hits[number + 1] if number + 1 < len(hits) else _STEPS
                steps = max(1, round((until - step) * hold))
                pitches = [shape[number % len(shape)]] if broken else shape
                gain = level * _VELOCITY[rhythm[step]] / len(pitches) ** 0.6
                start = self._start(bar, step)
                for pitch in pitches:
                    self._add(bus, start, self._note(name, base + pitch, steps), gain)

    def _play_lead(self, bus: Sound, level: float) -> None:
        style, rng = self.style, self.rng
        name = self._pick(style.lead)
        scale = styles.SCALES[self._pick(style.scales)]
        density = rng.uniform(*style.lead_density)
        # Two motifs of two bars each, repeated with small changes, make it a melody.
        motifs = [self._motif(density, len(scale)) for _ in range(2)]
        for bar in range(0, self.bars, 2):
            if not self._plays("lead", bar):
                continue
            for step, steps, degree in motifs[(bar // 4) % 2]:
                degree += int(rng.choice([0, 0, 0, 0, 1, -1]))
                octave, position = divmod(degree, len(scale))
                midi = 64 + self.key + 12 * octave + scale[position]
                start = self._start(bar + step // _STEPS, step % _STEPS)
                sound = self._note(name, midi, steps)
                self._add(bus, start, sound, level * rng.uniform(0.6, 1.0))

    def _motif(self, density: float, scale_length: int) -> list[tuple[int, int, int]]:
        """Draws (step, length in steps, degree of the scale) over two bars."""
        degree = int(self.rng.integers(0, scale_length))
        motif, step = [], int(self.rng.integers(0, 4))
        while step < 2 * _STEPS:
            steps = int(self.rng.choice([1, 2, 2, 3, 4, 6]))
            if self.rng.random() < density * 1.6:
                motif.append((step, steps, degree))
                degree = int(np.clip(degree + self.rng.integers(-3, 4), -4, 10))
            step += steps
        return motif
