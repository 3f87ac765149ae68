"""Runs the nodes of a graph, several at a time, each once those that it needs have run."""

import graphlib
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

Result = TypeVar("Result")

_SECONDS_BETWEEN_CHECKS = 1


def run_graph(
    needs: Mapping[str, Collection[str]],
    run: Callable[[str], Result],
    *,
    at_once: int = 1,
    alone: Collection[str] = (),
    check: Callable[[], None] = lambda: None,
    stop: Callable[[], None] = lambda: None,
) -> dict[str, Result]:
    """Runs every node in a thread; the first error passes through once no node runs any more.

    Args:
      needs: For each node those that must have run before it. Of nodes that may run, the first in
        this mapping's order does.
      run: Runs a node.
      at_once: Most nodes at a time.
      alone: Nodes beside which none may run. They wait until nothing else can.
      check: Called in this thread every second; its exception ends the running nodes.
      stop: Makes running nodes end; called after an error of `check`, or an interrupt.

    Returns:
      Results by node, in the order of `needs`.

    Examples:
      >>> run_graph({"c": ["a", "b"], "a": [], "b": ["a"]}, str.upper, at_once=2)
      {'c': 'C', 'a': 'A', 'b': 'B'}
    """
    order = {node: position for position, node in enumerate(needs)}
    graph = graphlib.TopologicalSorter(needs)
    graph.prepare()
    ready: list[str] = []
    results: dict[str, Result] = {}

    def next_node(running: Collection[str]) -> str | None:
        """Takes a node that may run beside those that do, if there is one."""
        ready.extend(graph.get_ready())
        ready.sort(key=lambda node: (node in alone, order[node]))
        if not ready or len(running) >= at_once:
            return None
        if running and (ready[0] in alone or any(node in alone for node in running)):
            return None
        return ready.pop(0)

    with ThreadPoolExecutor(at_once, thread_name_prefix="stage") as threads:
        futures: dict[Future[Result], str] = {}
        while graph.is_active():
            try:
                check()
                while (node := next_node(futures.values())) is not None:
                    futures[threads.submit(run, node)] = node
                ended = wait(futures, _SECONDS_BETWEEN_CHECKS, FIRST_COMPLETED).done
            except BaseException:
                stop()
                raise
            for future in ended:
                node = futures.pop(future)
                results[node] = future.result()
                graph.done(node)
    return {node: results[node] for node in needs}
