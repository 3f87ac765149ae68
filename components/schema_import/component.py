"""Imports the curated schema, again whenever its text changes.

TFX's ImportSchemaGen is cached by the file's path, so an edited schema would not be noticed.
"""

from tfx.components.schema_gen.import_schema_gen import executor
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import Channel, ComponentSpec, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter


class SchemaImportSpec(ComponentSpec):
    """As ImportSchemaGen's, with the file's fingerprint."""

    PARAMETERS = {
        "schema_file": ExecutionParameter(type=str),
        "fingerprint": ExecutionParameter(type=str),
    }
    INPUTS: dict[str, ChannelParameter] = {}
    OUTPUTS = {"schema": ChannelParameter(type=standard_artifacts.Schema)}


class SchemaImport(base_component.BaseComponent):
    """Makes a Schema artifact (output `schema`) of a text-format schema file."""

    SPEC_CLASS = SchemaImportSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, *, schema_file: str, fingerprint: str):
        """Creates the node.

        Args:
          schema_file: Path or URI of the text-format schema.
          fingerprint: Any string that changes with the file's content.
        """
        super().__init__(
            spec=SchemaImportSpec(
                schema_file=schema_file,
                fingerprint=fingerprint,
                schema=Channel(type=standard_artifacts.Schema),
            )
        )
