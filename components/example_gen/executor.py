"""GtzanExampleGen's executor: a shell around the ingest pipeline and its report."""

from typing import Any

from absl import logging
from apache_beam.io.filesystem import FileMetadata
from apache_beam.io.filesystems import FileSystems
from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from components.example_gen import files, ingest, report
from components.example_gen.files import IngestError
from components.example_gen.plan import Plan, SplitSources
from components.example_gen.settings import IngestSettings
from components.gtzan import splits

_PLAN = "plan.pickle"


class Executor(BaseBeamExecutor):
    """Runs the ingest: examine, decide, write, report."""

    def Do(  # noqa: N802 - TFX's own interface
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Ingests `input_base`.

        Args:
          input_dict: Empty.
          output_dict: `examples` and `ingest_report`.
          exec_properties: `input_base`, and `settings` as JSON.

        Raises:
          IngestError: There is no music, too much of it is faulty, or a genre is missing in a
            split; its text holds the table of the report, which is written all the same.
          SplitError: A split list or the artists' file is not usable.
        """
        settings = IngestSettings.from_json(exec_properties["settings"])
        examples = artifact_utils.get_single_instance(output_dict["examples"])
        report_artifact = artifact_utils.get_single_instance(output_dict["ingest_report"])
        files.open_file_systems()
        folder, found = files.find_tracks(exec_properties["input_base"], settings.genres)
        sources = read_sources(settings)
        logging.info("Ingesting %d files of %s", len(found), folder)

        plan = self._ingest(
            folder=folder,
            found=found,
            settings=settings,
            sources=sources,
            output=examples.uri,
            scratch=f"{report_artifact.uri}/{_PLAN}",
        )
        summary = report.summarise(plan, folder=folder, settings=settings)
        page = report.write(report_artifact.uri, plan, summary, settings=settings)
        if plan.failure:
            raise IngestError(
                f"the music is not ingested: {plan.failure}\n\n{report.as_text(summary)}",
                page=page,
            )
        examples.split_names = artifact_utils.encode_split_names(list(splits.SPLITS))
        examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_TF_EXAMPLE)
        report_artifact.set_int_custom_property("tracks", len(plan.accepted))
        report_artifact.set_int_custom_property("rejected", len(plan.rejected))
        for split, members in plan.splits.items():
            report_artifact.set_int_custom_property(split, len(members))

    def _ingest(
        self,
        *,
        folder: str,
        found: list[FileMetadata],
        settings: IngestSettings,
        sources: SplitSources,
        output: str,
        scratch: str,
    ) -> Plan:
        """Runs the Beam pipeline and returns what it decided."""
        with self._make_beam_pipeline() as pipeline:
            plan = (
                pipeline
                | "ExamineFiles"
                >> ingest.ExamineFiles(folder=folder, found=found, settings=settings)
                | "Decide" >> ingest.Decide(settings=settings, sources=sources)
            )
            plan | "SavePlan" >> ingest.SavePlan(path=scratch)
            plan | "WriteShards" >> ingest.WriteShards(
                folder=folder, output=output, settings=settings
            )
        decided = ingest.load_plan(scratch)
        FileSystems.delete([scratch])
        return decided


def read_sources(settings: IngestSettings) -> SplitSources:
    """Reads the split lists or the artists' file, where the split method needs one.

    Args:
      settings: What the ingest is told.

    Raises:
      IngestError: A file cannot be read.
      SplitError: It cannot be understood.
    """
    how = settings.split
    if how.method == "listed":
        chosen = splits.choose_lists(files.names_in(how.lists), family=how.family, folder=how.lists)
        lists = {
            split: tuple(splits.parse_list(files.read_text(f"{how.lists.rstrip('/')}/{name}")))
            for split, name in chosen.items()
        }
        return SplitSources(lists=lists)
    if how.method == "artist":
        text = files.read_text(how.artists)
        return SplitSources(artists=splits.parse_artists(text, name=how.artists))
    return SplitSources()
