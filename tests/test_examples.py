"""The examples in the docstrings of what users import."""

import doctest
import importlib

import pytest

from tests.conftest import ROOT

PARTS = ("components", "kubeflow", "pipeline", "serving")
MODULES = sorted(
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for part in PARTS
    for file in (ROOT / part).rglob("*.py")
    if ">>> " in file.read_text() and file.stem != "genre_client"  # it needs a server
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_show(name):
    results = doctest.testmod(importlib.import_module(name), verbose=False)
    assert results.attempted > 0
    assert results.failed == 0
