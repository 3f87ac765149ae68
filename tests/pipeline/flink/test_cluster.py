"""A Flink cluster of several processes: ingest is complete on it, also when a part is killed."""

import threading
import time
from pathlib import Path

import pytest

from components.gtzan.splits import SPLITS
from pipeline.beam_checks import check_reachable
from pipeline.beam_runners import JOB_ENDPOINT, BeamConfig
from pipeline.flink.job_server import job_server
from tests.example_gen.conftest import ingest_settings, read_split, run_executor, write_music
from tests.pipeline.flink import cluster

pytestmark = pytest.mark.scale

PER_GENRE = 15
TRACKS_PER_SHARD = 2
SECONDS_TO_RECOVER = 600


@pytest.fixture(scope="module")
def flink(tmp_path_factory):
    with cluster.running(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(scope="module")
def beam(flink):
    """Arguments that `--beam-runner flink --flink-master … --beam-workers 2` gives Beam.

    One worker for each TaskManager: when one of them is lost, the other has slots for both.
    """
    config = BeamConfig(
        "flink", workers=cluster.SLOTS, flink_master=flink.rest, worker_pool=flink.worker_pool
    )
    check_reachable(config)
    folder = Path(flink.task_managers[0].args[-1])
    with job_server(folder / "job-server.log", flink_master=flink.rest) as endpoint:
        yield [
            argument.replace(f"${JOB_ENDPOINT}", endpoint) for argument in config.pipeline_args()
        ]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    return write_music(tmp_path_factory.mktemp("many") / "genres_original", PER_GENRE)


def ingest(music, output, beam):
    return run_executor(music, output, ingest_settings(tracks_per_shard=TRACKS_PER_SHARD), beam)


@pytest.fixture(scope="module")
def direct(many, tmp_path_factory):
    examples, _ = run_executor(
        many,
        tmp_path_factory.mktemp("direct"),
        ingest_settings(tracks_per_shard=TRACKS_PER_SHARD),
    )
    return {split: read_split(examples, split) for split in SPLITS}


def test_a_cluster_ingests_what_the_direct_runner_ingests(flink, beam, many, direct, tmp_path):
    examples, _ = ingest(many, tmp_path, beam)
    assert {split: read_split(examples, split) for split in SPLITS} == direct
    # What its web page shows.
    (job,) = flink.ask("/jobs/overview")["jobs"]
    assert job["state"] == "FINISHED"
    assert job["tasks"]["finished"] == job["tasks"]["total"] > 0
    hosts = {
        task["taskmanager-id"]
        for vertex in flink.ask(f"/jobs/{job['jid']}")["vertices"]
        for task in flink.ask(f"/jobs/{job['jid']}/vertices/{vertex['id']}")["subtasks"]
    }
    assert len(hosts) == len(flink.task_managers)


def killed_in_the_middle(kill, flink, beam, many, direct, folder):
    """Ingests, kills a part of the cluster after the first shard, and waits until it is done."""
    before = {job["jid"] for job in flink.ask("/jobs/overview")["jobs"]}
    outcome = {}

    def run() -> None:
        try:
            outcome["examples"], _ = ingest(many, folder, beam)
        except BaseException as error:
            outcome["error"] = error

    running = threading.Thread(target=run, daemon=True)
    running.start()
    shards = -(-len(direct["train"]) // TRACKS_PER_SHARD)
    while running.is_alive() and not (written := list(folder.glob("examples/Split-*/*"))):
        time.sleep(0.02)
    kill()
    assert 0 < len(written) < shards, "it was killed before the first shard or after the last one"
    running.join(SECONDS_TO_RECOVER)
    assert not running.is_alive(), flink.ask("/jobs/overview")
    assert "error" not in outcome, outcome["error"]
    assert {split: read_split(outcome["examples"], split) for split in SPLITS} == direct
    (job,) = (one for one in flink.ask("/jobs/overview")["jobs"] if one["jid"] not in before)
    assert job["state"] == "FINISHED"
    history = flink.ask(f"/jobs/{job['jid']}/exceptions")["exceptionHistory"]["entries"]
    assert history, "the job did not notice that it lost a part of the cluster"


def test_nothing_is_lost_and_nothing_twice_when_the_worker_pool_is_killed(
    flink, beam, many, direct, tmp_path
):
    killed_in_the_middle(flink.lose_worker_pool, flink, beam, many, direct, tmp_path)


# The last one, as the cluster lacks a TaskManager afterwards.
def test_nothing_is_lost_and_nothing_twice_when_a_task_manager_is_killed(
    flink, beam, many, direct, tmp_path
):
    killed_in_the_middle(flink.task_managers[0].kill, flink, beam, many, direct, tmp_path)
