"""Holds the attack catalogue and the tests to each other.

Rule: names only; what a test of an attack must show is said where it stands.
"""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.catalogue import ATTACKS, WAITING
from tests.support.source import ROOT

_NAME = re.compile(r"test_([a-z])_(\d\d)_")


@cache
def _answered() -> dict[str, str]:
    """Return where the attacks are tested: their ids and the places of the tests."""
    found = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (
                match := _NAME.match(node.name)
            ):
                attack = f"{match[1].upper()}-{match[2]}"
                found[attack] = f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
    return found


def _reason(attack: str) -> str | None:
    return WAITING.get(attack) or WAITING.get(attack[0])


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack_is_answered_or_waits(attack: str) -> None:
    """Exactly one of both, unless the reason says that it waits in part."""
    reason = _reason(attack)
    answered = attack in _answered()
    if reason is None:
        assert answered, f"{attack}, {ATTACKS[attack]}: no test, and no reason in WAITING"
    elif reason.startswith("partly:"):
        assert answered, f"{attack} waits in part, but no test covers the rest"
    else:
        assert not answered, f"{attack} waits, but there is {_answered()[attack]}"


def test_every_name_is_in_the_catalogue() -> None:
    """A test or a reason for something that is no attack is a slip of the pen."""
    assert set(_answered()) <= set(ATTACKS)
    assert {name for name in WAITING if len(name) > 1} <= set(ATTACKS)
