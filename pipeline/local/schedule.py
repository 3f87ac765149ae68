"""Runs the nodes of a graph, several at a time, each once those that it needs have run."""

import graphlib
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

Result = TypeVar("Result")


def run_graph(
    needs: Mapping[str, Collection[str]],
    run: Callable[[str], Result],
    *,
    at_once: int = 1,
    alone: Collection[str] = (),
    stop: Callable[[], None] = lambda: None,
) -> dict[str, Result]:
    """Runs every node in a thread; the first error passes through once no node runs any more.

    Args:
      needs: For each node those that must have run before it. Of nodes that may run, the first in
        this mapping's order does.
      run: Runs a node.
      at_once: Most nodes at a time; with 1 they run in this thread.
      alone: Nodes beside which none may run. They wait until nothing else can.
      stop: Called if this thread is interrupted; makes running nodes end.

    Returns:
      Results by node, in the order of `needs`.

    Example:
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

    def finish(node: str, result: Result) -> None:
        results[node] = result
        graph.done(node)

    if at_once == 1:
        while (node := next_node(())) is not None:
            finish(node, run(node))
    else:
        with ThreadPoolExecutor(at_once, thread_name_prefix="stage") as threads:
            futures: dict[Future[Result], str] = {}
            try:
                while graph.is_active():
                    while (node := next_node(futures.values())) is not None:
                        futures[threads.submit(run, node)] = node
                    for future in wait(futures, return_when=FIRST_COMPLETED).done:
                        finish(futures.pop(future), future.result())
            except KeyboardInterrupt:
                stop()
                raise
    return {node: results[node] for node in needs}
