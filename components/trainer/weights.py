"""Whether the weights that a model is to start from can be had, asked before any training.

Pure Python, so that the command line can ask at no cost.
"""

import importlib.util
import os
import urllib.request
from pathlib import Path

from components.errors import UserError
from components.trainer.catalog import CATALOG
from components.trainer.settings import IMAGENET, MILLION_SONG, NO_WEIGHTS

_TENSORFLOW = "https://storage.googleapis.com/tensorflow/keras-applications/"
IMAGENET_URLS = {
    "vgg16": _TENSORFLOW + "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "vgg19": _TENSORFLOW + "vgg19/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "efficientnetb0": "https://storage.googleapis.com/keras-applications/efficientnetb0_notop.h5",
    "inceptionv3": _TENSORFLOW
    + "inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "mobilenetv2": _TENSORFLOW
    # A window is a picture of 128 × 128.
    + "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_128_no_top.h5",
}
# Keras's own; it has none of mobilenetv2.
IMAGENET_MD5 = {
    "vgg16": "6d6bbae143d832006294945121d1f1fc",
    "vgg19": "253f8cb515780f3b799900260a226db6",
    "efficientnetb0": "50bc09e76180e00e4465e1a485ddc09d",
    "inceptionv3": "bcbd6486424b2319ff4ef7d526e38f63",
}
_TIMEOUT_SECONDS = 5.0
_HDF5 = b"\x89HDF\r\n\x1a\n"  # how such a file begins


class WeightsError(UserError):
    """The weights that were asked for cannot be had; the message says what to do instead."""


def check_weights(name: str, weights: str, *, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
    """Fails early where a training would fail late.

    Args:
      name: A name of the catalog.
      weights: `none`, `imagenet`, `msd`, or the path of a weights file (one with `://` in it is
        only looked for when it is read).
      timeout_seconds: How long to wait for the server that has ImageNet's weights.

    Raises:
      WeightsError: The model cannot start from such weights, or they are out of reach.
    """
    music = name in ("musicnn", "musicvgg")
    if weights == NO_WEIGHTS:
        return
    if not (CATALOG[name].backbone or music):
        raise WeightsError(
            f"{name} is trained from scratch: give it weights {NO_WEIGHTS!r}. Received: {weights!r}"
        )
    if weights == IMAGENET:
        if music:
            raise WeightsError(
                f"{name} starts from {MILLION_SONG!r}, {NO_WEIGHTS!r} or a file. "
                f"Received: {weights!r}"
            )
        _check_imagenet(name, timeout_seconds)
    elif weights == MILLION_SONG:
        if not music:
            raise WeightsError(
                f"{name} starts from {IMAGENET!r}, {NO_WEIGHTS!r} or a file. Received: {weights!r}"
            )
        if importlib.util.find_spec("musicnn") is None:
            raise WeightsError(
                f"the weights of {name} come with the PyPI package musicnn, which is not "
                "installed: `pip install --no-deps musicnn==0.1.0`, or use --weights none"
            )
    elif "://" not in weights:
        _check_file(name, Path(weights))


def _check_file(name: str, path: Path) -> None:
    try:
        with path.open("rb") as file:
            found = file.read(len(_HDF5))
    except OSError as error:
        raise WeightsError(
            f"--weights: the file for {name} cannot be read ({error.strerror}): give another, or "
            f"{NO_WEIGHTS}. Received: {str(path)!r}"
        ) from error
    if found != _HDF5:
        raise WeightsError(
            f"--weights: the file for {name} is no HDF5 file, as Keras writes with save_weights. "
            f"Received: {str(path)!r}"
        )


def imagenet_cache(name: str) -> Path:
    """Where Keras keeps the ImageNet weights of a backbone once it has them."""
    home = os.environ.get("KERAS_HOME") or Path("~/.keras").expanduser()
    return Path(home) / "models" / IMAGENET_URLS[name].rsplit("/", 1)[1]


def _check_imagenet(name: str, timeout_seconds: float) -> None:
    cached = imagenet_cache(name)
    if cached.is_file():
        return
    url = IMAGENET_URLS[name]
    try:
        request = urllib.request.Request(url, method="HEAD")
        with urllib.request.urlopen(request, timeout=timeout_seconds):
            return
    except OSError as error:
        raise WeightsError(
            f"the ImageNet weights of {name} are neither here ({cached}) nor can they be "
            f"downloaded ({error}). Fetch {url} where there is a network and give the file with "
            f"--weights FILE (or put it at that place), or train from scratch with "
            f"--weights {NO_WEIGHTS}"
        ) from error
