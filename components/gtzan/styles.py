"""Ten styles of music as tables: what the composer of the synthetic sample draws from.

The ranges of two styles overlap on purpose (tempo, level, brightness, instruments), so that no
single number tells them apart; rhythm, harmony and sound together do.

A rhythm is a bar of sixteen steps: `x` accented, `o` soft, `.` a rest. A progression is one chord a
bar, each a root in semitones above the key note and the name of a shape.
"""

import dataclasses

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


@dataclasses.dataclass(frozen=True)
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


STYLES = {
    "blues": Style(
        tempo_bpm=(68, 128),
        swing=(0.24, 0.36),
        kick=("x.......x.......", "x.....o.x.......", "x...x...x...x..."),
        snare=("....x.......x...", "....x.......x..o"),
        cymbal=("x.o.x.o.x.o.x.o.", "x..ox..ox..ox..o"),
        progressions=(
            "0dom 0dom 0dom 0dom 5dom 5dom 0dom 0dom 7dom 5dom 0dom 7dom",
            "0dom 5dom 0dom 0dom 5dom 5dom 0dom 0dom 7do9 5do9 0dom 7dom",
            "0mi7 0mi7 5mi7 0mi7 8dom 7dom 0mi7 7dom",
        ),
        scales=("blues",),
        comp=("x..ox..ox..ox..o", "x.....o...x.....", "..x...x...x...x."),
        bass_rhythm=("x.o.x.o.x.o.x.o.", "x...x...x...x..."),
        bass_motion=("walk", "riff"),
        chords=("piano", "guitar", "organ"),
        bass=("upright", "electric"),
        lead=("guitar", "harmonica", "piano"),
        lead_density=(0.25, 0.5),
        drive=(0.1, 0.7),
    ),
    "classical": Style(
        tempo_bpm=(58, 138),
        kick=("................",),
        snare=("................",),
        cymbal=("................",),
        progressions=(
            "0maj 5maj 7maj 0maj 9min 2min 7dom 0maj",
            "0min 7maj 0min 5min 8maj 3maj 7maj 0min",
            "0maj 7maj 9min 4min 5maj 0maj 5maj 7maj",
            "0min 5min 10maj 3maj 8maj 2dim 7maj 0min",
        ),
        scales=("major", "harmonic"),
        comp=("x.o.o.o.x.o.o.o.", "x.......x.......", "xooooooo" * 2, "x..............."),
        bass_rhythm=("x.......x.......", "x...............", "x...x...x...x..."),
        bass_motion=("root", "fifth"),
        chords=("strings", "piano", "flute"),
        bass=("cello", "piano"),
        lead=("strings", "flute", "piano"),
        lead_density=(0.25, 0.65),
        drive=(0.0, 0.02),
        room=(0.25, 0.5),
        drums=(0.0, 0.0),
        swell_db=(5.0, 14.0),
        tilt_db=(-5.0, -1.0),
    ),
    "country": Style(
        tempo_bpm=(84, 152),
        swing=(0.0, 0.14),
        kick=("x.......x.......", "x.......x.....o."),
        snare=("....x.......x...", "o.o.x.o.o.o.x.oo", "..o.x.o...o.x.o."),
        cymbal=("x.o.x.o.x.o.x.o.", "..x...x...x...x.", "................"),
        progressions=(
            "0maj 0maj 5maj 0maj 0maj 0maj 7maj 7dom 0maj 0maj 5maj 0maj 7maj 5maj 0maj 7dom",
            "0maj 5maj 0maj 7maj 0maj 5maj 7maj 0maj",
            "0maj 9min 5maj 7maj 0maj 7maj 5maj 0maj",
        ),
        scales=("pentatonic", "major"),
        comp=("....x.......x...", "..x...x...x...x.", "x.o.x.oox.o.x.oo"),
        bass_rhythm=("x.......x.......", "x...o...x...o..."),
        bass_motion=("fifth",),
        chords=("guitar", "banjo", "piano"),
        bass=("upright", "electric"),
        lead=("banjo", "fiddle", "guitar", "harmonica"),
        lead_density=(0.3, 0.6),
        drive=(0.0, 0.15),
        drums=(0.3, 0.8),
    ),
    "disco": Style(
        tempo_bpm=(106, 132),
        kick=("x...x...x...x...", "x...x...x...x.o."),
        snare=("....x.......x...", "....x..o....x..."),
        cymbal=("..x...x...x...x.", "o.x.o.x.o.x.o.x.", "ooxoooxoooxoooxo"),
        progressions=(
            "0mi7 5dom 0mi7 5dom 10maj 8maj 7mi7 7dom",
            "0mi9 0mi9 5mi7 5mi7",
            "9mi7 2mi7 7dom 0ma7 5ma7 2mi7 4dom 9mi7",
        ),
        scales=("dorian", "minor", "pentatonic"),
        comp=("..x..x..x..x..x.", "x..x..x...x.x...", "..xx..x...xx..x."),
        bass_rhythm=("x.o.x.o.x.o.x.o.", "x..x..x.x..x..x.", "..xo..xo..xo..xo"),
        bass_motion=("octave",),
        chords=("guitar", "strings", "epiano"),
        bass=("electric", "synthbass"),
        lead=("strings", "brass", "synth"),
        lead_density=(0.12, 0.4),
        drums=(0.7, 1.1),
        tilt_db=(-2.0, 1.0),
    ),
    "hiphop": Style(
        tempo_bpm=(72, 112),
        swing=(0.05, 0.3),
        swing_steps=1,
        kick=("x......x..x.....", "x.x.......x..x..", "x.....x.x......o", "x..x......x....."),
        snare=("....x.......x...", "....x..o.o..x..."),
        cymbal=("x.o.x.o.x.o.x.o.", "xoooxoooxoooxooo", "x.o.x.oox.o.xooo"),
        progressions=("0min 0min 8maj 7min", "0mi7 0mi7 0mi7 5mi7", "0min 3maj 0min 10maj", "0mi9"),
        scales=("minor", "pentatonic", "phrygian"),
        comp=("x.........x.....", "x......x........", "..x.......x..x.."),
        bass_rhythm=("x......x..x.....", "x.x.......x..x..", "x..............."),
        bass_motion=("root", "riff"),
        chords=("epiano", "piano", "strings", "synth"),
        bass=("sub", "synthbass", "upright"),
        lead=("epiano", "synth", "flute"),
        lead_density=(0.05, 0.25),
        drive=(0.0, 0.35),
        room=(0.02, 0.15),
        drums=(0.9, 1.4),
        swell_db=(0.5, 2.0),
        tilt_db=(-4.0, 0.5),
    ),
    "jazz": Style(
        tempo_bpm=(86, 212),
        swing=(0.2, 0.34),
        kick=("o...o...o...o...", "o.........o.....", "................"),
        snare=("...o......o.....", "......o......o..", "....o.......o..."),
        cymbal=("x...x..ox...x..o", "x..ox..ox..ox..o"),
        ride=True,
        progressions=(
            "2mi7 7dom 0ma7 0ma7 2mi7 7do9 0ma7 9dom",
            "2hdi 7dom 0mi7 0mi7 5mi7 10dom 3ma7 7dom",
            "0ma7 9dom 2mi7 7dom 4mi7 9dom 2mi9 7do9",
            "0do9 5do9 0do9 0dom 5dom 5do9 0dom 9dom 2mi7 7dom 0do9 7dom",
        ),
        scales=("major", "dorian", "mixolydian", "blues"),
        comp=("x.....o.........", "...x......x.....", "......x.......x.", "x..o............"),
        bass_rhythm=("x...x...x...x...", "x...x...x..ox..."),
        bass_motion=("walk",),
        chords=("piano", "guitar", "epiano"),
        bass=("upright",),
        lead=("brass", "piano", "flute", "guitar"),
        lead_density=(0.35, 0.7),
        drive=(0.0, 0.1),
        room=(0.12, 0.35),
        drums=(0.25, 0.7),
        swell_db=(2.0, 6.0),
        tilt_db=(-4.0, -0.5),
    ),
    "metal": Style(
        tempo_bpm=(96, 196),
        kick=("x.xxx.xxx.xxx.xx", "x.x.x.x.x.x.x.x.", "xxxxxxxxxxxxxxxx", "x..x..x.x..x..x."),
        snare=("....x.......x...", "..x...x...x...x.", "........x......."),
        cymbal=("x...x...x...x...", "x.x.x.x.x.x.x.x."),
        progressions=(
            "0pow 0pow 1pow 0pow 3pow 1pow",
            "0pow 8pow 10pow 7pow",
            "0pow 0pow 6pow 5pow",
        ),
        scales=("phrygian", "minor", "harmonic"),
        comp=("x.xxx.xxx.xxx.xx", "xxoxxoxxxxoxxoxx", "x..x..x.x..x..x.", "x.ooxoo.x.ooxooo"),
        bass_rhythm=("x.xxx.xxx.xxx.xx", "x.x.x.x.x.x.x.x."),
        bass_motion=("root",),
        chords=("fuzz",),
        bass=("electric", "synthbass"),
        lead=("fuzz", "guitar"),
        lead_density=(0.05, 0.5),
        drive=(1.5, 5.0),
        room=(0.03, 0.15),
        drums=(0.8, 1.2),
        swell_db=(0.3, 2.0),
        tilt_db=(-1.5, 1.5),
    ),
    "pop": Style(
        tempo_bpm=(84, 134),
        kick=("x.......x.......", "x.....x.x.......", "x...x...x...x...", "x..x....x.x....."),
        snare=("....x.......x...", "....x.......x.o."),
        cymbal=("x.o.x.o.x.o.x.o.", "xoooxoooxoooxooo", "................"),
        progressions=(
            "0maj 7maj 9min 5maj",
            "9min 5maj 0maj 7maj",
            "0maj 9min 5maj 7maj",
            "5maj 7maj 9min 0maj",
        ),
        scales=("major", "pentatonic"),
        comp=("x...............", "x.......x.......", "x..x..x.x..x..x.", "x...x...x...x..."),
        bass_rhythm=("x.o.x.o.x.o.x.o.", "x.....x.x.......", "x..x..x...x.x..."),
        bass_motion=("root", "octave"),
        chords=("synth", "piano", "epiano", "guitar", "strings"),
        bass=("synthbass", "electric"),
        lead=("synth", "flute", "piano"),
        lead_density=(0.25, 0.5),
        drums=(0.6, 1.1),
        swell_db=(1.0, 5.0),
        tilt_db=(-1.5, 1.5),
    ),
    "reggae": Style(
        tempo_bpm=(64, 102),
        swing=(0.0, 0.28),
        kick=("........x.......", "x.......x.......", "x...x...x...x..."),
        snare=("........x.......", "........x..o....", "...o....x.....o."),
        cymbal=("x.o.x.o.x.o.x.o.", "..x...x...x...x."),
        progressions=(
            "0min 10maj 0min 10maj",
            "0maj 5maj 0maj 7maj",
            "9min 2min 9min 7maj",
            "0maj 2min 5maj 0maj",
        ),
        scales=("minor", "pentatonic", "dorian"),
        comp=("....x.......x...", "....x.o.....x.o.", "..x...x...x...x."),
        bass_rhythm=("x..x..x...x.x...", "x.....x.x..x....", "..x..xx.x..x...."),
        bass_motion=("riff",),
        chords=("guitar", "organ", "piano"),
        bass=("sub", "electric"),
        lead=("organ", "brass", "harmonica", "guitar"),
        lead_density=(0.08, 0.3),
        room=(0.12, 0.4),
        drums=(0.5, 0.95),
        tilt_db=(-4.5, -0.5),
    ),
    "rock": Style(
        tempo_bpm=(92, 164),
        kick=("x.......x.x.....", "x.x.....x.x.....", "x.....x.x.......", "x.......x......."),
        snare=("....x.......x...", "....x.......x..o"),
        cymbal=("x.o.x.o.x.o.x.o.", "x...x...x...x...", "x.x.x.x.x.x.x.x."),
        progressions=(
            "0pow 5pow 7pow 5pow",
            "0pow 10pow 5pow 0pow",
            "0maj 7maj 5maj 5maj",
            "0pow 3pow 5pow 10pow",
            "9min 5maj 0maj 7maj",
        ),
        scales=("mixolydian", "blues", "pentatonic", "minor"),
        comp=("x.x.x.x.x.x.x.x.", "x..x..x...x.x...", "x.......x.x.....", "x..xx.x.x..xx.x."),
        bass_rhythm=("x.x.x.x.x.x.x.x.", "x..x..x.x.x....."),
        bass_motion=("root", "fifth"),
        chords=("fuzz", "guitar", "guitar", "organ"),
        bass=("electric",),
        lead=("guitar", "fuzz", "harmonica"),
        lead_density=(0.1, 0.45),
        drive=(0.4, 2.4),
        drums=(0.7, 1.1),
        swell_db=(0.5, 4.0),
        tilt_db=(-2.0, 1.0),
    ),
}
