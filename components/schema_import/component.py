"""SchemaImport: makes the schema of a run from the curated one, the run's genres and the limits.

TFX's ImportSchemaGen copies a file unchanged and is cached by the file's path, so it would not
notice an edited schema.
"""

import json
from collections.abc import Sequence

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import Channel, ComponentSpec, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.gtzan.limits import TrackLimits
from components.schema_import import executor


class SchemaImportSpec(ComponentSpec):
    """Output and parameters of `SchemaImport`."""

    PARAMETERS = {
        "schema_file": ExecutionParameter(type=str),
        "genres": ExecutionParameter(type=str),
        "limits": ExecutionParameter(type=str),
        "fingerprint": ExecutionParameter(type=str),
    }
    INPUTS: dict[str, ChannelParameter] = {}
    OUTPUTS = {"schema": ChannelParameter(type=standard_artifacts.Schema)}


class SchemaImport(base_component.BaseComponent):
    """Makes a Schema artifact (output `schema`) from a text-format schema file."""

    SPEC_CLASS = SchemaImportSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self, *, schema_file: str, genres: Sequence[str], limits: TrackLimits, fingerprint: str
    ):
        """Creates the node.

        Args:
          schema_file: The text-format schema; a path relative to the installation
            (`resources.installed_file`) or an absolute one.
          genres: Genres in label order.
          limits: Limits that ingest applies to each track.
          fingerprint: Any string that changes with the file's content.
        """
        super().__init__(
            spec=SchemaImportSpec(
                schema_file=schema_file,
                genres=json.dumps(list(genres)),
                limits=limits.to_json(),
                fingerprint=fingerprint,
                schema=Channel(type=standard_artifacts.Schema),
            )
        )
