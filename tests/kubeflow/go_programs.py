"""Programs in Go that tests use: built where they are missing, and kept in the user's cache."""

import os
import shutil
import subprocess
from pathlib import Path


def go_program(package: str) -> Path:
    """Path of a program.

    Args:
      package: With its version, as `github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0`.
    """
    name = package.partition("@")[0].rpartition("/")[2]
    if present := os.environ.get(name.upper()):
        return Path(present)
    folder = Path.home() / ".cache" / "gatefold" / package.rpartition("@")[2]
    if not (folder / name).exists():
        assert shutil.which("go"), f"Go builds {name}: install Go 1.24 or newer (https://go.dev/dl)"
        subprocess.run(
            ["go", "install", package], env={**os.environ, "GOBIN": str(folder)}, check=True
        )
    return folder / name
