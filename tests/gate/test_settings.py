"""The gate's thresholds: ranges, types, and dictionaries that name the key at fault."""

import dataclasses
import json

import pytest

from components.audio.deformations import TITLES
from components.gate import settings
from components.gate.settings import GateSettings


def test_settings_survive_json():
    changed = GateSettings(min_accuracy=None, min_tracks=3, prove_not_worse=True)
    assert settings.from_dict(json.loads(json.dumps(settings.as_dict(changed)))) == changed


def test_what_is_left_out_stays_as_in_the_base():
    base = GateSettings(min_accuracy=0.7)
    changed = settings.from_dict({"robustness": {"mp3_64k": {"max_drop": 0.5}}}, base=base)
    assert changed.min_accuracy == 0.7
    assert changed.robustness.mp3_64k == dataclasses.replace(
        GateSettings().robustness.mp3_64k, max_drop=0.5
    )
    assert changed.robustness.noise_20db == base.robustness.noise_20db


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"min_acuracy": 0.5}, "min_acuracy"),
        ({"min_accuracy": "0.5"}, "min_accuracy"),
        ({"min_accuracy": True}, "min_accuracy"),
        ({"min_accuracy": float("nan")}, "min_accuracy"),
        ({"min_tracks": None}, "min_tracks"),
        ({"prove_not_worse": 1}, "prove_not_worse"),
        ({"robustness": 3}, "robustness"),
        ({"robustness": {"mp3_64k": {"max_drop": "much"}}}, "robustness.mp3_64k.max_drop"),
    ],
)
def test_a_wrong_key_or_value_is_named(values, key):
    with pytest.raises(ValueError, match=rf"^{key}\b"):
        settings.from_dict(values)


def test_every_deformation_has_its_settings():
    assert tuple(TITLES) == settings.DEFORMATIONS


@pytest.mark.parametrize(
    ("change", "looser"),
    [
        ({"min_accuracy": 0.0}, True),
        ({"min_accuracy": 0.9}, False),
        ({"max_ece": 0.5}, True),
        ({"max_chance": 0.001}, True),
        ({"max_chance": 0.5}, False),
        ({"min_tracks": 1_000_000}, True),
        ({"min_tracks": 1}, False),
        ({"prove_not_worse": True}, False),
        ({"min_accuracy": None}, False),  # a waiver
    ],
)
def test_a_threshold_that_lets_more_pass_is_listed_with_its_default(change, looser):
    ((key, value),) = change.items()
    default = getattr(GateSettings(), key)
    listed = [{"gate": key, "value": value, "default": default}]
    assert settings.loosened(GateSettings(**change)) == (listed if looser else [])


def test_a_deformation_s_limit_is_held_against_its_own_default():
    opened = settings.from_dict({"robustness": {"noise_20db": {"max_drop": 0.6}}})
    assert settings.loosened(opened) == [
        {"gate": "robustness.noise_20db.max_drop", "value": 0.6, "default": 0.15}
    ]
    assert settings.loosened(GateSettings()) == []
