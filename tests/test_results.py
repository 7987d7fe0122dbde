"""Results that cannot be misread: failure has no plaintext to take and no truth value to forget.

Rule: the shape of public types; what they hold is tested where they are made.
"""

from __future__ import annotations

import dataclasses
import importlib

import pytest

from pubsub_encryption import ClearItem, EncryptedItem, OpenedItem, UnreadableItem
from tests.support.source import packages

VERDICTS = {"ok", "valid", "verified", "success", "trusted", "authentic", "is_valid"}


@pytest.mark.parametrize("package", packages())
def test_z_14_no_public_value_says_by_a_flag_that_it_may_be_used(package: str) -> None:
    front = importlib.import_module(package)
    for name in front.__all__:
        public = getattr(front, name)
        if dataclasses.is_dataclass(public):
            fields = {field.name for field in dataclasses.fields(public)}
            assert not fields & VERDICTS, name


def test_z_14_what_was_not_opened_has_no_payload() -> None:
    for kind in (UnreadableItem, EncryptedItem):
        assert not hasattr(kind, "payload"), kind


def test_z_14_an_item_in_clear_cannot_pass_for_an_opened_one() -> None:
    assert not issubclass(ClearItem, OpenedItem)
    assert not hasattr(ClearItem, "authorship")
