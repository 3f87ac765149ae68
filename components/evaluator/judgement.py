"""What TFMA computes for every model, and the thresholds that bless one."""

import json
from collections.abc import Sequence

import tensorflow_model_analysis as tfma

ACCURACY = "sparse_categorical_accuracy"
MACRO_F1 = "macro_f1"


def eval_config(
    genres: Sequence[str], *, minimum_accuracy: float, minimum_macro_f1: float
) -> tfma.EvalConfig:
    """TFMA's configuration: track-level figures, overall and by genre.

    One raw example is one track and `serving_default` averages its windows, so every figure
    is at track level. The predicted genre is the most probable one.

    Args:
      genres: Names in label order.
      minimum_accuracy: Share of tracks, in [0, 1], that must be right for a blessing.
      minimum_macro_f1: Least mean of the genres' F1, in [0, 1], for a blessing.
    """
    return tfma.EvalConfig(
        model_specs=[
            tfma.ModelSpec(
                signature_name="serving_default",
                prediction_key="probabilities",
                label_key="label",
                preprocessing_function_names=["transform_features"],
            )
        ],
        slicing_specs=[tfma.SlicingSpec(), tfma.SlicingSpec(feature_keys=["genre"])],
        metrics_specs=[
            tfma.MetricsSpec(
                metrics=[
                    tfma.MetricConfig(class_name="ExampleCount"),
                    tfma.MetricConfig(
                        class_name="SparseCategoricalAccuracy",
                        per_slice_thresholds=_at_least(minimum_accuracy),
                    ),
                    tfma.MetricConfig(
                        class_name="MultiClassConfusionMatrixAtThresholds",
                        config='{"thresholds": [-1.0]}',
                    ),
                    _ours("MacroF1", genres, thresholds=_at_least(minimum_macro_f1)),
                    _ours("GenrePrecision", genres),
                    _ours("GenreRecall", genres),
                ]
            ),
        ],
    )


def _at_least(bound: float) -> list[tfma.PerSliceMetricThreshold]:
    """A lower bound on the overall slice; a plain threshold would hold for each genre too."""
    return [
        tfma.PerSliceMetricThreshold(
            slicing_specs=[tfma.SlicingSpec()],
            threshold=tfma.MetricThreshold(
                value_threshold=tfma.GenericValueThreshold(lower_bound={"value": bound})
            ),
        )
    ]


def _ours(
    class_name: str,
    genres: Sequence[str],
    thresholds: Sequence[tfma.PerSliceMetricThreshold] = (),
) -> tfma.MetricConfig:
    return tfma.MetricConfig(
        class_name=class_name,
        module="components.evaluator.genre_metrics",
        config=json.dumps({"classes": len(genres)}),
        per_slice_thresholds=thresholds,
    )
