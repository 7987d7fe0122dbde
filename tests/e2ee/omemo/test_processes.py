"""Four processes that share the store of one device (R-06)."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from e2ee.omemo.message import read_encrypted
from e2ee.omemo.version import Version
from e2ee.xmlparse import parse_xml
from e2ee.xmlwrite import write_xml
from tests.support.omemo_worker import JULIET, ROMEO, command, on_disk
from tests.support.omemo_world import Party, World, body
from tests.support.source import ROOT

PROCESSES = 4
EACH = 100


async def met() -> tuple[Party, Party]:
    world = World()
    juliet, romeo = await world.device(JULIET), await world.device(ROMEO)
    await juliet.gather(romeo)
    await romeo.gather(juliet)
    return juliet, romeo


def printed(commands: Sequence[Sequence[str]]) -> list[str]:
    """Let processes work at once; return the lines of all."""
    processes = [
        subprocess.Popen(each, cwd=ROOT, stdout=subprocess.PIPE, text=True) for each in commands
    ]
    lines = [line for each in processes for line in each.communicate()[0].splitlines()]
    assert [each.returncode for each in processes] == [0] * len(processes)
    return lines


@pytest.mark.slow
async def test_r_06_four_processes_write_and_use_no_position_twice(tmp_path: Path) -> None:
    juliet, romeo = await met()
    path = tmp_path / "juliet.db"
    await on_disk(juliet, path)
    lines = printed([command("write", path, f"process {name}", EACH) for name in range(PROCESSES)])
    engine = romeo.sessions.engines[Version.TWO]
    positions, texts = set(), set()
    for line in lines:
        element = parse_xml(line)
        key = read_encrypted(element, romeo.device).key
        assert key is not None
        _, message = engine.read_exchange(key.data)  # nobody has answered
        positions.add((message.ratchet_key, message.number))
        texts.add((await romeo.decrypt(element, juliet)).content[0].text)
    assert len(positions) == len(lines) == PROCESSES * EACH
    assert texts == {
        f"process {name} {number}" for name in range(PROCESSES) for number in range(EACH)
    }


@pytest.mark.slow
async def test_r_06_four_processes_read_and_lose_nothing(tmp_path: Path) -> None:
    juliet, romeo = await met()
    path = tmp_path / "juliet.db"
    await on_disk(juliet, path)
    folders = [tmp_path / f"process {name}" for name in range(PROCESSES)]
    for folder in folders:
        folder.mkdir()
    for number in range(PROCESSES * EACH):
        said = await romeo.sessions.encrypt([body(f"message {number}")], {juliet.jid})
        file = folders[number % PROCESSES] / f"{number:04d}.xml"
        file.write_text(write_xml(said.elements[0]))
    told = Counter(printed([command("read", path, folder) for folder in folders]))
    assert told == Counter(f"message {number}" for number in range(PROCESSES * EACH))
