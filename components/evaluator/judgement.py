"""TFMA's configuration: the metrics of every model, overall and by slice."""

import json

import tensorflow_model_analysis as tfma

from components.common import bands

TOP_3_ACCURACY = "top_3_accuracy"
LOG_LOSS = "log_loss"


def eval_config() -> tfma.EvalConfig:
    """TFMA's configuration: track-level figures, overall and by slice.

    One raw example is one track and `serving_default` averages its windows, so every figure
    is at track level. The predicted genre is the most probable one. Slices are by genre, and by the
    bands of `components.common.bands`, which the release's `labels` names. There are no thresholds,
    so TFMA blesses nothing: the gate judges. Metrics are TFMA's and Keras's own; what neither has
    (macro-F1, calibration error, Brier score, exact areas under curves) follows from the confusion
    matrix, or is the gate's.
    """
    return tfma.EvalConfig(
        model_specs=[
            tfma.ModelSpec(
                signature_name="serving_default",
                prediction_key="probabilities",
                label_key="label",
                # The label and the slices alone: `serving_default` computes the features.
                preprocessing_function_names=["labels"],
            )
        ],
        slicing_specs=[
            tfma.SlicingSpec(),
            *(tfma.SlicingSpec(feature_keys=[name]) for name in ("genre", *bands.SLICES)),
        ],
        metrics_specs=[
            tfma.MetricsSpec(
                metrics=[
                    tfma.MetricConfig(class_name="ExampleCount"),
                    tfma.MetricConfig(class_name="SparseCategoricalAccuracy"),
                    tfma.MetricConfig(
                        class_name="SparseTopKCategoricalAccuracy",
                        config=json.dumps({"k": 3, "name": TOP_3_ACCURACY}),
                    ),
                    tfma.MetricConfig(
                        class_name="SparseCategoricalCrossentropy",
                        config=json.dumps({"name": LOG_LOSS}),
                    ),
                    tfma.MetricConfig(
                        class_name="MultiClassConfusionMatrixAtThresholds",
                        config='{"thresholds": [-1.0]}',
                    ),
                ]
            ),
        ],
    )
