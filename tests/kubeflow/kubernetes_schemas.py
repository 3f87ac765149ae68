"""Kubernetes' own JSON schemas, as the package kubernetes-validate ships them, for kubeconform."""

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

_SHIPPED = Path(kubernetes_validate.__file__).with_name("kubernetes-json-schema")
# References in the shipped schemas; they are meant for the package's own resolver.
_SHIPPED_DEFINITIONS = "/api/_definitions.json#"


class Kubeconform:
    """Checks documents strictly: fields that Kubernetes does not know are errors."""

    def __init__(self, program: Path, folder: Path) -> None:
        """Prepares to check.

        Args:
          program: Kubeconform.
          folder: Empty; schemas are written here.
        """
        self._program, self._folder = program, folder

    def errors(
        self, documents: Iterable[dict[str, Any]], *, version: str, skipped: Iterable[str] = ()
    ) -> list[str]:
        """What is wrong with the documents, a line each; empty if all are valid.

        Args:
          documents: Whole objects.
          version: Of Kubernetes, as "1.37.0".
          skipped: Kinds that are not checked, as they are not Kubernetes' own.
        """
        self._write_schemas(version)
        checked = list(documents)
        completed = subprocess.run(
            [
                *(self._program, "-strict", "-summary", "-output", "json"),
                *("-kubernetes-version", version, "-skip", ",".join(skipped), "-schema-location"),
                f"{self._folder}/v{version}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json",
            ],
            input=yaml.safe_dump_all(checked),
            capture_output=True,
            text=True,
            check=False,
        )
        report = json.loads(completed.stdout)
        summary = report["summary"]
        assert sum(summary.values()) == len(checked), completed.stderr
        wanted = [one for one in checked if one["kind"] in skipped]
        assert summary["skipped"] == len(wanted), "only what is named may be left unchecked"
        lines = [f"{one['kind']} {one['name']}: {one['msg']}" for one in report["resources"]]
        assert len(lines) == summary["invalid"] + summary["errors"]
        return lines

    def _write_schemas(self, version: str) -> None:
        target = self._folder / f"v{version}"
        if target.exists():
            return
        target.mkdir()
        for file in (_SHIPPED / f"v{version}-local-strict").iterdir():
            (target / file.name).write_text(json.dumps(_with_files_as_references(file)))


def shipped_versions() -> list[str]:
    """Of Kubernetes, the oldest first."""
    names = [folder.name for folder in _SHIPPED.glob("v*-local-strict")]
    versions = [name[1:].partition("-")[0] for name in names]
    return sorted(versions, key=lambda version: [int(part) for part in version.split(".")])


def _with_files_as_references(file: Path) -> dict[str, Any]:
    """A schema whose references lead to the file beside it, and not to a page of kubernetes.io."""
    text = file.read_text().replace(f'"{_SHIPPED_DEFINITIONS}', '"_definitions.json#')
    schema: dict[str, Any] = json.loads(text)
    schema.pop("$id", None)
    return schema
