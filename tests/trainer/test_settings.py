import dataclasses
import json

import pytest

from components.trainer.catalog import CATALOG
from components.trainer.settings import NO_WEIGHTS, TrainingSettings, from_dict, recommended
from components.trainer.weights import IMAGENET_MD5, IMAGENET_URLS, WeightsError, check_weights

TRAINED = [name for name in CATALOG if name != "ensemble"]


@pytest.mark.parametrize("name", TRAINED)
def test_settings_survive_json(name):
    settings = recommended(name)
    assert from_dict(json.loads(json.dumps(dataclasses.asdict(settings)))) == settings


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match=r"epochs must be at least 1\. Received: 0"):
        TrainingSettings(epochs=0)
    with pytest.raises(ValueError, match=r"weight_decay must be a finite number\. Received: nan"):
        TrainingSettings(weight_decay=float("nan"))
    with pytest.raises(
        ValueError, match=r"seed must be from 0 to 4294967295\. Received: 4294967296"
    ):
        TrainingSettings(seed=2**32)
    with pytest.raises(ValueError, match="Received: 'maybe'"):
        TrainingSettings(mixed_precision="maybe")
    with pytest.raises(ValueError, match="Received: \\['speed'\\]"):
        from_dict({"speed": 3})
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
    monkeypatch.setitem(IMAGENET_URLS, "vgg16", "https://127.0.0.1:9/vgg16.h5")
    with pytest.raises(WeightsError, match=r"--weights FILE.*--weights none"):
        check_weights("vgg16", "imagenet", timeout_seconds=1.0)


def test_imagenet_weights_that_are_here_need_no_network(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setitem(IMAGENET_URLS, "vgg16", "https://127.0.0.1:9/vgg16.h5")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "vgg16.h5").write_bytes(b"weights")
    check_weights("vgg16", "imagenet", timeout_seconds=1.0)


def test_a_weights_file_is_looked_at_before_any_work(tmp_path):
    with pytest.raises(WeightsError, match=r"--weights: .* cannot be read .*no\.h5'"):
        check_weights("vgg16", str(tmp_path / "no.h5"))
    (tmp_path / "notes.h5").write_text("hello")
    with pytest.raises(WeightsError, match=r"--weights: .* no HDF5 file.*notes\.h5'"):
        check_weights("vgg16", str(tmp_path / "notes.h5"))


@pytest.mark.parametrize(
    ("name", "weights"),
    [("cnn", "imagenet"), ("vgg16", "msd"), ("musicnn", "imagenet"), ("vgg19", "/no/such.h5")],
)
def test_weights_that_do_not_suit_the_model_are_refused(name, weights):
    with pytest.raises(WeightsError, match=f"{name}.*Received: '{weights}'"):
        check_weights(name, weights)


def test_the_places_of_imagenet_weights_are_those_that_keras_asks(monkeypatch):
    """keras.applications itself is asked, with the picture that a window is."""
    import keras

    from components.trainer.models import backbones
    from tests.trainer.conftest import described

    asked = {}

    def get_file(fname, origin, file_hash=None, **_):
        asked[name] = (fname, origin, file_hash)
        raise FileNotFoundError

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    for name in IMAGENET_URLS:
        reads = described(name)
        shape = (reads.bins, reads.window_frames, 3)
        with pytest.raises(FileNotFoundError):
            backbones._NETWORKS[name](include_top=False, input_shape=shape)
        keras.backend.clear_session()
    for name, url in IMAGENET_URLS.items():
        assert asked[name] == (url.rsplit("/", 1)[1], url, IMAGENET_MD5.get(name))
