"""Stages come from the fork server that has libraries and nothing of ours, as warm processes do."""

import pytest

from tests.warm import start_fork_server


@pytest.fixture(scope="session", autouse=True)
def fork_server() -> None:
    start_fork_server()
