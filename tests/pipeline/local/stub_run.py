"""A run of the three stub nodes: `python -m tests.pipeline.local.stub_run OUTPUT ORDERS`."""

import argparse
import sys
import uuid
from pathlib import Path

from components.common.errors import UserError
from pipeline.config import DataConfig, PipelineConfig
from pipeline.local import runner
from pipeline.local.planning import Plan


def main() -> int:
    """Runs the local runner with a plan and a last page of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("output")
    parser.add_argument("orders")
    parser.add_argument("--metadata", default="")
    parser.add_argument("--setting", default="")
    parser.add_argument("--refuse", action="store_true")
    options = parser.parse_args()

    def plan(config, display):
        from pipeline.local import metadata_store
        from tests.pipeline.local import stub_nodes

        with display.stage("planning"):
            is_new = not config.metadata_file.is_file()
            store = metadata_store.identity(config.metadata_file)
        dag = stub_nodes.create_pipeline(config, orders=options.orders, setting=options.setting)
        return Plan(config, dag, uuid.uuid4().hex, "fingerprint", store, is_new)

    def show(results, config, console) -> bool:
        (model,) = results["Finish"].outputs["model"]
        console.print(f"made: {Path(model.uri, 'text').read_text()}")
        return not options.refuse

    config = PipelineConfig(
        DataConfig("music"), output=options.output, metadata=options.metadata, jobs=2
    )
    try:
        return runner.run(config, plan=plan, show=show)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
