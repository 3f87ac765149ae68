"""Writes warmup requests, which TF Serving replays when it loads a version."""

import numpy as np
import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

from components.audio import codec
from components.audio.settings import AudioSettings

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"


def write_warmup_requests(
    folder: str, *, model_name: str, raw_schema: schema_pb2.Schema, settings: AudioSettings
) -> None:
    """Writes one PredictionLog for each public signature into the SavedModel in `folder`.

    Args:
      folder: The SavedModel; a URI that TensorFlow can write to.
      model_name: Name under which the model will be served.
      raw_schema: The schema of raw examples.
      settings: The analysis settings.
    """
    generator = np.random.default_rng(0)
    noise = generator.normal(scale=0.1, size=settings.clip_samples).astype(np.float32)
    wav = codec.encode_wav(noise, settings.sample_rate_hz)
    example = _raw_example(noise, raw_schema)
    examples = tf.make_tensor_proto([example.SerializeToString()], tf.string)
    requests = {
        "serving_default": {"examples": examples},
        "classify_audio": {"audio": tf.make_tensor_proto(noise[np.newaxis])},
        "classify_audio_at_rate": {
            "audio": tf.make_tensor_proto(np.resize(noise, (1, 2 * settings.minimum_samples))),
            "sample_rate_hz": tf.make_tensor_proto([2 * settings.sample_rate_hz], tf.int32),
        },
        "classify_wav": {"wav": tf.make_tensor_proto([wav], tf.string)},
        "transform_features": {"examples": examples},
    }
    target = f"{folder}/{WARMUP_FILE}"
    tf.io.gfile.makedirs(target.rpartition("/")[0])
    with tf.io.TFRecordWriter(target) as writer:
        for signature, inputs in requests.items():
            request = predict_pb2.PredictRequest(
                model_spec=model_pb2.ModelSpec(name=model_name, signature_name=signature),
                inputs=inputs,
            )
            log = prediction_log_pb2.PredictionLog(
                predict_log=prediction_log_pb2.PredictLog(request=request)
            )
            writer.write(log.SerializeToString())


def _raw_example(clip: np.ndarray, raw_schema: schema_pb2.Schema) -> tf.train.Example:
    """An example with the clip as `audio`, and a value of the right type for all other features."""
    example = tf.train.Example()
    for feature in raw_schema.feature:
        values = example.features.feature[feature.name]
        if feature.name == "audio":
            values.bytes_list.value.append(codec.to_pcm16(clip))
        elif feature.type == schema_pb2.BYTES:
            values.bytes_list.value.append(b"warmup")
        elif feature.type == schema_pb2.INT:
            values.int64_list.value.append(0)
        else:
            values.float_list.value.append(0.0)
    return example
