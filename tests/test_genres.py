"""Genres are data: who may know GTZAN's ten names, and that all else is told them."""

import ast

from tests.conftest import ROOT

# The composer and the sample have a style for each of the ten; the defaults of the command line.
MAY_KNOW = {"pipeline/config.py", "pipeline/options.py"}


def imports(path) -> set[str]:
    """Modules, and names of modules, that a file imports anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{name.name}" for name in node.names} | {f"{node.module}"}
    return found


def test_nothing_but_the_sample_and_the_defaults_imports_the_ten_genres():
    files = [
        path
        for part in ("components", "pipeline", "serving")
        for path in (ROOT / part).rglob("*.py")
        if not path.is_relative_to(ROOT / "components" / "gtzan")
    ]
    assert len(files) > 80
    knowing = {
        str(path.relative_to(ROOT))
        for path in files
        if any(name.startswith("components.gtzan.genres") for name in imports(path))
    }
    assert knowing == MAY_KNOW
    # Not by a literal either: one of the rarer names tells.
    assert not [
        path for path in files if '"reggae"' in path.read_text() and "serving" not in path.parts
    ]
