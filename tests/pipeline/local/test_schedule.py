"""The order in which nodes of a graph run, and what happens when one fails."""

import _thread
import threading

import pytest

from pipeline.local.schedule import run_graph

DIAMOND = {"first": [], "left": ["first"], "right": ["first"], "last": ["left", "right"]}


def test_nodes_that_may_run_beside_each_other_do():
    meeting = threading.Barrier(2, timeout=60)

    def run(node: str) -> str:
        if node in ("left", "right"):
            meeting.wait()
        return node.upper()

    results = run_graph(DIAMOND, run, at_once=2)
    assert list(results.items()) == [(node, node.upper()) for node in DIAMOND]


@pytest.mark.parametrize("at_once", [1, 3])
def test_a_node_waits_for_all_that_it_needs_and_none_is_beside_one_that_runs_alone(at_once):
    lock, running, beside, ended = threading.Lock(), set(), {}, []
    needs = {f"{number}": [f"{number - 3}"] if number > 3 else [] for number in range(1, 13)}

    def run(node: str) -> None:
        with lock:
            running.add(node)
            beside[node] = running - {node}
        with lock:
            running.remove(node)
            ended.append(node)

    run_graph(needs, run, at_once=at_once, alone=("4", "5"))
    assert all(
        ended.index(other) < ended.index(node) for node, others in needs.items() for other in others
    )
    assert not beside["4"] and not beside["5"]
    assert not any({"4", "5"} & others for others in beside.values())
    assert at_once > 1 or not any(beside.values())


def test_what_runs_beside_a_failed_node_ends_well_and_nothing_starts_after_it():
    ended, failing = [], threading.Event()

    def run(node: str) -> None:
        if node == "left":
            failing.set()
            raise ValueError("left is broken")
        if node == "right":
            assert failing.wait(60)
        ended.append(node)

    with pytest.raises(ValueError, match="left is broken"):
        run_graph({**DIAMOND, "other": ["right"]}, run, at_once=2)
    assert ended == ["first", "right"]


@pytest.mark.parametrize("way", ["interrupt", "check"])
def test_an_interrupt_ends_what_runs_even_if_a_library_lost_the_exception(way):
    running, stopped = threading.Event(), threading.Event()

    def run(node: str) -> None:
        if node == "first":
            return
        running.set()
        if way == "interrupt":
            _thread.interrupt_main()
        assert stopped.wait(60)

    def check() -> None:
        if way == "check" and running.is_set():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_graph(DIAMOND, run, at_once=2, check=check, stop=stopped.set)
    assert stopped.is_set()
