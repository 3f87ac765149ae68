"""Artifact types of our own: JSON and pages that people and later nodes read."""

from tfx.types.artifact import Artifact


class Report(Artifact):
    """A folder with a machine-readable JSON file and, where it helps, a page for people."""

    TYPE_NAME = "components.Report"  # Kubeflow imports an artifact type by this name
