"""What Kubeflow's own pages show of a run: reports, accuracies and a confusion matrix.

Kubeflow shows artifacts of its own types only, and TFX knows none of these. So the compiler adds an
output to a node, and the entry point fills it from what the node wrote.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.utils import io_utils

from components.common import published_report


class Picture(NamedTuple):
    """An output for Kubeflow's pages.

    Attributes:
      node: Id of the node that gets the output.
      schema: Kubeflow's type of it.
      source: Key of the node's own output that it is made from.
      file: File of that output.
      metadata: Makes metadata from the file's JSON; None where the file itself is shown.
    """

    node: str
    schema: str
    source: str
    file: str
    metadata: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None


def accuracies(report: Mapping[str, Any]) -> dict[str, float]:
    """Each model's accuracy on the test split; a model without one is left out.

    Args:
      report: ReleaseReport's `report.json`.
    """
    values = {
        name: ((judged.get("figures") or {}).get("accuracy") or {}).get("value")
        for name, judged in report["models"].items()
    }
    return {name: value for name, value in values.items() if value is not None}


def confusion_matrix(report: Mapping[str, Any]) -> dict[str, Any]:
    """Kubeflow's form of the confusion matrix of the model that the report is about.

    Args:
      report: ReleaseReport's `report.json`.

    Returns:
      A row for each actual genre, in it a count for each predicted one; nothing where a model's
      answers are missing.
    """
    # Only here, because it brings what draws reports, and every container imports this module.
    from components.release_report.evidence import best_by_validation

    model = report["chosen"] or best_by_validation(report)
    counts = report["models"].get(model, {}).get("confusion")
    if not counts:
        return {}
    return {
        "confusionMatrix": {
            "annotationSpecs": [{"displayName": genre} for genre in report["genres"]],
            "rows": [{"row": row} for row in counts],
        }
    }


_REPORT = ("report", published_report.JSON_FILE)

# By output key, which no node has for an output of its own.
PICTURES = {
    "ingest_page": Picture("GtzanExampleGen", "system.HTML", "ingest_report", "index.html"),
    "release_page": Picture("ReleaseReport", "system.HTML", "report", published_report.PAGE_FILE),
    "model_card": Picture("ReleaseReport", "system.Markdown", "report", published_report.CARD_FILE),
    "accuracy": Picture("ReleaseReport", "system.Metrics", *_REPORT, accuracies),
    "confusion_matrix": Picture(
        "ReleaseReport", "system.ClassificationMetrics", *_REPORT, confusion_matrix
    ),
}


def add_outputs(components: Mapping[str, dict[str, Any]]) -> None:
    """Adds the outputs to a compiled pipeline.

    Args:
      components: The specification's components, by node id.
    """
    for key, picture in PICTURES.items():
        if picture.node in components:
            schema = {"schemaTitle": picture.schema, "schemaVersion": "0.0.1"}
            outputs = components[picture.node]["outputDefinitions"]["artifacts"]
            outputs[key] = {"artifactType": schema}


def draw(
    key: str, uri: str, sources: Mapping[str, pipeline_spec_pb2.ArtifactList]
) -> pipeline_spec_pb2.RuntimeArtifact:
    """Fills an output from what its node has written.

    Args:
      key: Key of the output, in `PICTURES`.
      uri: Where a file that is shown goes.
      sources: The node's own outputs.
    """
    picture = PICTURES[key]
    source = f"{sources[picture.source].artifacts[0].uri}/{picture.file}"
    artifact = pipeline_spec_pb2.RuntimeArtifact(uri=uri)
    if picture.metadata is None:
        io_utils.write_bytes_file(uri, io_utils.read_bytes_file(source))
    else:
        metadata = picture.metadata(json.loads(io_utils.read_string_file(source)))
        json_format.ParseDict(metadata, artifact.metadata)
    return artifact
