"""The pool of Beam's Python workers, asked over gRPC as TaskManagers ask it."""

import grpc
import pytest
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc, endpoints_pb2

from tests.pipeline.flink.worker_pool import WorkerPool


@pytest.fixture
def pool(monkeypatch, tmp_path):
    """A pool whose `python` is a program that waits."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 600\n")
    python.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    pools = []

    class Kept(WorkerPool):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            pools.append(self)

    address, server = Kept.start(use_process=True)
    yield address, pools[0]
    for process in pools[0]._worker_processes.values():
        process.kill()
        process.wait()
    server.stop(0)


def task_manager(address: str) -> beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub:
    """A connection of its own, as each TaskManager has it."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    channel = grpc.insecure_channel(address, options=options)
    return beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel)


def test_a_task_manager_stops_its_own_worker_and_no_others_of_that_number(pool):
    address, kept = pool
    first, second = task_manager(address), task_manager(address)
    started = []
    for manager in (first, second):
        control = endpoints_pb2.ApiServiceDescriptor(url="localhost:1")
        answer = manager.StartWorker(
            beam_fn_api_pb2.StartWorkerRequest(worker_id="1-1", control_endpoint=control)
        )
        assert not answer.error
        (process,) = set(kept._worker_processes.values()) - set(started)
        started.append(process)

    first.StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id="1-1"))
    assert started[0].poll() is not None
    assert started[1].poll() is None
    second.StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id="1-1"))
    assert started[1].poll() is not None
