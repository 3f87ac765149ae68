"""The nodes between training and release: what is asked of each model, and the gate."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from tfx.dsl.components.base.base_component import BaseComponent

from components.audio.settings import AudioSettings
from components.baseline.component import Baseline
from components.common.node_ids import node_id
from components.deformed_examples.component import DeformedExamples
from components.gate.component import Gate
from components.predictions.component import Predictions
from components.serving_check.component import ServingCheck
from components.serving_check.infra_validator import infra_validator
from components.serving_check.settings import ServingCheckSettings
from pipeline.config import PipelineConfig

BASELINE_FEATURE = "descriptors"


@dataclasses.dataclass(frozen=True)
class Judging:
    """The nodes that judge; those of one model by its name."""

    deformed_examples: DeformedExamples
    baseline: Baseline
    answers: Mapping[str, Predictions]
    serving_checks: Mapping[str, ServingCheck]
    infra_validators: Mapping[str, BaseComponent]
    gate: Gate

    def of_model(self, name: str) -> list[BaseComponent]:
        """The nodes of one model, in their order."""
        nodes: list[BaseComponent] = [self.answers[name], self.serving_checks[name]]
        if name in self.infra_validators:
            nodes.append(self.infra_validators[name])
        return nodes


def judging(
    config: PipelineConfig,
    *,
    example_gen: BaseComponent,
    descriptors: BaseComponent,
    trainers: Mapping[str, BaseComponent],
    evaluators: Mapping[str, BaseComponent],
    audio: AudioSettings,
    release: Mapping[str, Any],
    run_id: str,
) -> Judging:
    """Makes the nodes that judge every model.

    Args:
      config: The run.
      example_gen: Its raw examples and report.
      descriptors: The Transform whose features the baseline reads.
      trainers: By model.
      evaluators: By model.
      audio: The settings that ingest reads, without those of features.
      release: Facts about data and seeds.
      run_id: Of the run; the gate is never cached.
    """
    examples = example_gen.outputs["examples"]
    deformed_examples = DeformedExamples(examples=examples, audio=audio)
    baseline = Baseline(
        transformed_examples=descriptors.outputs["transformed_examples"],
    )
    answers = {
        name: Predictions(
            model=trainer.outputs["model"],
            examples=examples,
            deformed_examples=deformed_examples.outputs["examples"],
        ).with_id(node_id("Predictions", name))
        for name, trainer in trainers.items()
    }
    serving_checks = {
        name: ServingCheck(
            model=trainer.outputs["model"],
            examples=examples,
            answers=answers[name].outputs["answers"],
            settings=ServingCheckSettings(
                sample_rate_hz=config.audio.sample_rate_hz,
                model_name=config.serving_name,
                max_latency_ratio=config.gate.max_latency_ratio,
                max_latency_seconds=config.gate.max_latency_seconds,
                max_memory_mib=config.gate.max_memory_mib,
            ),
        ).with_id(node_id("ServingCheck", name))
        for name, trainer in trainers.items()
    }
    infra_validators = {
        name: infra_validator(
            model=trainer.outputs["model"],
            examples=examples,
            model_name=config.serving_name,
            platform=config.infra_validator,
        ).with_id(node_id("InfraValidator", name))
        for name, trainer in trainers.items()
        if config.infra_validator
    }
    gate = Gate(
        models=outputs(trainers, "model"),
        model_runs=outputs(trainers, "model_run"),
        evaluations=outputs(evaluators, "evaluation"),
        answers=outputs(answers, "answers"),
        serving_checks=outputs(serving_checks, "report"),
        infra_blessings=outputs(serving_checks, "blessing"),
        infra_validations=outputs(infra_validators, "blessing"),
        baseline_answers=baseline.outputs["answers"],
        ingest_report=example_gen.outputs["ingest_report"],
        examples=examples,
        gate=config.gate,
        base_directory=config.serving_folder,
        release=release,
        replace_incompatible=config.replace_incompatible,
        run_id=run_id,
    )
    return Judging(deformed_examples, baseline, answers, serving_checks, infra_validators, gate)


def outputs(nodes: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The channel `key` of each node, by the nodes' names."""
    return {name: node.outputs[key] for name, node in nodes.items()}
