"""Networks of keras.applications that read a spectrogram as if it were a photograph.

`backbone_entry` makes the catalog entry of one. Keras is imported within functions, so that the
command line can read the entries without it.
"""

import functools
from typing import TYPE_CHECKING

from components.audio.features import Feature
from components.trainer.model_entry import ModelEntry
from components.trainer.settings import (
    IMAGENET,
    NO_WEIGHTS,
    SPECTROGRAM_AUGMENTATION,
    ModelSettings,
    TrainingSettings,
)
from components.trainer.weight_sources import ImageNet

if TYPE_CHECKING:
    import keras

# Of the running statistics of normalisations, where they are trained: a run here has hundreds of
# steps, after which ImageNet's 0.999 would still hold the values that it started from.
_MOMENTUM = 0.9

# A standardised log-mel value this far from the mean is black or white.
_CONTRAST = 3.0

# Blue, green, red: ImageNet's mean of each channel on a scale to 255 ("caffe").
_CAFFE_MEANS = (103.939, 116.779, 123.68)

# Red, green, blue: ImageNet's mean and deviation of each channel on a scale to 1 ("torch").
_TORCH_MEANS = (0.485, 0.456, 0.406)
_TORCH_DEVIATIONS = (0.229, 0.224, 0.225)


def scratch_settings(
    *, shrink: int, epochs: int, learning_rate: float, batch_size: int = 32
) -> TrainingSettings:
    """Settings with which a backbone learns from a few hundred tracks in minutes on two cores.

    Args:
      shrink: See `ModelSettings`.
      epochs: Of four windows of every track.
      learning_rate: The highest one.
      batch_size: Windows in a step; fewer of them make more steps of an epoch.
    """
    return TrainingSettings(
        model=ModelSettings(shrink=shrink),
        augmentation=SPECTROGRAM_AUGMENTATION,
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
    )


def backbone_entry(
    name: str,
    *,
    application: str,
    preprocessing: str,
    imagenet_url: str,
    scratch: TrainingSettings,
    least_mel_bins: int = 32,
    least_window_frames: int = 1,
    first_layer: str = "",
) -> ModelEntry:
    """The entry of a model whose body is a network of keras.applications.

    Args:
      name: The model's name.
      application: Name of the network in `keras.applications`.
      preprocessing: How ImageNet's photographs were scaled for it: `caffe`, `tf` or `torch`, as
        `keras.applications.imagenet_utils.preprocess_input` calls it.
      imagenet_url: The file without the top that Keras downloads for windows of 128 × 128.
      scratch: The settings for `--weights none`; `scratch_settings` makes them.
      least_mel_bins: Fewest bands; keras.applications refuses fewer.
      least_window_frames: Fewest frames in a window.
      first_layer: Name of the network's first layer after the preprocessing that Keras has built
        into it; empty where it has none.

    Examples:
      >>> from components.audio.features import feature
      >>> from components.audio.settings import AudioSettings
      >>> from components.trainer.models import vgg16
      >>> log_mel = feature("log_mel", AudioSettings())
      >>> small = vgg16.ENTRY.from_scratch.model  # a fourth of the channels, no weights
      >>> vgg16.ENTRY.build(feature=log_mel, genre_count=10, settings=small).output_shape
      (None, 10)
    """
    return ModelEntry(
        name=name,
        feature="log_mel",
        build=functools.partial(
            _build,
            name,
            application=application,
            preprocessing=preprocessing,
            first_layer=first_layer,
        ),
        recommended=TrainingSettings(
            model=ModelSettings(weights=IMAGENET, fine_tune_share=0.5),
            augmentation=SPECTROGRAM_AUGMENTATION,
            epochs=15,
            windows_per_track=2,
            # Without effect but where `--set` takes the weights away; VGG bears no higher rate.
            learning_rate=3e-4,
        ),
        from_scratch=scratch,
        least_mel_bins=least_mel_bins,
        least_window_frames=least_window_frames,
        weights=ImageNet(imagenet_url),
    )


def _build(
    name: str,
    *,
    application: str,
    preprocessing: str,
    first_layer: str,
    feature: Feature,
    genre_count: int,
    settings: ModelSettings,
) -> "keras.Model":
    """The backbone without its top, pooled over the picture, and a head for genres.

    The layers do not depend on the weights, because the network is built again without them when
    it is exported.
    """
    import keras
    from keras import layers

    from components.trainer.parts.heads import BODY, load_body, pretrained
    from components.trainer.parts.normalisation import with_fused_normalisations

    frames, bins = feature.window_shape
    window = keras.Input(feature.window_shape, name=feature.name)
    x = layers.Reshape((frames, bins, 1))(window)
    x = layers.Permute((2, 1, 3))(x)  # a picture: frequency is its height, time its width
    if settings.shrink > 1:
        x = layers.AveragePooling2D(settings.shrink)(x)
    height, width = x.shape[1:3]
    x = layers.Rescaling(127.5 / _CONTRAST, offset=127.5)(x)
    x = layers.Concatenate()([x, x, x])
    x = preprocess(x, preprocessing)
    network = getattr(keras.applications, application)(
        include_top=False,
        weights=IMAGENET if settings.weights == IMAGENET else None,
        input_shape=(height, width, 3),
        pooling="avg",
    )
    network = with_fused_normalisations(network, momentum=_MOMENTUM)
    core = network
    if first_layer:
        # Keras's own preprocessing depends on the weights, and `preprocess` has been applied.
        first = network.get_layer(first_layer)
        core = keras.Model(first.input, network.output, name=network.name)
    body = keras.Model(window, core(x), name=BODY)
    if settings.weights not in (NO_WEIGHTS, IMAGENET):
        load_body(body, settings.weights, model_name=name, network=network)
    return pretrained(name, body, genre_count=genre_count, settings=settings)


def preprocess(picture: "keras.KerasTensor", mode: str) -> "keras.KerasTensor":
    """`keras.applications.imagenet_utils.preprocess_input` as layers that can be exported.

    Args:
      picture: float32 [batch, height, width, 3], 0 to 255, all channels equal.
      mode: `caffe`, `tf` or `torch`.
    """
    from keras import layers

    if mode == "caffe":
        # All three channels are equal, so that turning RGB into BGR changes nothing.
        return layers.Rescaling(1.0, offset=[-mean for mean in _CAFFE_MEANS])(picture)
    if mode == "tf":
        return layers.Rescaling(1.0 / 127.5, offset=-1.0)(picture)
    return layers.Rescaling(
        [1.0 / (255.0 * deviation) for deviation in _TORCH_DEVIATIONS],
        offset=[
            -mean / deviation
            for mean, deviation in zip(_TORCH_MEANS, _TORCH_DEVIATIONS, strict=True)
        ],
    )(picture)
