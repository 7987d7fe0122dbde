"""Every system call of a SQLite store fails once, or from then on; nothing is lost, nothing half.

The rows R-03 and R-06 of the threat model: full disks, failing disks, and locks that others hold.
"""

from __future__ import annotations

import pytest

from e2ee.errors import ErrorCode
from tests.support.laboratory import Laboratory, codes, numbers

ERRORS = {
    "chmod": ["EIO"],
    "fchown": ["EPERM"],  # of root alone
    "fcntl": ["EAGAIN", "EIO"],  # the first is SQLITE_BUSY
    "fdatasync": ["EIO", "ENOSPC"],
    "fsync": ["EIO", "ENOSPC"],
    "ftruncate": ["EIO", "ENOSPC"],
    "link": ["EIO", "ENOSPC"],
    "mkdir": ["EIO", "ENOSPC"],
    "mmap": ["ENOMEM"],
    "newfstatat": ["EIO"],
    "openat": ["EIO", "ENOSPC", "EMFILE"],
    "pread64": ["EIO"],
    "pwrite64": ["EIO", "ENOSPC"],
    "unlink": ["EIO"],
    "unlinkat": ["EIO"],
}
FAULTS = [(call, error) for call, errors in ERRORS.items() for error in errors]
AT_COMMIT = [fault for fault in FAULTS if fault[0] in ("fdatasync", "ftruncate", "pwrite64")]
CODES = {
    "EIO": {ErrorCode.STORE_FAILED},
    "ENOSPC": {ErrorCode.STORE_FULL, ErrorCode.STORE_FAILED},  # SQLite says so for writes alone
    "EMFILE": {ErrorCode.STORE_FAILED},
    "EAGAIN": {ErrorCode.STORE_FAILED, ErrorCode.STORE_LOCKED},
    "ENOMEM": {ErrorCode.STORE_FAILED},
    "EPERM": {ErrorCode.STORE_FORBIDDEN},
}
MORE_CODES = {
    "openat": {ErrorCode.STORE_FORBIDDEN},  # what SQLite cannot open for writing, it opens to read
    "pread64": {ErrorCode.STORE_CORRUPT},  # what SQLite cannot read, it may take for damaged
}


@pytest.mark.slow
@pytest.mark.parametrize(("call", "error"), FAULTS)
async def test_r_03_a_call_that_fails_once_fails_one_operation_at_most(
    persistent: Laboratory, call: str, error: str
) -> None:
    first = persistent.start + 1
    for life in persistent.meet(call, f"error={error}"):
        assert (life.code, numbers(life)) == (0, [first, first + 1]), life
        assert len(codes(life)) <= 1, life
        assert set(codes(life)) <= CODES[error] | MORE_CODES.get(call, set()), life
        await persistent.check(life)
        if not call.startswith("unlink"):
            assert [found.name for found in persistent.path(life).parent.iterdir()] == ["store.db"]


@pytest.mark.slow
@pytest.mark.parametrize(("call", "error"), AT_COMMIT)
async def test_r_03_a_crash_brings_back_nothing_that_has_failed(
    dying: Laboratory, call: str, error: str
) -> None:
    for life in dying.meet(call, f"error={error}"):
        assert life.code == 0
        await dying.check(life)


@pytest.mark.slow
@pytest.mark.parametrize(("call", "error"), AT_COMMIT)
async def test_r_03_a_disk_that_keeps_failing_loses_nothing_acknowledged(
    persistent: Laboratory, call: str, error: str
) -> None:
    for life in persistent.meet(call, f"error={error}", lasting=True):
        assert life.code == 0
        await persistent.check(life)


@pytest.mark.soak
@pytest.mark.parametrize(("call", "error"), [fault for fault in FAULTS if fault not in AT_COMMIT])
async def test_r_03_no_other_call_loses_or_brings_back_anything(
    dying: Laboratory, persistent: Laboratory, call: str, error: str
) -> None:
    for life in dying.meet(call, f"error={error}"):
        assert life.code == 0
        await dying.check(life)
    if call != "fcntl":  # whoever locks a store for good lets it be unlocked
        for life in persistent.meet(call, f"error={error}", lasting=True):
            assert life.code == 0
            await persistent.check(life)
