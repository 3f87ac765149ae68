"""The order in which nodes of a graph run, and what happens when one fails."""

import _thread
import threading

import pytest

from pipeline.local.schedule import run_graph

DIAMOND = {"first": [], "left": ["first"], "right": ["first"], "last": ["left", "right"]}


class Watched:
    """Runs nodes that note what runs beside them; those of `meeting` wait for each other."""

    def __init__(self, meeting: int = 1) -> None:
        self._lock = threading.Lock()
        self._barrier = threading.Barrier(meeting, timeout=60)
        self.running: set[str] = set()
        self.beside: dict[str, set[str]] = {}
        self.ended: list[str] = []

    def run(self, node: str, *, meets: bool = False) -> str:
        with self._lock:
            self.running.add(node)
        if meets:
            self._barrier.wait()
        with self._lock:
            self.beside[node] = self.running - {node}
        if meets:
            self._barrier.wait()
        with self._lock:
            self.running.remove(node)
            self.ended.append(node)
        return node.upper()


def test_nodes_that_may_run_beside_each_other_do():
    watched = Watched(meeting=2)
    results = run_graph(
        DIAMOND, lambda node: watched.run(node, meets=node in ("left", "right")), at_once=2
    )
    assert list(results.items()) == [(node, node.upper()) for node in DIAMOND]
    assert watched.beside == {"first": set(), "left": {"right"}, "right": {"left"}, "last": set()}


@pytest.mark.parametrize("at_once", [1, 3])
def test_a_node_waits_for_all_that_it_needs_and_none_is_beside_one_that_runs_alone(at_once):
    watched = Watched()
    needs = {f"{number}": [f"{number - 3}"] if number > 3 else [] for number in range(1, 13)}
    run_graph(needs, watched.run, at_once=at_once, alone=("4", "5"))
    assert all(
        watched.ended.index(other) < watched.ended.index(one)
        for one in needs
        for other in needs[one]
    )
    assert not watched.beside["4"] and not watched.beside["5"]
    assert not any({"4", "5"} & others for others in watched.beside.values())
    assert at_once > 1 or not any(watched.beside.values())


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
