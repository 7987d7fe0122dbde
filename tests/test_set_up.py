"""The two-command set-up: what is locked, and what a missing program does to a test.

Rule: reads the files of the set-up; installing is tested by `make` itself.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.peers import require_npm_package, require_program
from tests.support.source import ROOT

LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PYTHON_LOCKS = [path for path in LOCKS if path.name != "debian.txt"]


def _locked(path: Path) -> dict[str, str]:
    """Return every requirement of a lock with its hashes, by its normalised name."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    return {line.partition("==")[0].strip(): line for line in text.splitlines() if line}


@pytest.mark.parametrize("lock", PYTHON_LOCKS, ids=lambda path: path.name)
def test_z_07_python_packages_are_pinned_by_hash(lock: Path) -> None:
    """One version each, and the hash of every file that may be installed."""
    for name, line in _locked(lock).items():
        assert re.match(r"[a-z0-9-]+==[0-9][0-9a-z.]*( ;.*)? +--hash=sha256:", line), name


def test_z_07_npm_packages_are_pinned_by_hash() -> None:
    """A lock without addresses: each machine asks its own registry, the hash decides."""
    lock = json.loads((ROOT / "package-lock.json").read_text(encoding="utf-8"))
    for name, package in lock["packages"].items():
        if name:
            assert package["integrity"].startswith("sha512-"), name
            assert "resolved" not in package, name


def test_locks_hold_every_direct_requirement() -> None:
    """Whoever adds one to pyproject.toml runs `make lock`; the legacy extra is a peer alone."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["dependency-groups"]
    extras = project["project"]["optional-dependencies"]
    wanted = {
        "run": [*project["project"]["dependencies"], *extras["client"], *groups["build"]],
        "dev": [*groups["dev"]],
        "peers": [*groups["peers"]],
        "fuzz": [*groups["fuzz"]],
    }
    for lock, requirements in wanted.items():
        locked = _locked(ROOT / "requirements" / f"{lock}.txt")
        for requirement in requirements:
            name = re.match(r"[A-Za-z0-9-]+", requirement)
            assert name, requirement
            assert name[0].lower() in locked, f"{requirement} is not in {lock}.txt"
        for requirement in extras["legacy"]:
            assert (requirement.partition("==")[0] in locked) == (lock == "peers")


def test_every_dependency_has_its_reason() -> None:
    """One line each in docs/dependencies.md."""
    reasons = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8").lower()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    named = [*project["project"]["dependencies"]]
    for group in (project["project"]["optional-dependencies"], project["dependency-groups"]):
        named += [requirement for part in group.values() for requirement in part]
    named += json.loads((ROOT / "package.json").read_text(encoding="utf-8"))["devDependencies"]
    debian = (ROOT / "requirements" / "debian.txt").read_text(encoding="utf-8").splitlines()
    named += [line for line in debian if line and not line.startswith("#")]
    for requirement in named:
        name = re.split(r"[^A-Za-z0-9-]", requirement)[0].lower()
        assert f"| {name} |" in reasons, f"{name} has no line in docs/dependencies.md"


@pytest.mark.parametrize("require", [require_program, require_npm_package])
def test_missing_program_skips_the_test(
    require: Callable[[str], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one line that names it."""
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-thing is not installed"):
        require("no-such-thing")


@pytest.mark.parametrize("require", [require_program, require_npm_package])
def test_missing_program_is_a_failure_on_a_build_server(
    require: Callable[[str], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There everything is installed, so that nothing is silently left out."""
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-thing is not installed"):
        require("no-such-thing")
