"""What MLflow's runs say of a run's configuration: their shared parameters."""

import dataclasses
import subprocess
from pathlib import Path
from typing import Any

from pipeline import fingerprint
from pipeline.config import PipelineConfig

_ROOT = Path(__file__).resolve().parents[1]
_OF_SOME_SPLITS = ("split_lists", "split_family", "artists")


def run_parameters(config: PipelineConfig) -> dict[str, Any]:
    """Lists the parameters that all MLflow runs of a run share, but for the data's fingerprint."""
    data = config.data
    audio = dataclasses.asdict(config.audio)
    return {
        "data": data.folder,
        "data_synthetic": data.synthetic,
        "split": data.split,
        **{name: getattr(data, name) for name in _OF_SOME_SPLITS if getattr(data, name)},
        "split_seed": data.split_seed,
        "seed": config.seed,
        "copies": config.copies,
        "code_version": code_version(),
        **{f"audio.{name}": value for name, value in audio.items()},
    }


def code_version() -> str:
    """The git commit, marked where files differ from it; without git a hash of the source."""
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=_ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        return commit.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        files = (_ROOT / "components").rglob("*.py")
        return fingerprint.code_fingerprint(
            (".".join(file.relative_to(_ROOT).with_suffix("").parts) for file in files),
            fingerprint.library_versions(),
        )
