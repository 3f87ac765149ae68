"""Settings from what a person wrote: the fault is named by its dotted name."""

import dataclasses
from typing import Annotated

import pytest
from pydantic import Field
from pydantic.dataclasses import dataclass

from components.common.settings_errors import CONFIG, changed, flat, validated


@dataclass(frozen=True, config=CONFIG)
class Noise:
    level: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.5
    bands: Annotated[int, Field(ge=1)] = 2


@dataclass(frozen=True, config=CONFIG)
class Settings:
    name: str = "a"
    noise: Noise = Noise()

    def __post_init__(self) -> None:
        if self.name == "b" and self.noise.bands > 2:
            raise ValueError("noise.bands must be at most 2 for b")


def test_several_values_change_at_once_whatever_their_order():
    settings = Settings("b")
    for names in (("name", "noise.bands"), ("noise.bands", "name")):
        values = {"name": "c", "noise.bands": "9"}
        assert changed(settings, {name: values[name] for name in names}) == Settings(
            "c", Noise(bands=9)
        )
    assert settings == Settings("b")


def test_nested_values_survive_a_dictionary():
    settings = Settings("c", Noise(0.25, 7))
    assert validated(Settings, dataclasses.asdict(settings)) == settings
    assert flat(dataclasses.asdict(settings))["noise.bands"] == 7


@pytest.mark.parametrize(
    ("values", "begins"),
    [
        ({"noise.level": 2}, "noise.level "),
        ({"noise.level": "nan"}, "noise.level "),
        ({"noise.bands": "many"}, "noise.bands "),
        ({"noise.bands": "9" * 5000}, "noise.bands "),
        ({"noise": 3}, "noise has settings of its own: level, bands"),
        ({"noise.levle": 1}, r"noise.levle: .*did you mean level\?"),
        ({"nose.level": 1}, r"nose: .*did you mean noise\?"),
        ({"name.x": 1}, "name has no settings of its own"),
        ({"name": "b", "noise.bands": 3}, "noise.bands must be at most 2"),
    ],
)
def test_a_fault_is_named_in_one_short_sentence(values, begins):
    with pytest.raises(ValueError, match=f"^{begins}") as caught:
        changed(Settings(), values)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200
