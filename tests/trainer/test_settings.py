"""Training settings, and the checks of weights and settings before any work."""

import dataclasses
import json

import pytest
from pydantic import ValidationError

from components.audio.settings import AudioSettings
from components.trainer.catalog import CATALOG, recommended
from components.trainer.checks import check_audio, check_weights
from components.trainer.settings import IMAGENET, NO_WEIGHTS, TrainingSettings
from components.trainer.weight_sources import ImageNet, WeightsError

BACKBONES = {
    name: entry.weights.url
    for name, entry in CATALOG.items()
    if isinstance(entry.weights, ImageNet)
}
TRAINED = [name for name in CATALOG if name != "ensemble"]


@pytest.mark.parametrize("name", TRAINED)
def test_settings_survive_json(name):
    settings = recommended(name)
    assert TrainingSettings(**json.loads(json.dumps(dataclasses.asdict(settings)))) == settings


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_from_scratch_has_settings_of_its_own(name):
    pretrained, scratch = recommended(name), recommended(name, NO_WEIGHTS)
    assert pretrained.model.weights == IMAGENET
    # What `--set training.model.weights=none` trains with, a network without normalisation too.
    assert pretrained.learning_rate <= recommended("vgg16", NO_WEIGHTS).learning_rate
    assert recommended(name, "body.h5") == dataclasses.replace(
        pretrained, model=dataclasses.replace(pretrained.model, weights="body.h5")
    )
    assert scratch.model.weights == NO_WEIGHTS
    assert scratch.epochs * scratch.windows_per_track > 1.5 * (
        pretrained.epochs * pretrained.windows_per_track
    )
    check_audio(name, AudioSettings(), scratch.model)


def test_weights_for_others_leave_a_model_s_settings_alone():
    assert recommended("cnn", NO_WEIGHTS) == recommended("cnn")
    assert recommended("musicnn", NO_WEIGHTS) == recommended("musicnn")


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"epochs": 0}, "epochs"),
        ({"weight_decay": float("nan")}, "weight_decay"),
        ({"learning_rate": float("inf")}, "learning_rate"),
        ({"seed": 2**32}, "seed"),
        ({"mixed_precision": "maybe"}, "mixed_precision"),
        ({"model": {"width": 0.0}}, "model.width"),
        ({"augmentation": {"time_stretch": 1.0}}, "augmentation.time_stretch"),
        ({"speed": 3}, "speed"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values, field):
    with pytest.raises(ValidationError) as raised:
        TrainingSettings(**values)
    (fault,) = raised.value.errors()
    assert ".".join(fault["loc"]) == field


def test_settings_of_no_model_are_refused():
    with pytest.raises(ValueError, match="Received: 'ensemble'"):
        recommended("ensemble")


def test_epochs_of_all_phases_are_counted():
    settings = recommended("musicnn")
    assert settings.most_epochs == settings.head_epochs
    tuned = dataclasses.replace(settings.model, fine_tune=True)
    assert dataclasses.replace(settings, model=tuned).most_epochs == (
        settings.head_epochs + settings.epochs
    )
    scratch = dataclasses.replace(settings.model, weights=NO_WEIGHTS)
    assert dataclasses.replace(settings, model=scratch).most_epochs == settings.epochs


@pytest.mark.usefixtures("no_network")
def test_imagenet_out_of_reach_says_what_to_do_instead(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    for name in BACKBONES:
        with pytest.raises(WeightsError, match=rf"{name}.*--weights FILE.*--weights none"):
            check_weights(name, "imagenet")


@pytest.mark.usefixtures("no_network")
def test_imagenet_weights_that_are_here_need_no_network(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    for name, url in BACKBONES.items():
        (tmp_path / "models" / url.rsplit("/", 1)[1]).write_bytes(b"weights")
        check_weights(name, "imagenet")


def test_a_weights_file_is_looked_at_before_any_work(tmp_path):
    with pytest.raises(WeightsError, match=r"--weights: .* cannot be read .*no\.h5'"):
        check_weights("vgg16", str(tmp_path / "no.h5"))
    (tmp_path / "notes.h5").write_text("hello")
    with pytest.raises(WeightsError, match=r"--weights: .* not an HDF5 file.*notes\.h5'"):
        check_weights("vgg16", str(tmp_path / "notes.h5"))


@pytest.mark.parametrize(
    ("name", "weights"),
    [("cnn", "imagenet"), ("vgg16", "msd"), ("musicnn", "imagenet"), ("vgg19", "/no/such.h5")],
)
def test_weights_that_do_not_suit_the_model_are_refused(name, weights):
    with pytest.raises(WeightsError, match=f"{name}.*Received: '{weights}'"):
        check_weights(name, weights)


def test_the_places_of_imagenet_weights_are_those_that_keras_asks(monkeypatch):
    """The command line checks the file that Keras will download when the model is built."""
    import keras

    from components.trainer.models import build
    from tests.trainer.conftest import described

    asked = {}

    def get_file(fname, origin, **_):
        asked[name] = (fname, origin)
        raise FileNotFoundError

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    for name in BACKBONES:
        settings = recommended(name).model
        with pytest.raises(FileNotFoundError):
            build(name, feature=described(name), genre_count=4, settings=settings)
        keras.backend.clear_session()
    assert asked == {name: (url.rsplit("/", 1)[1], url) for name, url in BACKBONES.items()}
