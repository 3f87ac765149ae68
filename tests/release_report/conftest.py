"""Reports of one small run, each made once: released, refused, and released with a waiver."""

from pathlib import Path

import pytest

from tests.release_report.world import MODELS, World, judge

WAIVER = {
    "gate": "production",
    "reason": "--replace-incompatible: the old one knew <other> genres",
}


def waive(judgement: dict) -> dict:
    """The judgement of a run that waived the comparison with production."""
    judgement["waivers"] = [WAIVER]
    for judged in judgement["models"].values():
        for row in judged["gates"]:
            if row["gate"] == "production_accuracy":
                row |= {"judged": False, "waived": True, "figure": None, "interval": None}
    return judgement


@pytest.fixture(scope="package")
def world(tmp_path_factory) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="package")
def released(world) -> Path:
    judgement = judge({"ann": ("accuracy", "calibration"), "lstm": ("baseline",)})
    return Path(world.report(judgement, chosen="musicnn", name="released"))


@pytest.fixture(scope="package")
def refused(world) -> Path:
    judgement = judge(dict.fromkeys(MODELS, ("accuracy", "drop_mp3_64k")))
    return Path(world.report(judgement, chosen=None, name="refused"))


@pytest.fixture(scope="package")
def waived(world) -> Path:
    judgement = waive(judge({}))
    return Path(world.report(judgement, chosen="musicnn", name="waived"))
