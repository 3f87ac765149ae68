"""The rebuilt networks are the published ones."""

import ast
from collections import Counter

import keras
import numpy as np
import pytest

from components.audio.features import feature
from components.audio.settings import AudioSettings
from components.trainer.catalog import recommended
from components.trainer.models import build, musicnn, musicvgg
from components.trainer.parts import heads, published
from components.trainer.parts.filters import PooledFilters
from components.trainer.weight_sources import published_checkpoint

MUSIC_MEL = feature("music_mel", AudioSettings())
NETWORKS = {
    "MSD_musicnn": musicnn.tagger(),
    "MSD_vgg": musicvgg.tagger(),
    "MTT_musicnn": musicnn.tagger("MTT_musicnn"),
    "MTT_vgg": musicvgg.tagger("MTT_vgg"),
}
# What each data set's networks should say of tracks whose genre is beyond dispute.
TAGS_OF_TRACKS = {
    "MSD": {
        "blues.00000": {"blues"},
        "jazz.00000": {"jazz"},
        "metal.00000": {"metal", "heavy metal"},
        "hiphop.00001": {"Hip-Hop"},
    },
    "MTT": {  # listeners of MagnaTagATune named what they heard, not genres
        "classical.00000": {"classical"},
        "classical.00002": {"strings"},
        "metal.00000": {"rock"},
        "country.00000": {"pop"},
    },
}


@pytest.fixture(scope="module")
def taggers():
    """By name: a whole published network with its 50 tags, and the variables that it holds."""
    made = {}
    for name, network in NETWORKS.items():
        body, weights = network.body(MUSIC_MEL)
        musicnn_tags = name.endswith("musicnn")
        below = body.get_layer("batch_normalization_10") if musicnn_tags else body
        layer = keras.layers.Dense(50, "sigmoid", name="dense_1" if musicnn_tags else "dense")
        tags = weights.linear(layer, layer.name)(below.output)
        model = keras.Model(body.input, tags)
        made[name] = model, weights.load(published_checkpoint(name))
    return made


@pytest.mark.parametrize("name", NETWORKS)
def test_every_published_variable_is_used_once(taggers, name):
    model, used = taggers[name]
    variables = published.published_variables(published_checkpoint(name))
    assert Counter(used) == Counter(variables.keys())
    assert sum(value.size for value in variables.values()) == model.count_params()


@pytest.mark.parametrize("name", NETWORKS)
def test_listeners_tags_come_first(taggers, name, real_music):
    """Four tracks, and a tag for each that should be among the published network's first four."""
    import tensorflow as tf

    from components.audio import codec
    from components.audio.extraction import cut_windows, extract

    data_set = name.partition("_")[0]
    configuration = (published_checkpoint(name).parent / "configuration.py").read_text()
    names = ast.literal_eval(configuration.split(f"{data_set}_LABELS = ")[1].splitlines()[0])
    settings = AudioSettings()
    for track, tags in TAGS_OF_TRACKS[data_set].items():
        path = real_music / "genres_original" / track.split(".")[0] / f"{track}.wav"
        sound = codec.decode(path.read_bytes(), name=track, sample_rate_hz=settings.sample_rate_hz)
        samples = codec.take_clips(sound.samples, settings.clip_samples)
        features, _ = extract(["music_mel"], tf.constant(samples[np.newaxis]), settings)
        matrix = features["music_mel"]
        windows = cut_windows(matrix, MUSIC_MEL.window_frames)[0]
        means = taggers[name][0].predict_on_batch(windows).mean(axis=0)
        first = [names[tag] for tag in means.argsort()[::-1][:4]]
        assert tags & set(first), f"{track}: {first}"


def test_the_taggers_side_by_side_answer_as_each_alone():
    model = build(
        "musictaggers",
        feature=MUSIC_MEL,
        genre_count=10,
        settings=recommended("musictaggers").model,
    )
    body = model.get_layer(heads.BODY)
    windows = np.random.default_rng(0).uniform(0, 4, (2, *MUSIC_MEL.window_shape))
    separate = []
    for name, network in NETWORKS.items():
        part, weights = network.body(MUSIC_MEL)
        weights.load(published_checkpoint(name))
        separate.append(part.predict_on_batch(windows.astype(np.float32)))
    np.testing.assert_allclose(
        body.predict_on_batch(windows.astype(np.float32)),
        np.concatenate(separate, axis=1),
        atol=1e-4,
    )
    # The head sees those of MagnaTagATune at half their size.
    ones = np.ones((1, body.output_shape[-1]), np.float32)
    seen = heads.head_of(model).get_layer("shares")(ones)[0]
    units = sum(values.shape[1] for values in separate[:2])
    assert set(np.array(seen[:units])) == {1.0} and set(np.array(seen[units:])) == {0.5}


@pytest.mark.parametrize("kernel", [(7, 5), (6, 1), (32, 1)])
def test_pooling_first_changes_nothing(kernel):
    """Against convolution, ReLU, normalisation and maximum in the published order."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(2, 21, 9)).astype(np.float32)
    filters = PooledFilters(3, kernel)
    filters.build(inputs.shape)
    values = [rng.normal(size=weight.shape).astype(np.float32) for weight in filters.weights]
    values[2] = np.array([1.5, -2.0, 0.3], np.float32)  # gamma: rising and falling lines
    values[-1] = np.abs(values[-1])
    filters.set_weights(values)
    weights, bias, gamma, beta, mean, variance = values

    temporal = kernel[1] == 1
    padding = ((0, 0), (0, 0)) if temporal else (((kernel[0] - 1) // 2, kernel[0] // 2), (0, 0))
    x = keras.layers.ZeroPadding2D(padding)(inputs[..., np.newaxis])
    x = keras.ops.conv(x, weights, padding="same" if temporal else "valid")
    x = (keras.ops.relu(x + bias) - mean) / np.sqrt(variance + 1e-3) * gamma + beta
    np.testing.assert_allclose(filters(inputs), keras.ops.max(x, axis=2), atol=1e-4)
