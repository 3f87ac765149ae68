"""Component specs whose inputs depend on the models of a run.

On Kubeflow every input of a node needs a name of its own, so a node that reads an artifact of each
model has one input per model. TFX expects a class with the inputs, which is made at run time.
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
    """Makes a `ComponentSpec` class with these parameters and artifact types."""
    return type(
        name,
        (ComponentSpec,),
        {
            "PARAMETERS": {key: ExecutionParameter(type=kind) for key, kind in parameters.items()},
            "INPUTS": {key: ChannelParameter(type=kind) for key, kind in inputs.items()},
            "OUTPUTS": {key: ChannelParameter(type=kind) for key, kind in outputs.items()},
        },
    )
