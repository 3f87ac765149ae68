"""`--gate FILE`: thresholds from YAML, each key checked, and an example that says the defaults."""

import dataclasses
import itertools
import time

import pytest

from components.common.errors import UserError
from components.gate import settings
from components.gate.settings import GateSettings
from pipeline import gate_file, options
from tests.conftest import ROOT

EXAMPLE = ROOT / "gate.example.yaml"


def test_the_example_lists_every_key_with_its_default(tmp_path):
    text = EXAMPLE.read_text()
    assert gate_file.read(str(EXAMPLE)) == GateSettings()
    keys = {line.split(":")[0].strip() for line in text.splitlines() if not line.startswith("#")}
    for key in settings.flat(GateSettings()):
        assert set(key.split(".")) <= keys


def test_a_file_changes_what_it_names_and_flags_win(tmp_path):
    file = tmp_path / "gate.yaml"
    file.write_text(
        "min_accuracy: 0.7\nmin_macro_f1: 0.6\nmax_ece: null\n"
        "robustness:\n  noise_20db: {max_drop: 0.2}\n"
    )
    config, _ = options.parse(["--gate", str(file), "--min-accuracy", "0.3"])
    noise = dataclasses.replace(GateSettings().robustness.noise_20db, max_drop=0.2)
    assert config.gate == GateSettings(
        min_accuracy=0.3,
        min_macro_f1=0.6,
        max_ece=None,
        robustness=dataclasses.replace(GateSettings().robustness, noise_20db=noise),
    )
    assert not config.replace_incompatible
    assert options.parse(["--replace-incompatible"])[0].replace_incompatible


def nested(depth: int) -> str:
    return "".join(f"{' ' * level}a:\n" for level in range(depth))


BOMB = "a: &a [x]\n" + "".join(
    f"{name}: &{name} [{', '.join(f'*{before}' for _ in range(9))}]\n"
    for before, name in itertools.pairwise("abcdefghi")
)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("min_acuracy: 0.5", "min_acuracy: .*min_accuracy"),
        ("min_accuracy: '0,5'", "min_accuracy .*'0,5'"),
        ("min_accuracy: 50", "min_accuracy .*50"),
        ("min_accuracy: 0.5\nmin_accuracy: 0.2", r"min_accuracy .*twice \(line 1\)"),
        ("robustness.mp3_64k.max_drop: 1\nrobustness: {mp3_64k: {max_drop: 1}}", "twice"),
        ("robustness:\n  mp3_64k:\n    max_dropp: 1", "robustness.mp3_64k.max_dropp: "),
        ("robustness:", "robustness has settings of its own"),
        ("1: 2", "1: no such setting"),
        ("", "holds no setting"),
        ("{}", "holds no setting"),
        ("- min_accuracy", "expected lines of `key: value`"),
        ("min_accuracy: [", r"\(line"),
        ("? [a, b]\n: c", "unhashable key"),
        ("!!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("min_accuracy: 2001-99-99", "month must be in"),
        ("min_accuracy: " + "9" * 5000, r"9… .*\(line 1\)"),
        ("min_accuracy: 0x" + "f" * 50_000, r"\(line 1\)"),
        (nested(300), "a: no such setting"),
        ("[" * 60_000, "nested too deeply"),
        ("#" * 70_000, "65536 bytes"),
        (BOMB, r"aliases .*\(line 2\)"),
    ],
)
def test_a_fault_is_one_sentence_at_once_with_file_and_key(tmp_path, text, names):
    file = tmp_path / "gate.yaml"
    file.write_text(text)
    start = time.process_time()  # of this process, so that a busy machine changes nothing
    with pytest.raises(UserError, match=f"--gate {file}: .*{names}") as caught:
        options.parse(["--gate", str(file)])
    assert time.process_time() - start < 20
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("missing.yaml", None, "--gate: there is no file"),
        ("latin.yaml", b"min_accuracy: 0.5 # f\xfcr", "it is not UTF-8 text"),
        ("binary.yaml", b"\x00\x01", "special characters"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, content, says):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=says):
        options.parse(["--gate", str(tmp_path / name)])


def test_a_gate_in_an_object_store_is_refused():
    with pytest.raises(UserError, match="--gate must be on this machine's disk"):
        options.parse(["--gate", "s3://bucket/gate.yaml"])
