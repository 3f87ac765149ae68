"""Fingerprints of code and files, so that TFX's cache notices when either changes.

TFX caches a node by its parameters and inputs. `stamp` therefore adds a parameter to every node: a
hash of all our modules that the node imports, directly or indirectly, of the versions of the
libraries that it computes with, and of a text that a person may change to start anew.
"""

import ast
import functools
import hashlib
import importlib.metadata
import re
from collections.abc import Iterable
from pathlib import Path

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.io import fileio

PARAMETER = "code_fingerprint"

# Libraries whose results may change with their version.
LIBRARIES = (
    "tensorflow",
    "tensorflow-io",
    "tensorflow-transform",
    "tensorflow-data-validation",
    "tensorflow-model-analysis",
    "tfx",
    "keras",
    "keras-tuner",
    "librosa",
    "numpy",
    "scikit-learn",
    "scipy",
    "soundfile",
    "soxr",
    "musicnn",
)

_ROOT = Path(__file__).resolve().parent.parent
_PACKAGE = "components"
_DATA_SUFFIXES = (".jinja", ".html")
_DOTTED_PATH = re.compile(rf"\b{_PACKAGE}(?:\.\w+)+")
_BLOCK_BYTES = 1 << 20


def stamp(nodes: Iterable[BaseComponent], *, epoch: str = "") -> None:
    """Adds the parameter `code_fingerprint` to every node, in place.

    Args:
      nodes: The nodes.
      epoch: Part of every fingerprint.
    """
    versions = library_versions() + epoch
    for node in nodes:
        node.exec_properties[PARAMETER] = code_fingerprint(entry_modules(node), versions)


def entry_modules(node: BaseComponent) -> tuple[str, ...]:
    """Lists the modules of ours that a node refers to.

    They are the module of its class, that of its executor, and every dotted path in its parameters
    (`run_fn`, `preprocessing_fn`, `code`, the modules of TFMA's metrics). A node made of TFX's code
    alone has none.
    """
    executor = getattr(node.executor_spec, "executor_class", None)
    texts = [type(node).__module__, getattr(executor, "__module__", "")]
    texts += [value for value in node.exec_properties.values() if isinstance(value, str)]
    paths = {path for text in texts for path in _DOTTED_PATH.findall(text)}
    return tuple(sorted({module for path in paths if (module := _module_of(path))}))


def code_fingerprint(modules: Iterable[str], versions: str) -> str:
    """Hashes modules, all our modules that they import, and the libraries' versions.

    Args:
      modules: Dotted names of modules of ours.
      versions: What `library_versions` returned.

    Returns:
      16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for file in source_files(modules):
        digest.update(f"{file.relative_to(_ROOT)}\0".encode())
        digest.update(file.read_bytes())
    digest.update(versions.encode())
    return digest.hexdigest()[:16]


def library_versions() -> str:
    """Lists the installed versions of `LIBRARIES`, a line each."""
    return "".join(f"{library}=={importlib.metadata.version(library)}\n" for library in LIBRARIES)


def source_files(modules: Iterable[str]) -> list[Path]:
    """Lists the source files of modules and of all our modules that they import, and templates."""
    pending, seen = list(modules), set()
    while pending:
        module = pending.pop()
        if module not in seen:
            seen.add(module)
            pending += _imports(module)
    files = {_file(module) for module in seen}
    folders = {file.parent for file in files}
    templates = {
        path
        for folder in folders
        if folder != _ROOT / _PACKAGE
        for path in folder.iterdir()
        if path.suffix in _DATA_SUFFIXES
    }
    return sorted(files | templates)


def content_fingerprint(uri: str) -> str:
    """Hashes a file, or the names and contents of all files in a folder; a path, gs:// or s3://.

    Returns:
      16 hexadecimal digits; "" if there is nothing of that name.
    """
    if not fileio.exists(uri):
        return ""
    digest = hashlib.sha256()
    if fileio.isdir(uri):
        for folder, _, files in sorted(fileio.walk(uri)):
            for name in sorted(files):
                path = f"{folder.rstrip('/')}/{name}"
                digest.update(f"{path.removeprefix(uri)}\0{content_fingerprint(path)}\n".encode())
    else:
        with fileio.open(uri, "rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()[:16]


def _module_of(dotted: str) -> str:
    """The longest prefix of a dotted path that is a module; the rest is a name in it."""
    parts = dotted.split(".")
    for end in range(len(parts), 1, -1):
        module = ".".join(parts[:end])
        if _file(module).is_file():
            return module
    return ""


def _file(module: str) -> Path:
    path = _ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _imports(module: str) -> frozenset[str]:
    """Modules of ours that a module imports, at its top or within functions.

    Models and features are found by name, which is no import: nodes name their modules in the
    parameter `code`.
    """
    names = _imported_names(_file(module).read_text())
    ours = {name for name in names if name.split(".")[0] == _PACKAGE}
    return frozenset(filter(None, map(_module_of, ours)))


@functools.lru_cache(maxsize=1024)
def _imported_names(source: str) -> frozenset[str]:
    names: set[str] = set()
    for statement in ast.walk(ast.parse(source)):
        if isinstance(statement, ast.Import):
            names |= {alias.name for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            # `from package import module` and `from module import name` look the same.
            names |= {f"{statement.module}.{alias.name}" for alias in statement.names}
            names.add(statement.module)
    return frozenset(names)
