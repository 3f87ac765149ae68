"""Beam's Python workers for several TaskManagers of one machine.

    python -m tests.pipeline.flink.worker_pool PORT

Each TaskManager numbers its workers from 1, and Beam's own pool keeps and stops them by that number
alone: a TaskManager that ends a worker would end the one of the same number of another TaskManager
in the middle of its work. This pool tells them apart by the connection that asked for them. Where
each TaskManager has a pool of its own, as on Kubernetes, Beam's will do.
"""

import shutil
import sys
import threading

import grpc
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.worker import worker_pool_main


class WorkerPool(worker_pool_main.BeamFnExternalWorkerPoolServicer):
    """Starts and stops worker processes when a TaskManager asks for it."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self._starting = threading.Lock()

    def StartWorker(  # noqa: N802 - gRPC's name
        self, request: beam_fn_api_pb2.StartWorkerRequest, context: grpc.ServicerContext
    ) -> beam_fn_api_pb2.StartWorkerResponse:
        """Starts a worker that connects to the TaskManager."""
        with self._starting:
            response = super().StartWorker(request, context)
            process = self._worker_processes.pop(request.worker_id, None)
            if process is not None:
                self._worker_processes[_key(request.worker_id, context)] = process
                # Beam leaves the pipe unread, and a worker stops when it is full.
                threading.Thread(
                    target=shutil.copyfileobj, args=(process.stdout, sys.stdout.buffer), daemon=True
                ).start()
        return response

    def StopWorker(  # noqa: N802 - gRPC's name
        self, request: beam_fn_api_pb2.StopWorkerRequest, context: grpc.ServicerContext
    ) -> beam_fn_api_pb2.StopWorkerResponse:
        """Stops a worker that this connection started; does nothing about any other."""
        key = _key(request.worker_id, context)
        return super().StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id=key), context)


def _key(worker_id: str, context: grpc.ServicerContext) -> str:
    return f"{worker_id} of {context.peer()}"


def main() -> None:
    """Runs a pool until it is stopped."""
    _, server = WorkerPool.start(use_process=True, port=int(sys.argv[1]))
    server.wait_for_termination()


if __name__ == "__main__":
    main()
