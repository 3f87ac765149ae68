"""ServingCheck: serves a candidate as production would, before it may be released."""

import hashlib
from pathlib import Path

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import BaseChannel, Channel, ComponentSpec, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.common.artifacts import Report
from components.serving_check import executor
from components.serving_check.settings import ServingCheckSettings

_SERVING = Path(__file__).resolve().parents[2] / "serving"
_SERVER_FOLDERS = ("server", "protocol")


class ServingCheckSpec(ComponentSpec):
    """Inputs, outputs and parameters of `ServingCheck`."""

    PARAMETERS = {
        "settings": ExecutionParameter(type=str),
        "server_code": ExecutionParameter(type=str),
    }
    INPUTS = {
        "model": ChannelParameter(type=standard_artifacts.Model),
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "answers": ChannelParameter(type=Report),
    }
    OUTPUTS = {
        "blessing": ChannelParameter(type=standard_artifacts.InfraBlessing),
        "report": ChannelParameter(type=Report),
    }


class ServingCheck(base_component.BaseComponent):
    """Starts the embedded server on a candidate, in its own process, and sends real requests.

    What is served must be what was evaluated, through every signature, over gRPC and REST, within
    the limits of time and memory. docs/explanation/serving.md lists the checks.

    Outputs: `blessing` (an InfraBlessing, as TFX's InfraValidator leaves it) and `report`, with
    `serving_check.json`.
    """

    SPEC_CLASS = ServingCheckSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        *,
        model: BaseChannel,
        examples: BaseChannel,
        answers: BaseChannel,
        settings: ServingCheckSettings,
    ):
        """Creates the node.

        Args:
          model: The candidate.
          examples: Raw examples; the test split is asked about.
          answers: Predictions' answers of the same candidate.
          settings: What is asked, and the limits.
        """
        super().__init__(
            spec=ServingCheckSpec(
                model=model,
                examples=examples,
                answers=answers,
                settings=settings.to_json(),
                server_code=_server_code(),
                blessing=Channel(type=standard_artifacts.InfraBlessing),
                report=Channel(type=Report),
            )
        )


def _server_code() -> str:
    """A hash of the server, which the node starts and does not import: 16 hexadecimal digits.

    With it as a parameter, a changed server is asked anew instead of taken from the cache.
    """
    digest = hashlib.sha256()
    for folder in _SERVER_FOLDERS:
        for path in sorted((_SERVING / folder).glob("*.*")):
            digest.update(f"{path.relative_to(_SERVING)}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
