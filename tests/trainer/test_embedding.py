"""Networks of the user's own in SavedModels: as a body, trained on, released, refused."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from components.audio.features import feature
from components.trainer.catalog import recommended
from components.trainer.checks import check_weights
from components.trainer.data.tracks import Tracks
from components.trainer.models import build
from components.trainer.parts import heads
from components.trainer.release import model_run
from components.trainer.settings import ModelSettings, TrainingSettings
from components.trainer.training.loop import train
from components.trainer.weight_sources import WeightsError
from tests.trainer import saved_models
from tests.trainer.conftest import GENRE_NAMES, SHORT
from tests.trainer.release.test_export import answer_in_both_loaders

WAVEFORM = feature("waveform", SHORT)
KINDS = ("yamnet", "vggish", "signature")


def tones(count, seed=0):
    """Tracks of a tone with noise, whose pitch tells the genre."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(GENRE_NAMES)
    seconds = np.arange(4 * saved_models.RATE_HZ) / saved_models.RATE_HZ
    pitch = 200.0 * 2.0**labels * rng.uniform(0.95, 1.05, count)
    sounds = 0.3 * np.sin(2 * np.pi * pitch[:, np.newaxis] * seconds)
    sounds += rng.normal(scale=0.01, size=sounds.shape)
    return Tracks.from_arrays(WAVEFORM, sounds.reshape(count, *WAVEFORM.clip_shape), labels)


@pytest.mark.parametrize("kind", KINDS)
def test_the_body_gives_the_mean_of_the_published_function_s_embeddings(kind, tmp_path):
    folder = saved_models.save(kind, tmp_path / kind)
    model = build(
        "embedding", feature=WAVEFORM, genre_count=4, settings=ModelSettings(weights=folder)
    )
    windows = np.random.default_rng(0).normal(size=(3, *WAVEFORM.window_shape)).astype(np.float32)
    outputs = model.get_layer(heads.BODY).predict(windows, verbose=0)
    assert outputs.shape == (3, 6)
    loaded = tf.saved_model.load(folder)
    for window, embedding in zip(windows, outputs, strict=True):
        sound = tf.constant(window.reshape(-1))
        if kind == "yamnet":
            _, expected, _ = loaded(sound)
        elif kind == "vggish":
            expected = loaded(sound)
        else:
            expected = loaded.signatures["serving_default"](waveform=sound)["embeddings"]
        assert len(expected) > 2
        np.testing.assert_allclose(embedding, expected.numpy().mean(axis=0), atol=1e-5)


@pytest.mark.parametrize("kind", ["yamnet", "vggish"])
def test_a_head_on_it_learns_and_is_released_without_the_folder(kind, tmp_path, transform_output):
    folder = saved_models.save(kind, tmp_path / kind)
    model = ModelSettings(weights=folder, fine_tune=False)
    chosen = TrainingSettings(model=model, head_epochs=10, head_learning_rate=0.05)
    result = train("embedding", tones(8), tones(4, 1), settings=chosen, genres=GENRE_NAMES)
    assert max(result.history["val_track_accuracy"]) == 1.0
    run = str(tmp_path / "model_run")
    model_run.save(run, result, model_name="embedding", settings=chosen)
    windows = np.random.default_rng(1).normal(size=(2, *WAVEFORM.window_shape)).astype(np.float32)
    expected = result.model(windows).numpy()
    shutil.rmtree(folder)  # what was trained must not depend on the user's folder
    again = model_run.load_branch(run, SHORT)
    np.testing.assert_allclose(again.network(windows), expected, atol=1e-6)
    answer_in_both_loaders(tmp_path / "release", [again], transform_output, GENRE_NAMES)


def test_what_cannot_be_a_body_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(WeightsError, match="name the folder of its SavedModel with --weights"):
        check_weights("embedding", "none")
    with pytest.raises(WeightsError, match="name the folder of its SavedModel with --weights"):
        check_weights("embedding", recommended("embedding").model.weights)
    with pytest.raises(WeightsError, match=r"holds no SavedModel \(no saved_model\.pb\)"):
        check_weights("embedding", str(tmp_path))

    class Scores(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
        def __call__(self, waveform):
            return tf.reduce_mean(waveform)

    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "saved_model.pb").write_bytes(b"no graph")
    tf.saved_model.save(Scores(), str(tmp_path / "scores"))
    for name, reason in (("broken", "parse"), ("scores", r"no embeddings of the form")):
        check_weights("embedding", str(tmp_path / name))
        with pytest.raises(WeightsError, match=rf"maps a 16 kHz waveform.*{reason}.*{name}'$"):
            build(
                "embedding",
                feature=WAVEFORM,
                genre_count=4,
                settings=ModelSettings(weights=str(tmp_path / name)),
            )
