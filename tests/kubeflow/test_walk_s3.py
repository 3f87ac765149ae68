"""A scheduled file on S3: the second run sees new music, and the third finds nothing to do.

Data, artifacts and what is pushed lie in one bucket of a real S3 server (versitygw, on loopback).
The key may do what docs/how-to/kubeflow.md says it needs, and nothing else. Every task of the first
run is a process that starts from nothing, as a container does.
"""

import re
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.conftest import ROOT
from tests.kubeflow import walker
from tests.kubeflow.s3_server import ACTIONS, BUCKET, s3_client, s3_server
from tests.kubeflow.test_walk import (
    ADDED,
    GENRES,
    MLFLOW_SECRET,
    TRACKS_PER_GENRE,
    add_music,
    compile_file,
    executed_in_every_run,
    write_music,
)

pytestmark = [pytest.mark.scale, pytest.mark.slow]


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    with s3_server(tmp_path_factory.mktemp("s3")) as environment:
        yield environment


@pytest.fixture(scope="module")
def bucket(keys):
    """The bucket as the user sees it."""
    return s3_client(keys["S3_ENDPOINT"], keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"])


def _upload(bucket, music: Path) -> None:
    for file in music.rglob("*.wav"):
        bucket.upload_file(str(file), BUCKET, f"genres/{file.relative_to(music)}")


def _versions(bucket) -> set[str]:
    listed = bucket.list_objects_v2(Bucket=BUCKET, Prefix="gatefold/serving/genre/", Delimiter="/")
    return {one["Prefix"].split("/")[-2] for one in listed.get("CommonPrefixes", [])}


def test_the_key_may_do_what_the_docs_list_and_nothing_else(bucket):
    text = (ROOT / "docs" / "how-to" / "kubeflow.md").read_text()
    sentence = next(line for line in text.splitlines() if line.startswith("The key needs"))
    assert set(re.findall(r"s3:\w+", sentence)) == set(ACTIONS)
    bucket.put_object(Bucket=BUCKET, Key="probe", Body=b"1")
    bucket.delete_object(Bucket=BUCKET, Key="probe")
    for forbidden in (bucket.get_bucket_policy, bucket.get_bucket_acl, bucket.delete_bucket):
        with pytest.raises(ClientError, match="AccessDenied"):
            forbidden(Bucket=BUCKET)


def test_a_schedule_sees_new_music_and_rests_when_there_is_none(image, keys, bucket, tmp_path):
    _upload(bucket, write_music(tmp_path / "music"))
    root = f"s3://{BUCKET}/gatefold"
    file = compile_file(image, tmp_path, data=f"s3://{BUCKET}/genres", root=root)
    store = f"sqlite:///{tmp_path}/mlflow.db"
    cluster = walker.Cluster(
        tmp_path / "pods",
        programs=image,
        secrets={
            "gatefold-mlflow": {"MLFLOW_TRACKING_URI": store, **MLFLOW_SECRET},
            "gatefold-object-store": keys,
        },
    )

    first = cluster.run(file, pipeline_root=root)
    assert not first.cached
    released = _versions(bucket)
    assert len(released) == 1
    assert first.output("gtzanexamplegen", "examples").uri.startswith(f"{root}/gatefold/")

    _upload(bucket, add_music(tmp_path / "added"))
    second = cluster.run(file, pipeline_root=root, start=walker.start_warm)
    third = cluster.run(file, pipeline_root=root, start=walker.start_warm)

    assert second.cached == ["schemaimport"]
    assert {"gtzanexamplegen", "trainer-ann"} <= set(second.executed)
    report = second.output("gtzanexamplegen", "ingest_report").metadata
    assert report["tracks"] == len(GENRES) * TRACKS_PER_GENRE + ADDED
    pushed = second.output("pusher", "pushed_model").metadata
    assert pushed["pushed"] == 1 and pushed["written"] == 1

    assert set(third.executed) == executed_in_every_run(file)
    assert {"gtzanexamplegen", "transform-descriptors", "trainer-ann"} <= set(third.cached)
    assert third.output("pusher", "pushed_model").metadata["written"] == 0
    newer = _versions(bucket) - released
    assert len(newer) == 1
