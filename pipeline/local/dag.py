"""The DAG of a run, and which of its nodes the cache answers: `gatefold dag [flags of run]`.

Looks into a copy of the metadata store, so that nothing of it is left in a run's folders.
"""

import dataclasses
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from components.common import runtime
from components.common.errors import UserError
from pipeline import options
from pipeline.config import PipelineConfig
from pipeline.local import planning
from pipeline.local.console import StageDisplay

if TYPE_CHECKING:  # it brings TensorFlow
    from tfx.orchestration.pipeline import Pipeline

_MERMAID = "--mermaid"


class _NotCachedError(Exception):
    """The node of that name would have to be executed."""


def cached_nodes(dag: "Pipeline") -> set[str]:
    """Ids of the nodes whose results are there; executes none, but notes them in the store."""
    from pipeline.local import stages

    def refuse(_: Any, execution: Any) -> Any:
        raise _NotCachedError(execution.pipeline_node.node_info.id)

    cached = {node.id for node in dag.components}
    while cached:
        try:
            stages.run_stages(dag, execute=refuse, only=cached)
            break
        except _NotCachedError as error:
            missing = {str(error)}
            for node in dag.components:  # in the order in which they run
                if missing & {upstream.id for upstream in node.upstream_nodes}:
                    missing.add(node.id)
            cached -= missing
    return cached


def _dag(config: PipelineConfig, folder: Path) -> "Pipeline":
    """The DAG of a run, with a copy of its metadata store, whose nodes write to a folder."""
    store = folder / "metadata.db"
    if config.metadata_file.is_file():
        shutil.copy(config.metadata_file, store)
    display = StageDisplay(Console(stderr=True))
    with display:
        plan = planning.make(dataclasses.replace(config, metadata=str(store)), display)
    from tfx.orchestration import data_types

    name = plan.dag.pipeline_info.pipeline_name
    plan.dag.pipeline_info = data_types.PipelineInfo(name, str(folder))
    return plan.dag


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the DAG. Returns the exit code."""
    flags = list(sys.argv[1:] if arguments is None else arguments)
    try:
        config, _ = options.parse([flag for flag in flags if flag != _MERMAID])
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported
        runtime.quieten()
        logging.disable()  # TFX logs each node that is not executed as a failure
        with tempfile.TemporaryDirectory() as folder:
            dag = _dag(config, Path(folder))
            cached = cached_nodes(dag)
    except UserError as error:
        print(f"gatefold dag: {error}", file=sys.stderr)
        return 1
    if _MERMAID in flags:
        print(_mermaid(dag, cached))
        return 0
    table = Table("node", "", "reads", box=None, padding=(0, 2, 0, 0))
    for node in dag.components:
        reads = ", ".join(sorted(upstream.id for upstream in node.upstream_nodes))
        table.add_row(node.id, "[green]cached[/]" if node.id in cached else "runs", reads)
    console = Console()
    (console if console.is_terminal else Console(width=200)).print(table)
    print(f"{len(cached)} of {len(dag.components)} nodes are cached. {_MERMAID} draws it.")
    return 0


def _mermaid(dag: "Pipeline", cached: set[str]) -> str:
    lines = ["flowchart TD"]
    for node in dag.components:
        lines.append(f'  {node.id}["{node.id}"]{":::cached" if node.id in cached else ""}')
        lines += [f"  {upstream.id} --> {node.id}" for upstream in node.upstream_nodes]
    return "\n".join([*lines, "  classDef cached fill:#d9ead3,stroke:#6aa84f"])


if __name__ == "__main__":
    sys.exit(main())
