"""Pushing to S3 from several processes at once, on a real S3 server."""

import multiprocessing
import os
import signal
import time

import pytest

from components.common import files, push_lease
from components.common.errors import UserError
from components.common.releases import ReleaseStore
from tests.common.test_releases import assert_intact, write_model
from tests.kubeflow.s3_server import BUCKET, s3_client, s3_server

pytestmark = [pytest.mark.scale, pytest.mark.slow]

PUSHERS, PUSHES = 2, 3
LEASE_SECONDS = 3.0


@pytest.fixture(scope="module", autouse=True)
def keys(tmp_path_factory):
    with (
        s3_server(tmp_path_factory.mktemp("s3")) as environment,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield environment


@pytest.fixture
def objects(keys):
    """The bucket as the user sees it."""
    return s3_client(keys["S3_ENDPOINT"], keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"])


def push_several(folder, base: str, pusher: int, barrier) -> None:
    """Another process: pushes models that nobody else pushes."""
    from components.common.storage import open_object_stores

    open_object_stores(base)
    models = [
        write_model(folder / f"{pusher}-{number}", f"model {pusher} {number}".encode())
        for number in range(PUSHES)
    ]
    barrier.wait()
    for model in models:
        assert ReleaseStore(base).push(model, release={"run_id": f"run {pusher}"}).written


def hold_and_wait(uri: str, acquired) -> None:
    """Another process: takes the lock and never gives it back."""
    with push_lease.held(uri, seconds=LEASE_SECONDS):
        acquired.set()
        time.sleep(600)


def started(context, target, *arguments):
    process = context.Process(target=target, args=arguments)
    process.start()
    return process


def test_two_pushers_at_once_leave_every_version_and_every_line_of_the_log(tmp_path):
    base = f"s3://{BUCKET}/two/genre"
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(PUSHERS)
    pushers = [
        started(context, push_several, tmp_path, base, number, barrier) for number in range(PUSHERS)
    ]
    for pusher in pushers:
        pusher.join()
    assert [pusher.exitcode for pusher in pushers] == [0] * PUSHERS
    from components.common.storage import open_object_stores

    open_object_stores(base)
    assert len(ReleaseStore(base).versions()) == PUSHERS * PUSHES
    assert_intact(base)
    assert not files.exists(f"{base}/.push.lock")


def test_a_lock_is_renewed_for_as_long_as_it_is_held():
    uri = f"s3://{BUCKET}/renewed/.push.lock"
    with push_lease.held(uri, seconds=1.0) as lease:
        context = multiprocessing.get_context("spawn")
        acquired = context.Event()
        waiting = started(context, hold_and_wait, uri, acquired)
        assert not acquired.wait(12)  # the process starts, and then waits for several leases
        lease.require()
    assert acquired.wait(30)
    waiting.kill()
    waiting.join()


def test_the_lock_of_a_killed_process_is_taken_over_once_its_lease_is_over():
    uri = f"s3://{BUCKET}/killed/.push.lock"
    context = multiprocessing.get_context("spawn")
    acquired = context.Event()
    holder = started(context, hold_and_wait, uri, acquired)
    assert acquired.wait(60)
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    begun = time.monotonic()
    with push_lease.held(uri, seconds=LEASE_SECONDS) as lease:
        assert time.monotonic() - begun >= LEASE_SECONDS
        lease.require()


def test_a_holder_that_was_stopped_for_too_long_notices_before_it_writes(objects):
    uri = f"s3://{BUCKET}/lost/.push.lock"
    with push_lease.held(uri, seconds=LEASE_SECONDS) as lease:
        objects.put_object(Bucket=BUCKET, Key="lost/.push.lock", Body=b"another")
        deadline = time.monotonic() + 2 * LEASE_SECONDS
        with pytest.raises(UserError, match="another push may go on"):
            while time.monotonic() < deadline:
                lease.require()
                time.sleep(0.1)
    # It is the other's, so it stays.
    assert objects.get_object(Bucket=BUCKET, Key="lost/.push.lock")["Body"].read() == b"another"


def test_a_store_that_refuses_the_lock_is_named():
    uri = "s3://another-bucket/genre/.push.lock"
    with pytest.raises(UserError, match=f"could not take the lock {uri}"), push_lease.held(uri):
        pytest.fail("held")
