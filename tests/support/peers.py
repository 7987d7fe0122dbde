"""Finds the external programs and packages that tests run against.

Rule: a missing one skips the test with one line that names it, but fails it where ``CI=true``;
nothing here runs a program.
"""

from __future__ import annotations

import importlib
import os
import shutil
import warnings
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import pytest

from tests.support.source import ROOT

__all__ = [
    "require_debian_python",
    "require_lua_module",
    "require_module",
    "require_npm_package",
    "require_program",
    "require_server_program",
    "require_shared",
]


def require_program(name: str) -> str:
    """Return the path of a program, or skip the running test."""
    return shutil.which(name) or _missing(f"the program {name} is not installed")


def require_server_program(name: str) -> str:
    """Return the path of a program of PostgreSQL's server, or skip the running test.

    Debian keeps each release in a directory of its own, outside of PATH; the newest is taken.
    """
    releases = Path("/usr/lib/postgresql").glob(f"*/bin/{name}")
    newest = max(releases, key=lambda path: float(path.parts[-3]), default=None)
    return str(newest) if newest else require_program(name)


def require_module(name: str) -> ModuleType:
    """Import a Python package that is only a peer, its warnings unheard, or skip the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except ImportError:
            _missing(f"the Python package {name} is not installed")


def require_debian_python(*names: str) -> str:
    """Return Debian's own Python, which has these packages as Debian's, or skip the test."""
    for name in names:
        if not Path("/usr/lib/python3/dist-packages", name).is_dir():
            _missing(f"Debian's Python package {name} is not installed")
    return "/usr/bin/python3"


def require_lua_module(name: str) -> None:
    """Skip the running test where Debian's Lua has no native module of this name."""
    if not any(Path("/usr/lib").glob(f"*/lua/*/{name}.so")):
        _missing(f"the Lua module {name} is not installed")


def require_npm_package(name: str) -> Path:
    """Return the folder of an npm package, or skip the running test; Node.js is needed too."""
    require_program("node")
    folder = ROOT / "node_modules" / name
    return folder if folder.is_dir() else _missing(f"the npm package {name} is not installed")


def require_shared(path: str) -> Path:
    """Return a file or folder of recorded material beside this repository, or skip the test.

    It is no part of the repository, so that its absence is never a failure.
    """
    found = ROOT.parent / "shared" / path
    if not found.exists():
        pytest.skip(f"no recorded material {path} beside the repository")
    return found


def _missing(what: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}, and CI=true", pytrace=False)
    pytest.skip(what)
