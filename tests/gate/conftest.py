"""The tone world: candidates' artifacts as the nodes before the gate really leave them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow_model_analysis as tfma
from tfx.dsl.components.base import base_executor
from tfx.types import channel, standard_artifacts

from components.audio.settings import AudioSettings
from components.common import answers, bands
from components.common.artifacts import Report
from components.deformed_examples import executor as deformed_executor
from components.deformed_examples.component import DeformedExamples
from components.evaluator.judgement import eval_config
from components.gate import executor, settings
from components.gate.settings import Deformation, GateSettings, RobustnessSettings
from components.gtzan.genres import GENRES
from components.predictions import executor as predictions_executor
from components.serving_check import executor as serving_check_executor
from components.serving_check.settings import ServingCheckSettings
from components.trainer import validation
from tests.gate import tone_world
from tests.gate.tone_world import Listener, artifact

# A machine that other work is using answers late: tests of other gates do not time it.
# Their models hear tones, half of which a telephone does not carry.
GATE = GateSettings(
    min_tracks=4,
    max_latency_ratio=None,
    max_latency_seconds=None,
    robustness=RobustnessSettings(telephone_8k=Deformation(1.0, 1.0, 100.0)),
)
RELEASE = {
    "data": "/music",
    "synthetic": True,
    "split": {"method": "artist", "seed": 1},
    "seed": 2,
}
CHECK = ServingCheckSettings(
    tone_world.SETTINGS.sample_rate_hz,
    tracks=2,
    pairs=3,
    seconds=0.5,
    max_latency_ratio=None,
    max_latency_seconds=None,
)


class World:
    """Runs the nodes before the gate, each model's once, and the gate over them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.examples = tone_world.write_examples(folder / "examples")
        self.ingest_report = tone_world.ingest_report(folder / "ingest")
        self.statistics = artifact(standard_artifacts.ExampleStatistics, folder / "statistics")
        (folder / "statistics" / "Split-train").mkdir()
        (folder / "statistics" / "Split-train" / "FeatureStats.pb").touch()
        self.deformed = self._deformed_examples()
        self.baseline = self._baseline()
        self._good_check: dict | None = None
        self._made: dict[str, dict] = {}

    def candidate(self, name: str, listener: Listener, *, served: bool = False) -> dict:
        """A model's artifacts by kind.

        Args:
          name: Of the model; one that is there already is taken again.
          listener: The model.
          served: Whether it is served for its own ServingCheck; others take the good one's.
        """
        if name not in self._made:
            self._made[name] = self._make(name, listener, served=served)
        return self._made[name]

    def _make(self, name: str, listener: Listener, *, served: bool) -> dict:
        place = self.folder / name
        listener.save(place / "model" / "Format-Serving")
        model = artifact(standard_artifacts.Model, place / "model")
        answered = artifact(Report, place / "answers")
        predictions_executor.Executor().Do(
            {"model": [model], "examples": [self.examples], "deformed_examples": [self.deformed]},
            {"answers": [answered]},
            {},
        )
        made = {
            "model": model,
            "model_run": self._model_run(place),
            "answers": answered,
            "evaluation": self._evaluation(place, answered.uri),
        }
        if served or self._good_check is None:
            made |= self._serving_check(place, made)
            self._good_check = self._good_check or made
        else:
            made |= {kind: self._good_check[kind] for kind in ("serving_check", "infra_blessing")}
        return made

    def judge(
        self,
        candidates: dict[str, dict],
        *,
        gate: GateSettings = GATE,
        serving: Path | None = None,
        replace_incompatible: bool = False,
        genres: tuple[str, ...] = GENRES,
        **inputs,
    ) -> dict:
        """Runs the gate; gives `report.json`, after a look at the blessings."""
        place = self.folder / "gate"
        blessings = {
            name: artifact(standard_artifacts.ModelBlessing, place / f"blessing_{name}")
            for name in candidates
        }
        judgement = artifact(Report, place / "judgement")
        self.blessings, self.judgement = blessings, judgement
        by_model = {
            f"{kind}_{name}": [made]
            for name, kinds in candidates.items()
            for kind, made in kinds.items()
        }
        shared = {
            "baseline_answers": [self.baseline],
            "ingest_report": [self.ingest_report],
            "examples": [self.examples],
        }
        executor.Executor().Do(
            {**by_model, **shared, **inputs},
            {
                "judgement": [judgement],
                **{f"blessing_{name}": [made] for name, made in blessings.items()},
            },
            {
                "models": json.dumps(list(candidates)),
                "settings": json.dumps(settings.as_dict(gate)),
                "release": json.dumps({**RELEASE, "genres": list(genres)}),
                "base_directory": str(serving or self.folder / "no-serving"),
                "replace_incompatible": int(replace_incompatible),
                "run_id": "run",
            },
        )
        report = json.loads((place / "judgement" / "report.json").read_text())
        for name, blessing in blessings.items():
            blessed = report["models"][name]["blessed"]
            assert blessing.get_int_custom_property("blessed") == blessed
        return report

    def _deformed_examples(self):
        deformed = artifact(standard_artifacts.Examples, self.folder / "deformed")
        context = deformed_executor.Executor.Context(
            beam_pipeline_args=[], tmp_dir=str(self.folder / "tmp"), unique_id="1"
        )
        node = DeformedExamples(
            examples=channel.Channel(type=standard_artifacts.Examples), audio=AudioSettings()
        )
        deformed_executor.Executor(context).Do(
            {"raw_examples": [self.examples]}, {"examples": [deformed]}, dict(node.exec_properties)
        )
        return deformed

    def _baseline(self):
        """Right on half of the tracks: those of even number."""
        tracks = tone_world.tracks()
        labels = np.array([GENRES.index(one.genre) for one in tracks])
        said = np.where(np.arange(len(tracks)) % 2, (labels + 1) % 10, labels)
        baseline = artifact(Report, self.folder / "baseline")
        probabilities = 0.5 * np.eye(10)[said] + 0.05
        made = answers.in_order([one.track_id for one in tracks], labels, probabilities)
        for name in (answers.CLEAN, "validation"):
            answers.write(baseline.uri, name, made)
        return baseline

    def _model_run(self, place: Path):
        labels = np.arange(20) % 10
        windows = (0.8 * np.eye(10)[labels] + 0.02)[:, np.newaxis]
        made = validation.in_order(
            [f"track.{index}" for index in range(20)], labels, windows, np.ones((20, 1), bool),
            clips=1,
        )  # fmt: skip
        model_run = artifact(standard_artifacts.ModelRun, place / "model_run")
        answers.write(model_run.uri, answers.VALIDATION, made)
        return model_run

    def _evaluation(self, place: Path, answered: str):
        """TFMA's figures of the same answers."""
        clean = answers.read(answered, answers.CLEAN)
        bands_of = [
            bands.of_track(rms_db=-20.0 + 8 * (index // 4 % 2), bandwidth_hz=9500.0,
                           source_sample_rate_hz=22_050)
            for index in range(len(clean.track_ids))
        ]  # fmt: skip
        examples = pd.DataFrame(
            {
                "genre": [GENRES[label] for label in clean.labels],
                "label": clean.labels,
                "probabilities": list(clean.probabilities.tolist()),
                **{name: [one[name] for one in bands_of] for name in bands.SLICES},
            }
        )
        config = eval_config()
        # Their answers are given, so that no model is asked.
        del config.model_specs[0].preprocessing_function_names[:]
        config.model_specs[0].ClearField("signature_name")
        evaluation = artifact(standard_artifacts.ModelEvaluation, place / "evaluation")
        tfma.analyze_raw_data(examples, config, output_path=evaluation.uri)
        return evaluation

    def _serving_check(self, place: Path, made: dict) -> dict:
        blessing = artifact(standard_artifacts.InfraBlessing, place / "infra")
        report = artifact(Report, place / "serving_check")
        context = base_executor.BaseExecutor.Context(tmp_dir=str(place))
        serving_check_executor.Executor(context).Do(
            {
                "model": [made["model"]],
                "examples": [self.examples],
                "answers": [made["answers"]],
            },
            {"blessing": [blessing], "report": [report]},
            {"settings": CHECK.to_json()},
        )
        return {"serving_check": report, "infra_blessing": blessing}


@pytest.fixture(scope="package")
def world(tmp_path_factory) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="package")
def good(world) -> dict:
    return world.candidate("good", Listener())
