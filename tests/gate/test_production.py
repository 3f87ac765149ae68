"""The candidate beside the model in production, which the gate finds and asks itself."""

from pathlib import Path

import pytest
import tensorflow as tf

from components.common.releases import ReleaseStore
from components.gtzan.genres import GENRES
from tests.gate import tone_world
from tests.gate.test_executor import HONEST, failed, saved, without_an_answer
from tests.gate.tone_world import Listener, artifact


@pytest.fixture
def serving(tmp_path) -> Path:
    return tmp_path / "serving" / "genre"


@pytest.fixture(scope="module")
def second(world, good) -> dict:
    """Right on three of four tracks, and honest about it."""
    return world.candidate("honest", HONEST)


@pytest.fixture(scope="module")
def renamed(world, tmp_path_factory) -> Path:
    """A SavedModel whose last genre has another name."""
    folder = tmp_path_factory.mktemp("renamed") / "Format-Serving"
    Listener().save(folder, (*GENRES[:-1], "polka"))
    return folder


def push(serving: Path, model: str | Path, training: tuple[str, ...] = ()) -> Path:
    """Puts a model into production, trained on tracks of these contents; gives its folder."""
    listed = serving.parent / "training_tracks.txt"
    listed.parent.mkdir(parents=True, exist_ok=True)
    listed.write_text("".join(f"{content}\n" for content in training))
    pushed = ReleaseStore(str(serving)).push(
        str(model),
        release={"model": "cnn"},
        evidence={"assets.extra/training_tracks.txt": str(listed)},
    )
    return Path(pushed.path)


def against(report: dict) -> dict:
    return report["models"]["m"]["against_production"]


def test_the_same_model_is_noticed_and_another_one_compared_with_its_answers(
    world, good, second, serving
):
    push(serving, saved(good))
    report = world.judge({"m": good, "other": second}, serving=serving)
    assert failed(report) == {}
    assert against(report)["same_model"]
    assert report["production"]["note"].endswith("is m of this run")
    assert report["production"]["checksum"] == report["models"]["m"]["checksum"]
    other = report["models"]["other"]["against_production"]
    assert (other["tracks"], other["only_candidate"], other["only_production"]) == (40, 0, 10)


def test_a_worse_model_is_refused_with_the_tracks_that_it_loses(world, good, second, serving):
    """Production is no model of this run: its SavedModel is loaded and asked."""
    push(serving, saved(good))
    report = world.judge({"m": second}, serving=serving)
    rows = failed(report)
    assert set(rows) == {"production_accuracy", "production_log_loss"}
    assert "production alone 10" in rows["production_accuracy"]
    compared = against(report)
    assert compared["accuracy_difference"][0] == -0.25
    assert compared["mcnemar_p"] == pytest.approx(2 / 2**10)
    assert len(compared["track_changes"]) == 10
    assert compared["track_changes"][0]["production"] == compared["track_changes"][0]["genre"]


def test_a_better_model_passes(world, good, second, serving):
    push(serving, saved(second))
    report = world.judge({"m": good}, serving=serving)
    assert failed(report) == {}
    assert (against(report)["only_candidate"], against(report)["only_production"]) == (10, 0)
    assert report["production"]["compared"] and report["production"]["model"] == "cnn"
    assert report["production"]["figures"]["accuracy"]["value"] == 0.75
    assert report["production"]["tracks"] == 40 and len(report["production"]["by_genre"]) == 10
    rows = {row["gate"]: row for row in report["models"]["m"]["gates"]}
    assert rows["production_accuracy"]["reference"] == 0.75
    losses = report["production"]["figures"]["log_loss"]
    assert rows["production_log_loss"]["reference"] == pytest.approx(losses["value"])


def test_tracks_that_production_was_trained_on_are_left_out_and_counted(
    world, good, second, serving
):
    """Without the ten tracks that it loses, the second model is as good as production."""
    lost = tuple(one.content for one in tone_world.tracks() if one.track_id.endswith("3"))
    push(serving, saved(good), training=(*lost, "of another data set"))
    report = world.judge({"m": second}, serving=serving)
    assert set(failed(report)) == {"production_log_loss"}  # it is less sure
    assert (against(report)["tracks"], against(report)["left_out"]) == (30, 10)
    assert "10 more are left out" in report["production"]["note"]
    assert (report["production"]["tracks"], report["production"]["left_out"]) == (30, 10)
    rows = {row["gate"]: row for row in report["models"]["m"]["gates"]}
    assert rows["production_accuracy"]["reference"] == 1.0


def test_a_production_that_was_trained_on_all_test_tracks_cannot_be_compared(
    world, good, second, serving
):
    push(serving, saved(good), training=tuple(one.content for one in tone_world.tracks()))
    rows = failed(world.judge({"m": second}, serving=serving))
    assert "no track is left to compare on" in rows["production_accuracy"]


def test_other_genres_need_a_waiver_that_is_recorded(world, good, renamed, serving):
    push(serving, renamed)
    report = world.judge({"m": good}, serving=serving)
    rows = failed(report)
    assert set(rows) == {"production_accuracy", "production_log_loss"}
    assert "without polka; new rock" in rows["production_accuracy"]
    waived = world.judge({"m": good}, serving=serving, replace_incompatible=True)
    assert failed(waived) == {}
    (waiver,) = (one for one in waived["waivers"] if one["gate"] == "production")
    assert "--replace-incompatible" in waiver["reason"] and "polka" in waiver["reason"]


def test_a_signature_that_is_gone_needs_a_waiver(world, good, serving, tmp_path):
    poorer = {**good, "model": artifact(type(good["model"]), tmp_path / "poorer")}
    model = Listener()
    tf.saved_model.save(model, saved(poorer), signatures={"serving_default": model.serving_default})
    push(serving, saved(good))
    rows = failed(world.judge({"m": poorer}, serving=serving))
    assert (
        "the signature classify_audio, classify_wav is not that of" in rows["production_accuracy"]
    )
    waived = world.judge({"m": poorer}, serving=serving, replace_incompatible=True)
    assert failed(waived) == {}


def test_a_waiver_does_not_let_a_worse_model_pass(world, good, second, serving):
    push(serving, saved(good))
    report = world.judge({"m": second}, serving=serving, replace_incompatible=True)
    assert set(failed(report)) == {"production_accuracy", "production_log_loss"}
    assert not [one for one in report["waivers"] if one["gate"] == "production"]


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (
            lambda path: (path / "saved_model.pb").write_bytes(b"short"),
            "was altered: saved_model.pb",
        ),
        (lambda path: next((path / "variables").glob("*data*")).write_bytes(b""), "was altered"),
    ],
)
def test_a_production_that_was_altered_refuses_unless_waived(
    world, good, second, serving, harm, says
):
    harm(push(serving, saved(second)))
    rows = failed(world.judge({"m": good}, serving=serving))
    assert set(rows) == {"production_accuracy", "production_log_loss"}
    assert says in rows["production_accuracy"]
    assert failed(world.judge({"m": good}, serving=serving, replace_incompatible=True)) == {}


def test_a_damaged_version_of_this_very_model_is_recognised_so_that_the_push_mends_it(
    world, good, serving
):
    (push(serving, saved(good)) / "saved_model.pb").write_bytes(b"short")
    report = world.judge({"m": good}, serving=serving)
    assert failed(report) == {} and against(report)["same_model"]


def test_a_version_that_no_loader_can_read_refuses(world, good, serving):
    """Its files are what its release.json says, and no model."""
    folder = serving.parent / "broken"
    (folder / "assets").mkdir(parents=True)
    (folder / "assets" / "genres.txt").write_text("".join(f"{one}\n" for one in GENRES))
    (folder / "saved_model.pb").write_bytes(b"no protocol buffer")
    push(serving, folder)
    rows = failed(world.judge({"m": good}, serving=serving))
    assert "does not answer" in rows["production_accuracy"]


def test_a_version_from_elsewhere_without_a_release_file_is_compared_all_the_same(
    world, good, second, serving
):
    path = push(serving, saved(good))
    (path / "assets.extra" / "release.json").unlink()
    (path / "assets.extra" / "training_tracks.txt").unlink()
    report = world.judge({"m": second}, serving=serving)
    assert set(failed(report)) == {"production_accuracy", "production_log_loss"}
    assert "does not say what it was trained on" in report["production"]["note"]


def test_an_unreadable_serving_folder_refuses(world, good, serving):
    serving.parent.mkdir(parents=True)
    serving.write_text("a file where the folder should be")
    rows = failed(world.judge({"m": good}, serving=serving))
    assert set(rows) == {"production_accuracy", "production_log_loss"}


def test_a_production_that_is_a_model_of_this_run_and_left_a_track_unanswered_is_no_reference(
    world, good, second, serving, tmp_path
):
    """NaN beside it would count as the first genre."""
    push(serving, saved(good))
    holed, _ = without_an_answer(good, tmp_path)
    report = world.judge({"holed": holed, "m": second}, serving=serving)
    rows = failed(report)
    assert set(rows) == {"production_accuracy", "production_log_loss"}
    assert (
        "is holed of this run, which did not answer every test track" in rows["production_accuracy"]
    )
    assert report["models"]["holed"]["against_production"]["same_model"]
    assert "figures" not in report["production"]
