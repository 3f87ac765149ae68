"""ReleaseReport's executor: reads what the nodes before it wrote, and writes the report."""

import importlib.metadata
import json
import platform
from collections.abc import Mapping
from typing import Any

from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import Artifact, artifact_utils
from tfx.utils import io_utils

from components.audio.settings import AudioSettings
from components.common import answers, published_report, runtime
from components.release_report import model_card, page, sounds
from components.release_report.evidence import Evidence, best_by_validation
from components.release_report.mistakes import Mistake, worst
from components.release_report.verdict import verdict

_MOST_MISTAKES = 6
_LIBRARIES = (
    *("tfx", "tensorflow", "keras", "tensorflow-transform", "tensorflow-model-analysis"),
    *("apache-beam", "librosa", "soundfile", "numpy", "scikit-learn", "mlflow"),
)


class Executor(base_executor.BaseExecutor):
    """Shell around `page.render` and `model_card.render`."""

    def Do(  # noqa: N802 (the name that TFX calls)
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the report.

        Inputs, outputs and parameters are those of `component.ReleaseReport`.
        """
        runtime.prepare(input_dict, output_dict, exec_properties)
        run = json.loads(exec_properties["run"])
        run["facts"]["data_fingerprint"] = exec_properties["data_fingerprint"]
        audio = AudioSettings(**run["audio"])
        evidence = _evidence(input_dict, run, audio)
        report = artifact_utils.get_single_uri(output_dict["report"])
        content = {
            **evidence.judgement,
            "chosen": evidence.chosen,
            "verdict": verdict(evidence.judgement, evidence.chosen),
        }
        for name, text in (
            (published_report.INGEST_FILE, _text(input_dict, "ingest_report", "index.html")),
            (published_report.JSON_FILE, json.dumps(content, indent=2)),
            (published_report.CARD_FILE, model_card.render(evidence, audio=audio)),
            (published_report.PAGE_FILE, page.render(evidence, audio=audio)),
        ):
            io_utils.write_string_file(f"{report}/{name}", text)


def _evidence(
    input_dict: dict[str, list[Artifact]], run: Mapping[str, Any], audio: AudioSettings
) -> Evidence:
    judgement = _json(input_dict, "judgement", "report.json")
    chosen = _json(input_dict, "selection", "selection.json")["chosen"]
    mistakes = {
        model: _mistakes(input_dict[f"answers_{model}"], judgement["genres"])
        for model in run["models"]
    }
    shown = chosen or best_by_validation(judgement)
    heard = [mistake.track_id for mistake in mistakes.get(shown, [])]
    examples = artifact_utils.get_single_uri(input_dict["examples"])
    return Evidence(
        judgement=judgement,
        chosen=chosen,
        mistakes=mistakes,
        sounds=sounds.read(examples, heard, audio),
        ingest=_json(input_dict, "ingest_report", "report.json"),
        facts=run["facts"],
        training={model: _training(input_dict[f"model_run_{model}"]) for model in run["models"]},
        flags=run["flags"],
        libraries={
            "Python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _LIBRARIES},
        },
    )


def _mistakes(artifacts: list[Artifact], genres: list[str]) -> list[Mistake]:
    """The worst mistakes; none of a model whose answers are missing, which the gate has judged."""
    try:
        clean = answers.read(artifact_utils.get_single_uri(artifacts), answers.CLEAN)
    except answers.AnswersError:
        return []
    return worst(clean, genres, most=_MOST_MISTAKES)


def _training(artifacts: list[Artifact]) -> dict[str, Any]:
    folder = artifact_utils.get_single_uri(artifacts)
    for name, key in (("network.json", "training"), ("members.json", "weights")):
        if fileio.exists(f"{folder}/{name}"):
            return dict(json.loads(io_utils.read_string_file(f"{folder}/{name}"))[key])
    return {}


def _text(input_dict: dict[str, list[Artifact]], key: str, name: str) -> str:
    folder = artifact_utils.get_single_uri(input_dict[key])
    return str(io_utils.read_string_file(f"{folder}/{name}"))


def _json(input_dict: dict[str, list[Artifact]], key: str, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(_text(input_dict, key, name))
    return content
