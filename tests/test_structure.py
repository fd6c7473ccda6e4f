"""Imports within the package point one way: cli -> training, explore -> registry -> models and all below."""

import ast
import pathlib

import pytest

import flowzoo

PACKAGE = pathlib.Path(flowzoo.__file__).parent
# The floors that rooms stand on, two of them side by side; what is in no room is below all of them.
ROOMS = {"registry": 1, "training": 2, "explore": 2, "cli": 3}


def room(module):
    """The room of a module such as "flowzoo.registry.card", or None."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ROOMS else None


def may_import(module, other):
    own, wanted = room(module), room(other)
    return own == wanted or ROOMS.get(own, 0) > ROOMS.get(wanted, 0)


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
    assert not [name for name in names if not may_import(module, name)]
