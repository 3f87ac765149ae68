"""Callers that hang up: what their requests held is given back, once and not too early."""

import asyncio
import json
import pathlib
import socket
import threading
import weakref
from collections.abc import Callable

from serving.server.core import Core
from tests.serving.core_in_process import listening_core, running_core

MEBIBYTE = 1 << 20
BODY = json.dumps({"signature_name": "classify_audio", "inputs": [[0.5] * 200_000]}).encode()


def hang_up_after(address: tuple[str, int], body: bytes) -> Callable[[], None]:
    """Sends a request; call the result to hang up."""
    caller = socket.create_connection(address)
    head = f"POST /v1/models/genre:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    caller.sendall(head.encode() + b"\r\n" + body)
    return caller.close


async def until(condition: Callable[[], bool]) -> None:
    """Waits for `condition`, as long as a test may take."""
    while not condition():
        await asyncio.sleep(0.005)


def test_hung_up_requests_give_back_once_what_they_held(versions: dict[str, pathlib.Path]) -> None:
    seen: list[int] = []

    async def use(core: Core) -> None:
        genre = core.registry.find("genre")
        assert genre is not None
        queue, budget = core._queue, core.budget
        async with listening_core(core) as address:
            # Whoever reads a request asks for its version, and has to wait here.
            with genre._lock:
                callers = [await asyncio.to_thread(hang_up_after, address, BODY) for _ in range(5)]
                await until(lambda: queue._places == 5)
                await until(lambda: core._workers._work_queue.qsize() == 3)
                for hang_up in callers:
                    hang_up()
                await until(lambda: queue._places == 0)
                seen.append(budget.used_bytes)
            await until(lambda: budget.used_bytes <= 0)
            await core.off_loop(MEBIBYTE, lambda: None)  # whatever was being read has ended
            seen.append(budget.used_bytes)

    running_core(versions["right"], use, memory_bytes=320 * MEBIBYTE)
    # Two threads were reading a request each, and three had not been begun.
    assert seen == [128 * MEBIBYTE, 0]


def test_request_that_no_thread_has_begun_is_gone_with_its_caller(
    versions: dict[str, pathlib.Path],
) -> None:
    class Body:
        pass

    async def use(core: Core) -> None:
        free = threading.Event()
        try:
            held = [asyncio.ensure_future(core.off_loop(MEBIBYTE, free.wait)) for _ in range(2)]
            body = Body()
            gone = weakref.ref(body)
            waiting = asyncio.ensure_future(core.off_loop(MEBIBYTE, lambda body=body: body))
            del body
            await until(lambda: core._workers._work_queue.qsize() == 1)
            waiting.cancel()
            await asyncio.wait((waiting,))
            del waiting
            assert gone() is None
        finally:
            free.set()
        await asyncio.gather(*held)

    running_core(versions["right"], use)
