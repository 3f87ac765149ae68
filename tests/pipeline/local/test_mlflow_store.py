"""A moved output folder keeps its pictures in MLflow."""

import mlflow
from matplotlib.figure import Figure

from pipeline.local import mlflow_store


def make_store(output) -> str:
    output.mkdir()
    client = mlflow.MlflowClient(f"sqlite:///{output}/mlflow.db")
    place = (output / mlflow_store.ARTIFACT_FOLDER).as_uri()
    experiment = client.create_experiment("gatefold", artifact_location=place)
    run = client.create_run(experiment).info.run_id
    client.log_figure(run, Figure(), "curve.png")
    return run


def test_pictures_are_found_where_the_folder_was_moved_to(tmp_path):
    run = make_store(tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new place")
    assert mlflow_store.follow(tmp_path / "new place") == 2  # the experiment and its run
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/new place/mlflow.db")
    assert [file.path for file in client.list_artifacts(run)] == ["curve.png"]
    client.download_artifacts(run, "curve.png", str(tmp_path))
    assert (tmp_path / "curve.png").stat().st_size
    assert mlflow_store.follow(tmp_path / "new place") == 0


def test_a_folder_without_a_store_is_left_alone(tmp_path):
    assert mlflow_store.follow(tmp_path) == 0
    assert not list(tmp_path.iterdir())


def test_a_store_whose_making_was_killed_is_made_anew(tmp_path):
    (tmp_path / "mlflow.partial").write_bytes(b"tables that a kill left half made")
    mlflow_store.create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [mlflow_store.DATABASE_FILE]
    client = mlflow.MlflowClient(mlflow_store.uri(tmp_path))
    client.create_experiment("gatefold")
    mlflow_store.create(tmp_path)
    assert client.get_experiment_by_name("gatefold")
