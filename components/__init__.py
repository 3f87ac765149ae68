"""The pipeline's components: one folder per node, and the code that nodes share."""

from typing import Any


def __getattr__(name: str) -> Any:
    """Imports the artifact type `components.Report` on first use; Kubeflow looks for it here.

    It needs TFX, which the command line must not import.
    """
    if name == "Report":
        from components.common.artifacts import Report

        return Report
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
