"""Imports what stages need, once, in the process that they are forked from."""

import importlib
import signal

from components.common import runtime

_MODULES = (
    "pipeline.local.stages",
    "components.evaluator.genre_metrics",
    "components.evaluator.probability_metrics",
    "components.example_gen.component",
    "components.gate.component",
    "components.run_recorder.component",
    "components.trainer.executor",
    "components.trainer.release.ensemble",
    "components.trainer.trainer",
    "components.transform.preprocessing",
    "mlflow.store.tracking.sqlalchemy_store",
)

# A scheduler sends it to all processes of a run. The fork server ends with the runner, which needs
# it until then; each stage hears the signal.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
runtime.quieten()
with runtime.importing():
    for _module in _MODULES:
        importlib.import_module(_module)
