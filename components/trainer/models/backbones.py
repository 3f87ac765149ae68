"""Networks of keras.applications that read a spectrogram as if it were a photograph."""

from typing import Any

import keras
from keras import layers

from components.audio.features import Feature
from components.trainer.models.heads import BODY, load_body, pretrained
from components.trainer.settings import IMAGENET, NO_WEIGHTS, ModelSettings
from components.trainer.weights import IMAGENET_MD5, IMAGENET_URLS, imagenet_cache

_NETWORKS: dict[str, Any] = {
    "vgg16": keras.applications.VGG16,
    "vgg19": keras.applications.VGG19,
    "efficientnetb0": keras.applications.EfficientNetB0,
    "inceptionv3": keras.applications.InceptionV3,
    "mobilenetv2": keras.applications.MobileNetV2,
}

# Of the normalisations' running statistics, where they are trained at all: a run here has hundreds
# of steps, after which ImageNet's 0.999 would still hold the values it started from.
_MOMENTUM = 0.9

# A standardised log-mel value this far from the mean is black or white.
_CONTRAST = 3.0

# VGG's own preprocessing: blue, green, red, less ImageNet's mean of each on a scale to 255.
_VGG_MEANS = (103.939, 116.779, 123.68)

# EfficientNet's: red, green, blue to 1, less ImageNet's mean, by its deviation.
_MEANS = (0.485, 0.456, 0.406)
_DEVIATIONS = (0.229, 0.224, 0.225)


def build(name: str, *, feature: Feature, genre_count: int, settings: ModelSettings) -> keras.Model:
    """The backbone without its top, pooled over the picture, and a head for genres."""
    body, network = _body(name, feature)
    weights = _imagenet_file(name) if settings.weights == IMAGENET else settings.weights
    if weights != NO_WEIGHTS:
        load_body(body, weights, model_name=name, network=network)
    return pretrained(name, body, genre_count=genre_count, settings=settings)


def _imagenet_file(name: str) -> str:
    """The published weights without the top, downloaded where they are not here yet."""
    found: str = keras.utils.get_file(
        imagenet_cache(name).name,
        origin=IMAGENET_URLS[name],
        cache_subdir="models",
        file_hash=IMAGENET_MD5.get(name),
    )
    return found


def _body(name: str, feature: Feature) -> tuple[keras.Model, keras.Model]:
    """The body, and the network in it with the layers that files of keras.applications hold.

    What it is made of does not depend on the weights: it is built again without them to be
    exported.
    """
    frames, bins = feature.window_shape
    window = keras.Input(feature.window_shape, name=feature.name)
    x = layers.Reshape((frames, bins, 1))(window)
    x = layers.Permute((2, 1, 3))(x)  # a picture: frequency is its height, time its width
    x = layers.Rescaling(127.5 / _CONTRAST, offset=127.5)(x)
    x = layers.Concatenate()([x, x, x])
    x = _preprocess(name, x)
    network = _NETWORKS[name](
        include_top=False, weights=None, input_shape=(bins, frames, 3), pooling="avg"
    )
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = _MOMENTUM
    core = network
    if name == "efficientnetb0":
        # Keras would preprocess inside, for ImageNet's weights otherwise than without: we do.
        stem = network.get_layer("stem_conv_pad")
        core = keras.Model(stem.input, network.output, name=network.name)
    return keras.Model(window, core(x), name=BODY), network


def _preprocess(name: str, picture: keras.KerasTensor) -> keras.KerasTensor:
    """What `keras.applications.<family>.preprocess_input` does, as layers that can be exported."""
    if name in ("vgg16", "vgg19"):
        # All three channels are equal, so that turning RGB into BGR changes nothing.
        return layers.Rescaling(1.0, offset=[-mean for mean in _VGG_MEANS])(picture)
    if name in ("inceptionv3", "mobilenetv2"):
        return layers.Rescaling(1.0 / 127.5, offset=-1.0)(picture)
    return layers.Rescaling(
        [1.0 / (255.0 * deviation) for deviation in _DEVIATIONS],
        offset=[-mean / deviation for mean, deviation in zip(_MEANS, _DEVIATIONS, strict=True)],
    )(picture)
