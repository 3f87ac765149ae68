"""The model and the feature of the docs' examples are added as the docs say, and run through."""

import importlib
import re
import shutil
import sys

import numpy as np
import pytest
import tensorflow as tf

from components.audio import catalog as feature_catalog
from components.audio import features
from components.example_gen.component import fingerprint
from components.trainer import models
from components.trainer.catalog import CATALOG
from pipeline import options
from pipeline.local.stages import run_stages
from pipeline.pipeline import create_pipeline, ingest_settings
from tests.conftest import ROOT
from tests.e2e.conftest import assert_served
from tests.example_gen.conftest import sound, write_track
from tests.trainer import saved_models

GENRES = ("blues", "rock")
RATE_HZ = 22_050


def example(page: str, place: str) -> str:
    """The file that a page of the docs shows, which begins with a comment that names it."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)
    (code,) = (block for block in blocks if block.startswith(f"# {place}\n"))
    return code


@pytest.fixture
def added(tmp_path, monkeypatch):
    """A folder beside each package's own that holds the new file, and its line in the catalog."""
    for package, name, place in (
        (features, "loudness", "components/audio/features/loudness.py"),
        (models, "envelope", "components/trainer/models/envelope.py"),
    ):
        page = f"how-to/add-a-{'feature' if package is features else 'model'}.md"
        folder = tmp_path / name
        folder.mkdir()
        (folder / f"{name}.py").write_text(example(page, place))
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    importlib.invalidate_caches()
    monkeypatch.setattr(
        feature_catalog, "FEATURE_NAMES", (*feature_catalog.FEATURE_NAMES, "loudness")
    )
    monkeypatch.setitem(CATALOG, "envelope", models.entry("envelope"))
    yield
    for module in (features.module_name("loudness"), models.module_name("envelope")):
        sys.modules.pop(module, None)


def write_music(folder):
    """Steady tones, and tones that come and go."""
    for index in range(8):
        steady = sound(index)
        write_track(folder, "blues", index, steady)
        pulse = np.sin(np.arange(len(steady)) / RATE_HZ * 2 * np.pi) > 0
        write_track(folder, "rock", index, sound(100 + index) * pulse)
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("added")
def test_a_model_and_a_feature_of_a_file_each_run_through_the_pipeline(tmp_path):
    body = saved_models.save("yamnet", tmp_path / "yamnet")
    music_folder = write_music(tmp_path / "music")
    config, _ = options.parse(
        [
            *("--data", str(music_folder), "--genres", ",".join(GENRES)),
            *("--output", str(tmp_path / "out"), "--models", "envelope,embedding"),
            *("--weights", body, "--min-accuracy", "0", "--min-macro-f1", "0"),
            *("--set", "audio.clip_seconds=4"),
        ]
    )
    dag = create_pipeline(
        config,
        data_fingerprint=fingerprint(config.data.folder, ingest_settings(config)),
        run_id="run",
    )
    results = run_stages(dag)
    assert {"Transform-loudness", "Trainer-envelope", "Evaluator-envelope"} <= results.keys()
    assert len(list((tmp_path / "out" / "serving" / "genre").glob("[0-9]*"))) == 1
    music = tf.constant(sound(7, seconds=10.0)[np.newaxis], tf.float32)
    # And a network of the user's own, in a SavedModel, went through with it.
    for name in ("envelope", "embedding"):
        folder = results[f"Trainer-{name}"].outputs["model"][0].uri
        served = tf.saved_model.load(f"{folder}/Format-Serving")
        answer = served.signatures["classify_audio"](audio=music)
        assert answer["genres"].numpy().tolist() == [[genre.encode() for genre in GENRES]]
        assert answer["window_probabilities"].shape == (1, 2, 2)
        np.testing.assert_allclose(answer["probabilities"].numpy().sum(), 1.0, atol=1e-5)
        # A steady tone is what it has learnt to tell from one that comes and goes.
        assert answer["probabilities"].numpy().argmax() == 0
    shutil.rmtree(body)  # a release holds all that it needs
    model = results["Trainer-embedding"].outputs["model"][0].uri
    shutil.copytree(f"{model}/Format-Serving", tmp_path / "served" / "genre" / "1")
    track = min(music_folder.rglob("*.wav"))
    assert_served(tmp_path / "served" / "genre", track, tmp_path)
