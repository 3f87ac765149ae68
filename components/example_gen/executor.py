"""GtzanExampleGen's executor: runs the ingest pipeline and writes its report."""

import dataclasses
import json
import posixpath
from collections.abc import Mapping
from typing import Any

import apache_beam as beam
from absl import logging
from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from components.common import runtime, storage
from components.example_gen import counts, decide, files, ingest, lists, report, summary
from components.example_gen.files import IngestError
from components.example_gen.settings import IngestSettings
from components.gtzan import split_files, splits

# What workers read; files of one run beside the report, removed at its end.
_SCRATCH = (_LISTING, _LABELS) = ("files.jsonl", "labels.jsonl")


class Executor(BaseBeamExecutor):
    """Examines the files, decides on each, writes the records and the report."""

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
          exec_properties: `input_base`, `settings` as JSON, and `data_fingerprint`.

        Raises:
          IngestError: There is no music, too many files are faulty, or a genre is missing in a
            split; the report is written all the same, and the error's text holds its table. Or the
            music changed meanwhile.
          SplitError: A split list or the artists file is malformed.
        """
        runtime.prepare(input_dict, output_dict, exec_properties)
        settings = IngestSettings.from_json(exec_properties["settings"])
        examples = artifact_utils.get_single_instance(output_dict["examples"])
        report_artifact = artifact_utils.get_single_instance(output_dict["ingest_report"])
        files.open_file_systems()
        music = files.find_tracks(exec_properties["input_base"], settings.genres)
        labels = read_labels(settings)
        logging.info("Ingesting %d files of %s", len(music.files), music.folder)
        try:
            self._ingest(
                music, labels, settings, output=examples.uri, report_uri=report_artifact.uri
            )
        except Exception as error:  # Beam raises what its workers raise, or a RuntimeError of it
            known = files.changed_error(error) or storage.disk_full(error, examples.uri)
            if known is None:
                raise
            raise IngestError(str(known)) from error
        content, page = report.write_page(report_artifact.uri, settings)
        if content["failure"]:
            raise IngestError(
                f"the music is not ingested: {content['failure']}\n\n{report.as_text(content)}",
                page=page,
            )
        known_fingerprint = exec_properties.get("data_fingerprint") or ""
        if known_fingerprint and known_fingerprint != files.fingerprint(
            exec_properties["input_base"], settings
        ):
            # The cache would hand out these records for the music as it was.
            raise files.changed(music.folder, "its fingerprint is another")
        examples.split_names = artifact_utils.encode_split_names(list(splits.SPLITS))
        examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_TF_EXAMPLE)
        for name, number in {
            "tracks": content["accepted"],
            "rejected": content["files"] - content["accepted"],
            "faulty": content["faulty"],
            "near_duplicates": content["pairs"],
            "leaks": content["leaks"],
            **content["splits"],
        }.items():
            report_artifact.set_int_custom_property(name, number)
        report_artifact.set_string_custom_property("reasons", json.dumps(content["reasons"]))
        report_artifact.set_string_custom_property("data_fingerprint", known_fingerprint)

    def _ingest(
        self,
        music: files.Music,
        labels: Mapping[str, str],
        settings: IngestSettings,
        *,
        output: str,
        report_uri: str,
    ) -> None:
        """Writes the records, the report's JSON and its lists."""
        scratch = {name: f"{report_uri}/{name}" for name in _SCRATCH}
        fileio.makedirs(report_uri)
        lists.save_lines(scratch[_LISTING], map(dataclasses.asdict, music.files))
        lists.save_lines(scratch[_LABELS], labels.items())
        with self._make_beam_pipeline() as pipeline:
            label_of_track = (
                pipeline
                | "Labels" >> lists.ReadLines(path=scratch[_LABELS])
                | "LabelOfTrack" >> beam.Map(lambda line: tuple(json.loads(line)))
                if settings.split.method != "stratified"
                else None
            )
            decided = (
                pipeline
                | "ExamineFiles"
                >> ingest.ExamineFiles(
                    folder=music.folder,
                    listing=scratch[_LISTING],
                    total=len(music.files),
                    settings=settings,
                )
                | "Decide"
                >> decide.Decide(label_of_track, settings=settings, files=len(music.files))
            )
            known_counts = decided | "Count" >> counts.Count(settings=settings, output=output)
            (
                decided
                | "Summarise"
                >> summary.Summarise(known_counts, folder=music.folder, settings=settings)
                | "SaveReport" >> beam.Map(report.save, report_uri)
            )
            decided | "WriteLists" >> lists.WriteLists(known_counts, folder=report_uri)
            decided.tracks | "WriteShards" >> ingest.WriteShards(
                known_counts, folder=music.folder, output=output, settings=settings
            )
        for path in scratch.values():
            fileio.remove(path)  # Beam's delete would read a bracket in the path as a pattern


def read_labels(settings: IngestSettings) -> dict[str, str]:
    """Reads the split lists or the artists file, if the split method needs one.

    Returns:
      By track id, its split on the lists, or its artist.

    Raises:
      IngestError: A file cannot be read.
      SplitError: A file is malformed, or a track is on the lists of two splits.
    """
    split_settings = settings.split
    if split_settings.method == "listed":
        folder = split_settings.lists
        paths = {posixpath.basename(file.path): file.path for file in files.matched(folder)}
        list_files = split_files.choose_lists([*paths], family=split_settings.family, folder=folder)
        return splits.listed(
            {
                split: split_files.parse_list(files.read_text(paths[name]), settings.genres)
                for split, name in list_files.items()
            }
        )
    if split_settings.method == "artist":
        text = files.read_text(split_settings.artists)
        return split_files.parse_artists(text, name=split_settings.artists)
    return {}
