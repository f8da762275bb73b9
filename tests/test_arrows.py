"""A room of the package uses the rooms above it in the list of `arm_jax/__init__`, none below."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "arm_jax"


def rooms() -> list[str]:
    """In the order of the package's docstring."""
    docstring = ast.get_docstring(ast.parse((PACKAGE / "__init__.py").read_text()))
    return re.findall(r"^    (\w+) {2,}\S", docstring, re.M)


def imported(tree: ast.AST, module: str) -> list[tuple[int, str]]:
    """Line and full name of everything of arm_jax that a module imports, in functions too."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, name.name) for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno} has a relative import"
            found += [(node.lineno, f"{node.module}.{name.name}") for name in node.names]
        elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
            literal = node.args[0]
            if isinstance(literal, ast.Constant):
                found.append((node.lineno, literal.value))
            # What is put together could be any module of the package.
            assert not isinstance(literal, ast.JoinedStr), f"{module}:{node.lineno} hides a name"
    return [(line, name) for line, name in found if name.split(".")[0] == "arm_jax"]


def upward(order: list[str], path: str, text: str) -> list[str]:
    """The lines of a module that import what stands below its own room."""
    room = path.removeprefix("arm_jax/").split("/")[0].removesuffix(".py")
    lines = []
    for number, name in imported(ast.parse(text), path):
        target = [*name.split("."), ""][1]
        assert target in order, f"{path}:{number} imports {name}: no room of the list"
        if order.index(target) > order.index(room):
            lines.append(f"{path}:{number} ({room}) imports {name}, which stands below it")
    return lines


def test_every_room_is_in_the_list_once():
    there = {p.stem for p in PACKAGE.glob("*.py")} | {p.parent.name for p in PACKAGE.glob("*/*.py")}
    assert sorted(rooms()) == sorted(there - {"__init__"})


def test_no_room_uses_what_stands_below_it():
    order, found = rooms(), []
    for path in sorted(PACKAGE.rglob("*.py")):
        if path != PACKAGE / "__init__.py":  # its short names point everywhere, lazily
            name = path.relative_to(PACKAGE.parent).as_posix()
            found += upward(order, name, path.read_text())
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("line", "bad"),
    [
        ("from arm_jax.run import grid", True),
        ("def f():\n    from arm_jax import modes", True),
        ("import arm_jax.reporting.curves", True),
        ('import importlib\nimportlib.import_module("arm_jax.run.grid")', True),
        ("from arm_jax.networks import layers", False),
    ],
)
def test_an_upward_import_is_named_with_its_line(line, bad):
    found = upward(rooms(), "arm_jax/evaluation/tiles.py", f"import os\n{line}\n")
    number = 2 + line.count("\n")
    assert bool(found) == bad
    assert all(text.startswith(f"arm_jax/evaluation/tiles.py:{number} ") for text in found)


@pytest.mark.parametrize("package", [p.parent for p in sorted(PACKAGE.glob("*/__init__.py"))])
def test_every_package_states_what_enters_what_leaves_and_what_it_may_not_know(package):
    text = ast.get_docstring(ast.parse((package / "__init__.py").read_text()))
    paragraph = " ".join(text.split("\n\n")[1].split())
    assert re.search(r"\benters?\b", paragraph) and re.search(r"\bleaves?\b", paragraph)
    assert re.search(r"\bknows?\b|\breads no\b", paragraph)


def test_neither_evaluation_nor_a_run_loads_matplotlib():
    code = """
import importlib, pkgutil, sys, arm_jax.evaluation, arm_jax.run
for package in (arm_jax.evaluation, arm_jax.run):
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
assert not [name for name in sys.modules if name.split(".")[0] == "matplotlib"]
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent)
