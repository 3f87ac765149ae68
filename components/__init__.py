"""What the pipeline is made of: a folder a node, and below them sound and the data set."""

from typing import Any


def __getattr__(name: str) -> Any:
    """Finds the artifact type `components.Report` when it is asked for, as Kubeflow does.

    Not imported with the package, which the command line loads without TFX.
    """
    if name == "Report":
        from components.artifacts import Report

        return Report
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
