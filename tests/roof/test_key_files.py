"""Files of keys: whole or not there at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from xmpp_e2ee import key_files


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError])
def test_r_11_a_file_that_was_broken_off_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: type[BaseException]
) -> None:
    """A half written secret is still a secret, and nobody knows of it."""
    path = tmp_path / "key"

    def fail(descriptor: int) -> None:
        raise failure

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fail)
        with pytest.raises((failure, key_files.KeyFileError)):
            key_files.write_new_file(path, b"a secret", secret=True)
    assert not path.exists()
    key_files.write_new_file(path, b"a secret", secret=True)
    assert path.read_bytes() == b"a secret"
