"""Feeds of any origin become entries that stand on their own, or one clear error."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2ee import ns
from e2ee.primitives import NativePrimitives
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element
from e2ee.xmlwrite import write_xml
from xmpp_e2ee import feed as feed_module
from xmpp_e2ee.entry import opening_of, text_of, title_of
from xmpp_e2ee.feed import EXAMPLE, FeedError, FeedFault, read_feed, repeat

ATOM = "http://www.w3.org/2005/Atom"
ENTRY = "<entry><id>urn:1</id><title>One</title><updated>2025-01-01T00:00:00Z</updated></entry>"
FEED = f"<feed xmlns='{ATOM}'><title>F</title>{ENTRY}</feed>"


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "some.atom"


def entries(path: Path, source: str | bytes) -> tuple[Element, ...]:
    path.write_bytes(source.encode() if isinstance(source, str) else source)
    return read_feed(path).entries


def fault(path: Path, source: str | bytes) -> FeedFault:
    with pytest.raises(FeedError) as error:
        entries(path, source)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    return error.value.fault


def attribute(entry: Element, name: str) -> str | None:
    return entry.get(name, ns.XML)


class TestExample:
    def test_it_has_a_dozen_entries_of_real_length(self) -> None:
        found = read_feed(EXAMPLE).entries
        assert len(found) == 12
        assert all(150 <= len(text_of(entry).split()) <= 400 for entry in found)

    def test_every_entry_is_complete(self) -> None:
        found = read_feed(EXAMPLE).entries
        for entry in found:
            for name in ("id", "title", "updated", "published", "author", "summary", "content"):
                assert entry.find_all(ATOM, name), f"{title_of(entry)} has no {name}"
        assert len({entry.only(ATOM, "id").text for entry in found}) == 12

    def test_it_holds_many_scripts(self) -> None:
        text = " ".join(map(text_of, read_feed(EXAMPLE).entries))
        for needle in ("boulangerie", "哲学の道", "νοσταλγία", "أهلًا", "🌱", "e\u0301"):
            assert needle in text

    def test_entries_survive_being_written(self) -> None:
        for entry in read_feed(EXAMPLE).entries:
            assert parse_xml(write_xml(entry)) == entry
            assert parse_xml(write_xml(entry, ascii_only=True)).same_content(entry)


class TestFilesFromDisk:
    def test_declarations_comments_and_instructions_go(self, written: Path) -> None:
        (entry,) = entries(
            written,
            f"<?xml version='1.0'?><?xml-stylesheet href='x'?><!-- a --><feed xmlns='{ATOM}'>"
            "<entry><title>One<!-- b --> and <?php c?>a half</title></entry></feed><!-- d -->",
        )
        assert title_of(entry) == "One and a half"
        assert entry.only(ATOM, "title").children == ("One and a half",)

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "iso-8859-1", "windows-1252"])
    def test_other_encodings_are_read(self, written: Path, encoding: str) -> None:
        named = "utf-8" if encoding == "utf-8-sig" else encoding
        source = f"<?xml version='1.0' encoding='{named}'?>{FEED.replace('One', 'Prière d’été')}"
        if encoding == "iso-8859-1":
            source = source.replace("’", "'")
        (entry,) = entries(written, source.encode(encoding))
        assert title_of(entry).startswith("Prière d")

    def test_cdata_is_text(self, written: Path) -> None:
        (entry,) = entries(written, FEED.replace("One", "<![CDATA[<b>One</b> & all]]>"))
        assert title_of(entry) == "<b>One</b> & all"

    def test_prefixes_and_foreign_elements_are_kept(self, written: Path) -> None:
        (entry,) = entries(
            written,
            f"<a:feed xmlns:a='{ATOM}' xmlns:g='urn:geo'><a:entry><a:title>One</a:title>"
            "<g:point kind='g:dot'/></a:entry></a:feed>",
        )
        assert (title_of(entry), entry.prefix) == ("One", "a")
        assert ("g", "urn:geo") in entry.declarations
        assert entry.find_all("urn:geo", "point")

    def test_what_the_feed_says_of_every_entry_goes_along(self, written: Path) -> None:
        one, two, three = entries(
            written,
            f"<feed xmlns='{ATOM}' xml:base='https://a.example/b/' xml:lang='fr'>"
            "<author><name>Feed</name></author>text between"
            "<entry><title>1</title></entry>"
            "<entry xml:base='c/' xml:lang='de'><author><name>Own</name></author></entry>"
            "<entry><source><author><name>Elsewhere</name></author></source></entry></feed>",
        )
        assert attribute(one, "base") == "https://a.example/b/"
        assert attribute(two, "base") == "https://a.example/b/c/"
        assert (attribute(one, "lang"), attribute(two, "lang")) == ("fr", "de")
        authors = [[text_of(a) for a in entry.find_all(ATOM, "author")] for entry in (one, two)]
        assert authors == [["Feed"], ["Own"]]
        assert not three.find_all(ATOM, "author")

    def test_an_entry_document_is_a_feed_of_one(self, written: Path) -> None:
        (entry,) = entries(written, ENTRY.replace("<entry>", f"<entry xmlns='{ATOM}'>"))
        assert title_of(entry) == "One"

    def test_no_path_of_this_machine_gets_into_an_entry(self, written: Path) -> None:
        (entry,) = entries(written, FEED)
        assert attribute(entry, "base") is None
        assert str(written.parent) not in write_xml(entry)


class TestRefusals:
    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("", FeedFault.NOT_XML),
            ("just text", FeedFault.NOT_XML),
            (FEED.replace("</feed>", ""), FeedFault.NOT_XML),
            (FEED.replace("One", "&nbsp;"), FeedFault.NOT_XML),
            (f"<!DOCTYPE feed>{FEED}", FeedFault.NOT_XML),
            (
                f"<!DOCTYPE feed [<!ENTITY e SYSTEM 'file:///etc/hostname'>]>"
                f"{FEED.replace('One', '&e;')}",
                FeedFault.NOT_XML,
            ),
            (
                "<!DOCTYPE feed [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;'>]>"
                f"{FEED.replace('One', '&b;&b;')}",
                FeedFault.NOT_XML,
            ),
            ("<rss version='2.0'><channel/></rss>", FeedFault.NOT_ATOM),
            (FEED.replace(ATOM, "urn:other"), FeedFault.NOT_ATOM),
            # lxml forgives the first namespace for what it says of the second.
            ("<entry xmlns='http://a/{b}c'><d xmlns='e/f:/g'/></entry>", FeedFault.NOT_ATOM),
            (f"<feed xmlns='{ATOM}'><title>Empty</title></feed>", FeedFault.NO_ENTRIES),
            (
                f"<feed xmlns='{ATOM}' xml:base='http://a]b/'><entry xml:base='c'/></feed>",
                FeedFault.BAD_ENTRY,
            ),
            (FEED.replace("One", "<b>" * 100 + "</b>" * 100), FeedFault.BAD_ENTRY),
            (FEED.replace("One", "x" * (1024 * 1024 + 1)), FeedFault.BAD_ENTRY),
        ],
        ids=[
            "empty", "no markup", "cut off", "unknown entity", "doctype", "external entity",
            "internal entities", "RSS", "another namespace", "a namespace in braces",
            "no entries", "a base that is none", "too deep", "too long",
        ],
    )  # fmt: skip
    def test_a_bad_file_is_one_clear_error(
        self, written: Path, source: str, expected: FeedFault
    ) -> None:
        assert fault(written, source) is expected

    def test_a_missing_file_and_a_folder_are_unreadable(self, tmp_path: Path) -> None:
        for path in (tmp_path / "missing.atom", tmp_path):
            with pytest.raises(FeedError) as error:
                read_feed(path)
            assert error.value.fault is FeedFault.UNREADABLE

    def test_a_large_file_is_not_even_parsed(
        self, written: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(feed_module, "MAX_FEED_BYTES", 100)
        assert fault(written, "<" * 101) is FeedFault.TOO_LARGE


class TestRepeating:
    def test_entries_come_again_under_fresh_ids(self, written: Path) -> None:
        two = FEED.replace(ENTRY, ENTRY + ENTRY.replace("urn:1", "urn:2"))
        repeated = repeat(entries(written, two), 5, NativePrimitives())
        ids = [entry.only(ATOM, "id").text for entry in repeated]
        assert ids[:2] == ["urn:1", "urn:2"]
        assert len(set(ids)) == 5
        for fresh in ids[2:]:
            assert fresh.startswith("urn:uuid:")
            assert fresh[23] == "4"
            assert fresh[28] in "89ab"

    def test_an_entry_without_an_id_gets_one(self, written: Path) -> None:
        found = entries(written, f"<feed xmlns='{ATOM}'><entry><title>One</title></entry></feed>")
        assert repeat(found, 2, NativePrimitives())[1].find_all(ATOM, "id")

    def test_fewer_are_the_first(self) -> None:
        found = read_feed(EXAMPLE).entries
        assert repeat(found, 3, NativePrimitives()) == found[:3]


class TestWhatReadersSee:
    def test_titles_and_openings_are_one_harmless_line(self, written: Path) -> None:
        (entry,) = entries(
            written,
            FEED.replace("One", "A\n  <b>bold</b>\u009b31m\u202e  title").replace(
                "</entry>", "<summary/><content>first\n words</content></entry>"
            ),
        )
        assert title_of(entry) == "A bold 31m title"
        assert opening_of(entry) == "first words"

    def test_what_is_missing_is_said(self, written: Path) -> None:
        (entry,) = entries(written, FEED.replace("One", " "))
        assert (title_of(entry), opening_of(entry)) == ("(untitled)", "")
