"""Runs what the documentation shows, and keeps machines and registries out of every file.

Rule: a ``python`` block is run as it stands, after those before it in the same file; one that
cannot be run carries ``<!-- not run: the reason -->`` on the line above it.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.source import ROOT

PAGES = [*ROOT.glob("README.md"), *sorted((ROOT / "docs").rglob("*.md"))]
NOT_OURS = {
    ".git", ".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".venv", "__pycache__",
    "build", "dist", "node_modules",
}  # fmt: skip
"""Folders that are made, not written."""

_FENCE = re.compile(r"```(\w*)$")
_NOT_RUN = re.compile(r"<!-- not run: \S.* -->$")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page."""

    language: str
    line: int
    lines: tuple[str, ...]
    runs: bool


def _blocks(page: Path) -> Iterator[Block]:
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), 1))
    before = ""
    for number, line in lines:
        if fence := _FENCE.match(line):
            inside = []
            for _number, inner in lines:
                if inner == "```":
                    break
                inside.append(inner)
            yield Block(fence[1], number, tuple(inside), not _NOT_RUN.match(before))
        before = line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
async def test_python_blocks_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In order, in one namespace, in an empty folder; ``await`` may stand at the top level."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in _blocks(page):
        if block.language == "python" and block.runs:
            source = "\n" * block.line + "\n".join(block.lines)
            flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            code = compile(source, str(page), "exec", flags, dont_inherit=True)
            result = eval(code, names)
            if inspect.isawaitable(result):
                await result


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_console_blocks_name_commands_that_exist(page: Path) -> None:
    """Every ``$ make …`` is a target and every ``$ xmpp-e2ee …`` a command."""
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    for block in _blocks(page):
        for line in block.lines if block.language == "console" else ():
            match line.removeprefix("$ ").split():
                case ["make", *words]:
                    named = [word for word in words if "=" not in word]
                    assert set(named) <= set(targets), f"{page.name}:{block.line}: {line}"
                case ["xmpp-e2ee", *words]:
                    _assert_command(words, f"{page.name}:{block.line}: {line}")


def _assert_command(words: list[str], where: str) -> None:
    command = [word for word in words if re.fullmatch(r"[a-z][a-z-]*", word)][:1]
    program = Path(sys.executable).with_name("xmpp-e2ee")
    done = subprocess.run([program, *command, "--help"], capture_output=True, check=False)
    assert done.returncode == 0, where


def _files() -> Iterator[Path]:
    for folder, subfolders, names in os.walk(ROOT):
        subfolders[:] = sorted(set(subfolders) - NOT_OURS)
        yield from (Path(folder, name) for name in sorted(names))


def test_no_file_names_a_machine_or_a_registry() -> None:
    """No absolute path of somebody's machine and no package registry, so that any will do."""
    homes = "|".join(["work", "root", "home", "Users", "opt"])
    hosts = "|".join(
        rf"{name}\.{domain}"
        for name, domain in [
            ("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("npmjs", "com"),
            ("yarnpkg", "com"), ("proxy.golang", "org"), ("deb.debian", "org"), ("crates", "io"),
        ]
    )  # fmt: skip
    pattern = re.compile(rf"(?<![\w.:/<-])/(?:(?:{homes})/|tmp/\w)|{hosts}")
    broken = []
    for path in _files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        broken += [
            f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
            for number, line in enumerate(text.splitlines(), 1)
            if pattern.search(line)
        ]
    assert not broken, "\n" + "\n".join(broken)


def test_decisions_name_tests_that_exist() -> None:
    """Every test, class and path that the page cites; a citation may be the beginning of names."""
    page = (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8")
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    defined = re.findall(r"(?:def|class) (test_\w+|Test\w+)", source)
    cited = re.findall(r"`(test_\w+|Test\w+)`", page)
    assert cited
    assert not [name for name in cited if not any(each.startswith(name) for each in defined)]
    paths = re.findall(r"`((?:tests|benchmarks)/[\w/.]+)`", page)
    assert not [
        path for path in paths if not ((ROOT / path).exists() or (ROOT / f"{path}.py").exists())
    ]
