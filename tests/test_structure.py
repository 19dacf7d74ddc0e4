"""Packages import each other in one direction only."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "mmdino.weights": ("mmdino.models", "mmdino.engine", "mmdino.evaluation"),
    "mmdino.models": (
        "mmdino.engine",
        "mmdino.evaluation",
        "mmdino.datasets",
        "mmdino.visualization",
    ),
}
"""What a package must not import."""


def imported_names(source: str, package: str) -> set[str]:
    """Names that a module imports, absolute, those within functions included.

    Args:
        source: Text of the module.
        package: The package that it is in, which relative imports start from.
    """
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: -(node.level - 1) or None] if node.level else []
            base += [node.module] if node.module else []
            # What follows "import" may be a module too.
            names |= {".".join([*base, alias.name]) for alias in node.names}
    return names


def imports_of(package: str) -> dict[str, set[str]]:
    """What each module of a package imports, by the path of its file."""
    files = sorted(ROOT.joinpath(*package.split(".")).rglob("*.py"))
    assert files, f"{package} has no module"
    return {
        str(path.relative_to(ROOT)): imported_names(
            path.read_text(), ".".join(path.relative_to(ROOT).parent.parts)
        )
        for path in files
    }


def is_in(name: str, package: str) -> bool:
    """Whether a dotted name is a package or something in it."""
    return f"{name}.".startswith(f"{package}.")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import a.b, c", {"a.b", "c"}),
        ("from a.b import c as d", {"a.b.c"}),
        ("def f():\n    from mmdino import models", {"mmdino.models"}),
        ("from . import x", {"mmdino.weights.x"}),
        ("from ..models import DINO", {"mmdino.models.DINO"}),
        ("x = 'import models'", set()),
    ],
)
def test_imports_are_found(source, expected):
    assert imported_names(source, "mmdino.weights") == expected


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_go_one_way(package):
    found = {
        path: wrong
        for path, names in imports_of(package).items()
        if (wrong := {n for n in names if any(is_in(n, other) for other in FORBIDDEN[package])})
    }
    assert not found


def test_the_library_imports_no_tool():
    folders = [ROOT / "tools", ROOT / "tools" / "benchmarks", ROOT / "tools" / "model_converters"]
    tools = {"tools"} | {path.stem for folder in folders for path in folder.iterdir()}
    assert {"common", "converters", "train", "step"} <= tools
    for path, names in imports_of("mmdino").items():
        assert not tools & {name.split(".")[0] for name in names}, path
