"""Warnings in tests: those of our own code are errors, those of libraries are not."""

import warnings

import pytest


@pytest.mark.parametrize("module", ["components.audio.codec", "pipeline.config", "serving.app"])
@pytest.mark.parametrize("category", [UserWarning, DeprecationWarning, FutureWarning])
def test_a_warning_of_our_code_is_an_error(module, category):
    with pytest.raises(category, match="old call"):
        warnings.warn_explicit("old call", category, "file.py", 1, module=module)


def test_a_deprecation_in_a_library_is_not():
    warnings.warn_explicit("old call", DeprecationWarning, "file.py", 1, module="tfx.components")
