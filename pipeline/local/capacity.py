"""How many stages this machine runs at a time."""

import os
from pathlib import Path

import psutil

from pipeline.config import PipelineConfig

# A stage takes up to 5 GiB (docs/running.md), and the rest of the machine some.
_BYTES_FOR_TWO = 12 << 30
_GPU = Path("/dev/nvidia0")


def stages_at_once(config: PipelineConfig) -> int:
    """Most stages at a time: `config.jobs`, or what the machine has room for, one or two.

    One where the machine has one core, less than 12 GiB of memory or a GPU, which TensorFlow takes
    whole, and where Beam itself runs several processes.
    """
    if config.jobs:
        return config.jobs
    beam_alone = config.beam.runner == "direct" and config.beam.workers <= 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    enough = (cores or 1) > 1 and psutil.virtual_memory().total >= _BYTES_FOR_TWO
    return 2 if beam_alone and enough and not _GPU.exists() else 1


def runs_alone(stage: str) -> bool:
    """Whether nothing may run beside a stage, because it measures how fast a model answers."""
    return stage.startswith("ServingCheck")
