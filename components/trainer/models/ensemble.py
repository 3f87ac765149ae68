"""The mean of the other models' window probabilities; `release/ensemble.py` exports it."""

from components.trainer.model_entry import ModelEntry

ENTRY = ModelEntry(name="ensemble", feature="")
