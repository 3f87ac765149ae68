"""Baseline's executor: fits the regression on the training split and classifies the others."""

import json
from typing import Any

import numpy as np
import tensorflow as tf
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils

from components.audio.features.descriptors import COLUMN_COUNT, ENTRY
from components.baseline import regression
from components.baseline.regression import Descriptions
from components.common import answers, raw_examples, runtime
from components.common.copies import distinct_ids, originals

TRAIN = "train"
FILES = {"validation": answers.VALIDATION, "test": answers.CLEAN}  # by split
SUMMARY_FILE = "baseline.json"

_FEATURE = ENTRY.name
_FRAMES = f"{_FEATURE}_frames"


class Executor(base_executor.BaseExecutor):
    """Trains and asks the baseline model."""

    def Do(  # noqa: N802 (the name that TFX calls)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes `clean.npz` (the test split), `validation.npz` and `baseline.json`.

        Args:
          input_dict: `transformed_examples` of the Transform that computes descriptors, with splits
            train, validation and test.
          output_dict: `answers`.
          exec_properties: Nothing that is read.

        Raises:
          ValueError: A split has no examples, or they hold no descriptors.
        """
        runtime.prepare(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_uri(input_dict["transformed_examples"])
        output = artifact_utils.get_single_uri(output_dict["answers"])
        splits = {split: read(examples, split) for split in (TRAIN, *FILES)}
        # Ingest has seen to it that every genre is in every split.
        genres = 1 + max(int(split.labels.max()) for split in splits.values())
        model = regression.fit(splits[TRAIN])
        for name, file in FILES.items():
            split = splits[name]
            answers.write(
                output,
                file,
                answers.in_order(
                    split.track_ids,
                    split.labels,
                    regression.probabilities(model, split.rows, genres),
                ),
            )
        summary = {
            "model": "logistic regression on clip descriptors",
            "inverse_penalty": regression.INVERSE_PENALTY,
            "columns": splits[TRAIN].rows.shape[1],
            "tracks": {name: originals(split.track_ids) for name, split in splits.items()},
        }
        io_utils.write_string_file(f"{output}/{SUMMARY_FILE}", json.dumps(summary, indent=2))


def read(examples_uri: str, split: str) -> Descriptions:
    """Reads a split of transformed examples, one row a track.

    Args:
      examples_uri: URI of the `Examples` artifact that Transform wrote.
      split: Name of the split.

    Raises:
      ValueError: There are no examples, or one holds no descriptors.
    """
    track_ids, labels, rows = [], [], []
    for record in raw_examples.records(raw_examples.split_files(examples_uri, split)):
        features = tf.train.Example.FromString(record).features.feature
        values = np.array(features[_FEATURE].float_list.value, np.float32)
        frames = np.array(features[_FRAMES].int64_list.value, np.int64)
        if not len(frames) or not len(values) or len(values) % (COLUMN_COUNT * len(frames)):
            raise ValueError(
                f"a transformed example of the split {split} holds no {_FEATURE} of "
                f"{COLUMN_COUNT} columns. Received: {len(values)} values, {len(frames)} clips"
            )
        track_ids.append(features["track_id"].bytes_list.value[0].decode())
        labels.append(features["label"].int64_list.value[0])
        rows.append(regression.describe(values.reshape(-1, COLUMN_COUNT), frames))
    if not rows:
        raise ValueError(f"there are no examples in the split {split} of {examples_uri}")
    return Descriptions(distinct_ids(track_ids), np.array(labels, np.int64), np.stack(rows))
