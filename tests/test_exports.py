"""What the packages give away: explicit names, types, and a wheel with nothing else in it.

Rule: names only, never what they do.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
import zipfile
from collections import defaultdict
from pathlib import Path

import pytest

from tests.support.source import ROOT, Module, modules, packages

KEPT_OUT = ("benchmarks", "docs", "requirements", "spec_vectors", "tests", "tools", "wasm")
"""Folders that no wheel contains."""


def _declared(module: Module) -> list[str] | None:
    """Return ``__all__`` as it is written, if it is a plain list of names."""
    for node in module.tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and target.id == "__all__":
                return list(ast.literal_eval(node.value))
    return None


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.where)
def test_module_lists_its_names(module: Module) -> None:
    """``__all__`` is written out, without duplicates, and every name in it exists."""
    names = _declared(module)
    assert names is not None, "no __all__"
    assert len(names) == len(set(names)), "a name twice in __all__"
    assert not [name for name in names if name.startswith("_")], "a private name in __all__"
    loaded = importlib.import_module(module.name)
    assert not [name for name in names if not hasattr(loaded, name)]


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.where)
def test_module_has_no_public_name_beside_its_list(module: Module) -> None:
    """A class, function or constant is either listed or private."""
    defined = set()
    for node in module.tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            defined.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            defined.add(node.target.id)
        elif isinstance(node, ast.Assign):
            defined |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    public = {name for name in defined if not name.startswith("_")}
    assert public <= set(_declared(module) or ()), "public, but not in __all__"


@pytest.mark.parametrize("package", packages())
def test_a_name_means_one_thing_in_a_package(package: str) -> None:
    """No two modules of a package list different things under one name."""
    homes = defaultdict(set)
    for module in modules():
        if module.package == package and module.path.name != "__init__.py":
            for name in _declared(module) or ():
                homes[name].add(module.name)
    shared = {name: places for name, places in homes.items() if len(places) > 1}
    assert not shared


@pytest.mark.parametrize("package", packages())
def test_package_gives_names_away(package: str) -> None:
    """The front door lists what users need, all of it from the package's own modules."""
    front = importlib.import_module(package)
    assert front.__all__, "an empty __all__"
    for name in front.__all__:
        given = getattr(front, name)
        if inspect.isclass(given) or inspect.isfunction(given):
            assert given.__module__.partition(".")[0] == package, name


@pytest.mark.parametrize("package", packages())
def test_package_is_typed(package: str) -> None:
    """PEP 561: a marker, so that users' type checkers read our annotations."""
    assert (ROOT / package / "py.typed").exists()


@pytest.mark.slow
def test_wheel_holds_the_packages_and_nothing_else(tmp_path: Path) -> None:
    """Build it as a release would, and look inside."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(ROOT)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("xmpp_e2ee-*-py3-none-any.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert {module.where for module in modules()} <= inside
    assert {f"{package}/py.typed" for package in packages()} <= inside
    assert any(name.endswith("/licenses/LICENSE") for name in inside)
    assert not [name for name in inside if name.startswith(KEPT_OUT)]
    tops = {name.partition("/")[0] for name in inside}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(packages())
