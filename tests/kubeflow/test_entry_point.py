"""Where the entry point makes folders, and what it makes of pictures without figures."""

import pytest
from kfp.pipeline_spec import pipeline_spec_pb2

from kubeflow import entry_point, pictures


@pytest.mark.parametrize(
    ("uri", "folder"),
    [
        ("s3://bucket/root/run/task/1/report", "s3/bucket/root/run/task/1/report"),
        ("gs://bucket/root/run/task/1/report", "gcs/bucket/root/run/task/1/report"),
    ],
)
def test_an_output_in_an_object_store_gets_a_folder_where_the_launcher_looks(tmp_path, uri, folder):
    outputs = pipeline_spec_pb2.ExecutorInput.Outputs()
    outputs.artifacts["report"].artifacts.add(uri=uri)
    entry_point.make_folders(outputs, tmp_path)
    assert not list(tmp_path.iterdir())  # no launcher has mounted anything here
    (tmp_path / folder.partition("/")[0]).mkdir()
    for _ in range(2):  # again after a retry in the same pod
        entry_point.make_folders(outputs, tmp_path)
        assert (tmp_path / folder).is_dir()


def test_a_file_that_is_there_stays(tmp_path):
    (tmp_path / "page").write_text("<html>")
    outputs = pipeline_spec_pb2.ExecutorInput.Outputs()
    outputs.artifacts["page"].artifacts.add(uri=str(tmp_path / "page"))
    entry_point.make_folders(outputs)
    assert (tmp_path / "page").read_text() == "<html>"


def test_a_model_without_answers_has_no_accuracy_and_no_matrix():
    """Kubeflow cannot record null."""
    report = {
        "chosen": None,
        "genres": ["blues", "jazz"],
        "models": {
            "ann": {"figures": {}, "validation": {"accuracy": 0.9}, "confusion": []},
            "cnn": {"figures": {"accuracy": {"value": 0.5}}, "confusion": [[1, 0], [1, 0]]},
        },
    }
    assert pictures.accuracies(report) == {"cnn": 0.5}
    assert pictures.confusion_matrix(report) == {}
