"""Artifact types of Gatefold."""

from tfx.types.artifact import Artifact


class Report(Artifact):
    """A folder with a JSON file that later nodes read and, for some nodes, an HTML page."""

    TYPE_NAME = "components.Report"  # Kubeflow imports an artifact type by this name
