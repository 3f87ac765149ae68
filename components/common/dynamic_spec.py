"""Component specs whose inputs depend on the models of a run.

On Kubeflow every input of a node needs a name of its own, so a node that reads an artifact of each
model has one input per model. TFX expects a class with the inputs, which is made at run time.
"""

from collections.abc import Mapping
from typing import Any

from tfx.types import BaseChannel, Channel, ComponentSpec
from tfx.types.artifact import Artifact
from tfx.types.component_spec import ChannelParameter, ExecutionParameter


def component_spec(
    name: str,
    *,
    parameters: Mapping[str, Any],
    inputs: Mapping[str, BaseChannel],
    outputs: Mapping[str, type[Artifact]],
) -> ComponentSpec:
    """Makes the spec of one node, of a class of its own.

    Args:
      name: Of the class.
      parameters: Texts, placeholders of texts, and whole numbers, by name.
      inputs: Channels by name, whose artifact types the class has.
      outputs: Artifact types by name.
    """
    kinds = {key: int if isinstance(value, int) else str for key, value in parameters.items()}
    spec_class: type[ComponentSpec] = type(
        name,
        (ComponentSpec,),
        {
            "PARAMETERS": {key: ExecutionParameter(type=kind) for key, kind in kinds.items()},
            "INPUTS": {key: ChannelParameter(type=each.type) for key, each in inputs.items()},
            "OUTPUTS": {key: ChannelParameter(type=kind) for key, kind in outputs.items()},
        },
    )
    channels = {key: Channel(type=artifact_type) for key, artifact_type in outputs.items()}
    return spec_class(**parameters, **inputs, **channels)


def by_model(**channels: Mapping[str, BaseChannel]) -> dict[str, BaseChannel]:
    """Names the channels of each model: `model={"cnn": …}` becomes `{"model_cnn": …}`."""
    return {
        f"{kind}_{name}": channel
        for kind, of_models in channels.items()
        for name, channel in of_models.items()
    }
