"""Imports whatever a run starts: every node's executor, and the entry point of a container.

The image's last build step: `python -m kubeflow.image_check`.
"""

import importlib

from tfx.utils import import_utils

from components.common.resources import SCHEMA_FILE, installed_file
from components.trainer.catalog import CATALOG
from kubeflow import entry_point
from pipeline.config import DataConfig, PipelineConfig
from pipeline.pipeline import create_pipeline

_COMMANDS = ("kubeflow.notice", "serving.server.cli", "serving.client.cli", "serving.local_model")


def check() -> list[str]:
    """Imports every executor of a run with all models and a search.

    Returns:
      Paths of the executors' classes.

    Raises:
      ImportError: A module is missing.
      FileNotFoundError: The schema is missing.
    """
    if not installed_file(SCHEMA_FILE).is_file():
        raise FileNotFoundError(f"{SCHEMA_FILE} is not installed beside the packages")
    config = PipelineConfig(
        data=DataConfig("s3://bucket/genres"),
        output="s3://bucket/gatefold",
        models=tuple(CATALOG),
        trials=2,
    )
    dag = create_pipeline(config, data_fingerprint=None, run_id="check")
    classes = sorted({node.executor_spec.class_path for node in dag.components})
    for path in classes:
        import_utils.import_class_by_path(path)
    for module in (entry_point.COMMAND[-1], *_COMMANDS):
        importlib.import_module(module)
    return classes


if __name__ == "__main__":
    print("\n".join(check()))
