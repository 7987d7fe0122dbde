"""Reads the project's own source: its modules, their syntax trees, their imports.

Rule: reads and parses only; what is allowed is said by the tests.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

__all__ = ["PACKAGES", "ROOT", "Import", "Module", "modules", "packages"]

ROOT = Path(__file__).resolve().parents[2]
"""The project's root folder."""

PACKAGES = ("e2ee", "ox", "sfs", "signing", "pubsub_encryption", "xmpp_e2ee", "wasm")
"""Every package of the floor plan, whether or not it has been begun."""


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module, by its full name.

    Attributes:
        target: the module; a name that is imported from a package counts as its submodule if
            there is one.
        line: where it stands.
        typing_only: whether it stands under ``if TYPE_CHECKING``.
    """

    target: str
    line: int
    typing_only: bool

    @property
    def top(self) -> str:
        """The distribution-level name: what stands before the first dot."""
        return self.target.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Module:
    """One source file of a package."""

    name: str
    path: Path
    text: str = field(repr=False)
    tree: ast.Module = field(repr=False)

    @property
    def package(self) -> str:
        """The top-level package."""
        return self.name.partition(".")[0]

    @property
    def where(self) -> str:
        """The path from the root, with slashes."""
        return self.path.relative_to(ROOT).as_posix()

    def imports(self) -> Iterator[Import]:
        """Yield every import in the file, those inside functions as well."""
        typing_only = {
            id(inner)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
            for statement in node.body
            for inner in ast.walk(statement)
        }
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                targets = [self._resolve(node, alias.name) for alias in node.names]
            else:
                continue
            for target in dict.fromkeys(targets):
                yield Import(target, node.lineno, id(node) in typing_only)

    def _resolve(self, node: ast.ImportFrom, name: str) -> str:
        base = node.module or ""
        if node.level:
            parents = self.name.split(".")
            if self.path.name != "__init__.py":
                parents.pop()
            parents = parents[: len(parents) - node.level + 1]
            base = ".".join([*parents, base] if base else parents)
        inner = ROOT / base.replace(".", "/") / name
        return f"{base}.{name}" if inner.is_dir() or inner.with_suffix(".py").exists() else base


def packages() -> list[str]:
    """Return the packages that have code."""
    return [name for name in PACKAGES if (ROOT / name / "__init__.py").exists()]


@cache
def modules() -> tuple[Module, ...]:
    """Return every module of every package, in the order of their names."""
    found = []
    for package in packages():
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            text = path.read_text(encoding="utf-8")
            found.append(Module(name, path, text, ast.parse(text, str(path))))
    return tuple(found)
