"""Imports within the package point one way: cli -> training -> registry -> the models and all below."""

import ast
import pathlib

import pytest

import flowzoo

PACKAGE = pathlib.Path(flowzoo.__file__).parent
# From the bottom; what is in no room of its own is below all of them.
ROOMS = ("registry", "training", "cli")


def room(module):
    """The place in `ROOMS` of a module such as "flowzoo.registry.card"; -1 below them."""
    parts = module.split(".")
    return ROOMS.index(parts[1]) if len(parts) > 1 and parts[1] in ROOMS else -1


def imported(tree):
    """Names of the modules that a file imports, functions of it included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules():
    paths = [path.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("*.py")]
    return sorted(str(path.with_suffix("")).replace("/", ".") for path in paths if path.name != "conftest.py")


@pytest.mark.parametrize("module", [name for name in modules() if name != "flowzoo.__init__"])
def test_no_import_runs_back_up(module):
    path = PACKAGE.parent / f"{module.replace('.', '/')}.py"
    names = {name for name in imported(ast.parse(path.read_text())) if name.startswith("flowzoo.")}
    assert not [name for name in names if room(name) > room(module)]
