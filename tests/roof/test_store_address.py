"""The address of a store: what is a path, what a database, and no password in what is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from xmpp_e2ee.store_address import AddressError, StoreAddress, StoreKind, without_passwords


@pytest.mark.parametrize("text", ["a.db", "./a b.db", "postgresql", "C:a", "x:/y", "ü\u0301.db"])
def test_a_path_is_a_file(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    address = StoreAddress.parse(text)
    assert (address.kind, str(address)) == (StoreKind.SQLITE, text)
    assert Path(address.place) == tmp_path / text
    assert address.is_missing


def test_one_file_has_one_identity(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    paths = (tmp_path / "real" / "a.db", tmp_path / "link" / ".." / "real" / "a.db")
    first, second = (StoreAddress.parse(str(path)).identity for path in paths)
    assert first == second


@pytest.mark.parametrize(
    ("text", "shown", "identity"),
    [
        ("postgresql://h/d", "postgresql://h/d", "postgresql://h/d"),
        ("postgres://u@h:5/d", "postgresql://u@h:5/d", "postgresql://h:5/d"),
        ("postgresql://u:pw@h/d", "postgresql://u@h/d", "postgresql://h/d"),
        ("postgresql://u:p%40w@[::1]:5/d", "postgresql://u@[::1]:5/d", "postgresql://[::1]:5/d"),
        ("postgresql://:pw@h/d", "postgresql://h/d", "postgresql://h/d"),
        ("postgresql://u@H:5432/%64", "postgresql://u@H:5432/%64", "postgresql://h/d"),
        ("postgresql://u@h", "postgresql://u@h/", "postgresql://h/u"),
        ("postgresql://?service=a", "postgresql:///?service=a", "postgresql:///?service=a"),
        ("postgresql://u:pw@a:1,b:2/d", "postgresql://u@a:1,b:2/d", "postgresql://a:1,b:2/d"),
        (
            "postgresql:///d?host=/run/pg&user=u&password=pw&sslpassword=pw&passfile=pw",
            "postgresql:///d?host=/run/pg&user=u",
            "postgresql:///run/pg/d",
        ),
        (
            "postgresql://u:p@w@h/?dbname=d&port=5",
            "postgresql://u@h/?dbname=d&port=5",
            "postgresql://h:5/d",
        ),
    ],
)
def test_a_database_is_shown_without_its_password(text: str, shown: str, identity: str) -> None:
    address = StoreAddress.parse(text)
    assert (address.kind, str(address), address.identity) == ("postgresql", shown, identity)
    assert address.place == text
    assert "pw" not in repr(address)
    assert not address.is_missing


@pytest.mark.parametrize(
    "text",
    [
        *("", "a\0b", "mysql://u:sesame@h/d", "sqlite://a.db", "POSTGRESQL://h/d"),
        *("postgresql://u:se/same@h/d", "postgresql://u:se?same@h/d", "postgresql://u:se#same@h/d"),
        *("postgresql://u:sesame/d", "postgresql://[u:sesame@h/d", "postgresql://h/d#sesame"),
        *("postgresql:/u:sesame@h/d", "host=h user=u password=sesame", "password = sesame"),
    ],
)
def test_what_is_none_is_refused_and_not_repeated(text: str) -> None:
    """Above all where a password that was not quoted would end up in what is shown."""
    with pytest.raises(AddressError) as refused:
        StoreAddress.parse(text)
    assert "same" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("(postgresql://u:pw@h/d a.db)", "(postgresql://h/d a.db)"),
        ("postgres://u:p@w@h/d", "postgres://h/d"),
        ("postgres://h/d?password=pw", "postgres://h/d"),
        ("No such command 'postgresql://u:pw@h/d'.", "No such command 'postgresql://h/d'."),
        ("postgresql:/u:my pw@h/d: No such file", "postgresql:/h/d: No such file"),
        ("postgres-x://u:pw@h/d", "postgres-x://h/d"),
        ("host=h password=pw", "host=h password=…"),
        ("host=h password='my pw' user=u", "host=h password=… user=u"),
        ("No such option: --json2", "No such option: --json2"),
    ],
)
def test_passwords_go_out_of_what_others_quote(text: str, shown: str) -> None:
    assert without_passwords(text) == shown
