"""The examples in the docstrings of what users import."""

import doctest
import importlib

import pytest

MODULES = (
    "components.audio.bandwidth",
    "components.audio.extraction",
    "components.audio.loudness",
    "components.audio.settings",
    "components.common.bands",
    "components.common.command_line",
    "components.common.settings_errors",
    "components.example_gen.settings",
    "components.gtzan.splits",
    "components.trainer.models",
    "pipeline.config",
    "pipeline.settings_table",
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_show(name):
    results = doctest.testmod(importlib.import_module(name), verbose=False)
    assert results.attempted > 0
    assert results.failed == 0
