"""Component specs whose inputs depend on the models of a run.

Kubeflow wants every input of a node under its own name, so a node that takes something of each
model has one input a model, and TFX wants that written as a class.
"""

from collections.abc import Mapping

from tfx.types import ComponentSpec
from tfx.types.artifact import Artifact
from tfx.types.component_spec import ChannelParameter, ExecutionParameter


def spec_class(
    name: str,
    *,
    parameters: Mapping[str, type],
    inputs: Mapping[str, type[Artifact]],
    outputs: Mapping[str, type[Artifact]],
) -> type[ComponentSpec]:
    """Makes a `ComponentSpec` class of the given parameters and artifact types."""
    return type(
        name,
        (ComponentSpec,),
        {
            "PARAMETERS": {key: ExecutionParameter(type=kind) for key, kind in parameters.items()},
            "INPUTS": {key: ChannelParameter(type=kind) for key, kind in inputs.items()},
            "OUTPUTS": {key: ChannelParameter(type=kind) for key, kind in outputs.items()},
        },
    )
