"""Files of any origin become the stanzas in them, or one clear error at the place of each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2ee import limits, ns
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.xmltree import Element
from xmpp_e2ee.export import ExportError, find_files, read_stanzas

MESSAGE = "<message xmlns='jabber:client' from='a@b'><body>{}</body></message>"


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "some.xml"


def stanzas(path: Path, source: str | bytes) -> list[Element | ErrorCode]:
    path.write_bytes(source.encode() if isinstance(source, str) else source)
    found = list(read_stanzas(path))
    return [each.code if isinstance(each, PeerMisbehaved) else each for each in found]


def bodies(path: Path, source: str | bytes) -> list[str]:
    found = stanzas(path, source)
    assert all(isinstance(each, Element) for each in found), found
    return [each.elements[0].text for each in found if isinstance(each, Element)]


class TestFiles:
    def test_a_folder_is_read_in_the_order_of_its_pages(self, tmp_path: Path) -> None:
        names = ["a/page 2.xml", "a/page 10.xml", "a/page 10a.xml", "b.xml", "٣.xml", "²0.xml"]
        for name in names:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(name)
        (tmp_path / "notes.txt").write_text("no export")
        found = [file.path.relative_to(tmp_path).as_posix() for file in find_files([tmp_path])]
        assert sorted(found) == sorted(names)
        assert [name for name in found if name.startswith("a/")] == names[:3]

    def test_a_file_that_is_there_twice_is_read_once(self, tmp_path: Path) -> None:
        for name in ("one.xml", "two.xml"):
            (tmp_path / name).write_text("<same/>")
        (file,) = find_files([tmp_path, tmp_path / "two.xml"])
        assert file.path.name == "one.xml"

    def test_a_named_file_may_have_any_name(self, tmp_path: Path) -> None:
        (tmp_path / "export").write_text("<a/>")
        assert len(find_files([tmp_path / "export"])) == 1

    def test_what_is_not_there_is_no_export(self, tmp_path: Path) -> None:
        for source in (tmp_path, tmp_path / "nothing.xml"):
            with pytest.raises(ExportError, match=source.name):
                find_files([source])
        with pytest.raises(ExportError):
            list(read_stanzas(tmp_path / "nothing.xml"))

    def test_a_suffix_may_be_in_capitals(self, tmp_path: Path) -> None:
        (tmp_path / "PAGE.XML").write_text("<a/>")
        (file,) = find_files([tmp_path])
        assert file.path.name == "PAGE.XML"

    def test_what_has_no_end_is_no_file(self, tmp_path: Path) -> None:
        pipe = tmp_path / "pipe.xml"
        os.mkfifo(pipe)
        for source in (tmp_path, pipe, Path(os.devnull)):
            with pytest.raises(ExportError, match="no regular file"):
                find_files([source])
        with pytest.raises(ExportError, match="no regular file"):
            list(read_stanzas(pipe))

    def test_nothing_is_passed_over_in_silence(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "one.xml").write_text("<a/>")
        link = tmp_path / "gone.xml"
        link.symlink_to("nowhere")
        with pytest.raises(ExportError, match=r"gone\.xml"):
            find_files([tmp_path])
        link.unlink()
        (tmp_path / "closed").mkdir()
        scan = os.scandir

        def refuse(path: str) -> Iterator[os.DirEntry[str]]:  # to root, no directory is closed
            if Path(path).name == "closed":
                raise PermissionError(13, "Permission denied", path)
            return scan(path)

        monkeypatch.setattr(os, "scandir", refuse)
        with pytest.raises(ExportError, match="closed: Permission denied"):
            find_files([tmp_path])


class TestStanzas:
    def test_a_file_may_be_one_stanza(self, written: Path) -> None:
        assert bodies(written, MESSAGE.format("alone")) == ["alone"]

    def test_they_may_stand_in_sections(self, written: Path) -> None:
        source = (
            "<?xml version='1.0' encoding='utf-8'?><!-- saved --><?page 1?><export xmlns='urn:x'>"
            f"text<month>{MESSAGE.format('one')} <message>not XMPP's</message></month>"
            f"<presence xmlns='jabber:client'/>{MESSAGE.format('two')}</export>\n<!-- end -->"
        )
        assert bodies(written, source) == ["one", "two"]

    def test_what_a_stanza_holds_is_no_stanza_of_its_own(self, written: Path) -> None:
        inner = MESSAGE.format("inner")
        (stanza,) = stanzas(written, f"<message xmlns='jabber:client'>{inner}</message>")
        assert isinstance(stanza, Element)
        assert stanza.elements[0].name == "message"

    def test_names_keep_what_they_stand_for(self, written: Path) -> None:
        source = (
            "<e:page xmlns:e='urn:x' xmlns='jabber:client' xmlns:a='urn:y'>"
            "<message><a:b/></message></e:page>"
        )
        (stanza,) = stanzas(written, source)
        assert isinstance(stanza, Element)
        assert stanza.elements[0].is_("urn:y", "b")

    @pytest.mark.parametrize("encoding", ["utf-16", "iso-8859-1"])
    def test_a_file_may_have_another_encoding(self, written: Path, encoding: str) -> None:
        source = f"<?xml version='1.0' encoding='{encoding}'?><p>{MESSAGE.format('é')}</p>"
        assert bodies(written, source.encode(encoding)) == ["é"]

    def test_a_file_without_stanzas_says_so(self, written: Path) -> None:
        assert stanzas(written, "<feed xmlns='http://www.w3.org/2005/Atom'/>") == [
            ErrorCode.MALFORMED
        ]
        (error,) = read_stanzas(written)
        assert "without any stanza" in str(error)

    @pytest.mark.parametrize("source", ["", " ", "plain text", "<", "\0", "{}"])
    def test_what_is_no_xml_says_so(self, written: Path, source: str) -> None:
        assert set(stanzas(written, source)) == {ErrorCode.MALFORMED}

    def test_a_file_that_was_cut_off_is_read_up_to_there(self, written: Path) -> None:
        whole = f"<page>{MESSAGE.format('one')}{MESSAGE.format('two')}</page>"
        first, *rest = stanzas(written, whole[:-30])
        assert isinstance(first, Element)
        assert rest == [ErrorCode.MALFORMED]

    def test_what_is_written_after_the_end_is_reported(self, written: Path) -> None:
        first, *rest = stanzas(written, MESSAGE.format("one") + MESSAGE.format("two"))
        assert isinstance(first, Element)
        assert rest == [ErrorCode.MALFORMED]

    def test_pieces_of_a_file_do_not_show(self, written: Path) -> None:
        texts = [f"{number}" * (number * 37 % 4000 + 1) for number in range(200)]
        source = "".join(map(MESSAGE.format, texts))
        assert bodies(written, f"<page>{source}</page>") == texts


class TestHostile:
    def test_x_01_a_document_type_is_refused(self, written: Path, tmp_path: Path) -> None:
        secret = tmp_path / "secret"
        secret.write_text("sesame")
        for declared in (
            f"<!ENTITY x SYSTEM 'file://{secret}'>",
            "<!ENTITY x 'sesame'>",
            "<!ENTITY y 'sesame'><!ENTITY x '&y;&y;&y;&y;&y;&y;&y;&y;'>",
            "<!ATTLIST message from CDATA 'mallory@example.org'>",
        ):
            source = f"<!DOCTYPE page [{declared}]><page>{MESSAGE.format('&x;')}</page>"
            assert stanzas(written, source) == [ErrorCode.MALFORMED]

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-7"])
    def test_x_01_a_declaration_has_no_place_to_hide(self, written: Path, encoding: str) -> None:
        source = (
            "<?xml version='1.0' encoding='{}'?> <!-- <a> --><?b <c> ?>"
            "<!DOCTYPE page [<!ENTITY x 'sesame'>]><page>{}</page>"
        ).format(encoding.removesuffix("-sig").removesuffix("-be"), MESSAGE.format("&x;"))
        declaration, end, rest = source.partition("?>")
        if encoding == "utf-7":
            hidden = rest.replace("<", "+ADw-").replace("!", "+ACE-")
            assert set(stanzas(written, declaration + end + hidden)) == {ErrorCode.MALFORMED}
        else:
            assert stanzas(written, source.encode(encoding)) == [ErrorCode.MALFORMED]

    def test_a_comment_declares_nothing(self, written: Path) -> None:
        source = f"<!-- <!DOCTYPE a> --><page>{MESSAGE.format('<![CDATA[<!DOCTYPE a>]]>')}</page>"
        assert bodies(written, source) == ["<!DOCTYPE a>"]

    @pytest.mark.parametrize("before", ["\n", "<!-- -->", "<?a b?>", "<page a='", "<!--"])
    def test_x_01_what_precedes_the_root_is_bounded(self, written: Path, before: str) -> None:
        source = before + " " * 70_000 if before in ("<page a='", "<!--") else before * 70_000
        assert stanzas(written, source) == [ErrorCode.LIMIT_EXCEEDED]

    @pytest.mark.parametrize(
        "around",
        [
            "<presence xmlns='jabber:client'>{}</presence>",
            "<page><presence xmlns='jabber:server'>{}</presence></page>",
            "<page><presence xmlns='jabber:client'><x>{}</x></presence></page>",
            "<presence xmlns='jabber:client'><x xmlns='jabber:client'>{}</x></presence>",
            "<page><vCard xmlns='vcard-temp'>{}</vCard></page>",
            "<page><section><deeper>{}</deeper></section></page>",
        ],
    )
    def test_s_14_what_is_no_stanza_holds_none(self, written: Path, around: str) -> None:
        result = f"<result xmlns='{ns.MAM}'/>"
        forged = f"<message xmlns='jabber:client'>{result}</message>{MESSAGE.format('forged')}"
        iq = f"<iq xmlns='jabber:client' type='result'><pubsub xmlns='{ns.PUBSUB}'/></iq>"
        stanzas(written, around.format(forged + iq + result))
        (error,) = read_stanzas(written)
        assert "without any stanza" in str(error)

    def test_a_stanza_beyond_the_bounds_stops_no_other(self, written: Path) -> None:
        one, two = MESSAGE.format("one"), MESSAGE.format("two")
        huge = "<message xmlns='jabber:client'>" + "<a>x</a>" * 700_000 + "</message>"
        first, second, third = stanzas(written, f"<page>{one}{huge}{two}</page>")
        assert isinstance(first, Element)
        assert second is ErrorCode.LIMIT_EXCEEDED
        assert isinstance(third, Element)
        assert third.elements[0].text == "two"

    @pytest.mark.parametrize(
        "content",
        ["<a>" * 100 + "</a>" * 100, "x" * (limits.MAX_TEXT_BYTES + 1), "<a/>" * 20_000],
        ids=["deep", "long", "many"],
    )
    def test_so_does_one_that_no_network_would_bring(self, written: Path, content: str) -> None:
        stanza = f"<message xmlns='jabber:client'>{content}</message>"
        first, second = stanzas(written, f"<page>{stanza}{MESSAGE.format('two')}</page>")
        assert first is ErrorCode.LIMIT_EXCEEDED
        assert isinstance(second, Element)


class TestPortable:
    """XEP-0227: what a server keeps has no stanza around it, but a user."""

    RESULT = f"<result xmlns='{ns.MAM}'><forwarded xmlns='{ns.FORWARD}'/></result>"
    PUBSUB = f"<pubsub xmlns='{ns.PUBSUB}'><items node='blog'/></pubsub>"

    def user(self, content: str, name: str = "juliet", host: str = "capulet.lit") -> str:
        return (
            f"<server-data xmlns='urn:xmpp:pie:0'><host jid='{host}'><user name='{name}'>"
            f"{content}</user></host></server-data>"
        )

    def archive(self, content: str) -> str:
        return f"<archive xmlns='urn:xmpp:pie:0#mam'>{content}</archive>"

    def test_it_comes_from_its_user(self, written: Path) -> None:
        message, iq = stanzas(written, self.user(self.archive(self.RESULT) + self.PUBSUB))
        assert isinstance(message, Element)
        assert isinstance(iq, Element)
        assert (message.name, message.get("from")) == ("message", "juliet@capulet.lit")
        assert message.elements[0].is_(ns.MAM, "result")
        assert (iq.name, iq.get("from"), iq.get("type")) == ("iq", "juliet@capulet.lit", "result")
        assert iq.elements[0].is_(ns.PUBSUB, "pubsub")

    def test_of_nobody_it_is_refused(self, written: Path) -> None:
        source = f"<page>{self.user(self.PUBSUB)}{self.RESULT}{self.PUBSUB}</page>"
        assert stanzas(written, source) == [ErrorCode.MALFORMED] * 2

    def test_messages_that_wait_are_messages(self, written: Path) -> None:
        waiting = f"<offline-messages>{MESSAGE.format('offline')}</offline-messages>"
        assert bodies(written, self.user(waiting)) == ["offline"]

    @pytest.mark.parametrize(
        "around",
        [
            "{}",
            "<vCard xmlns='vcard-temp'>{}</vCard>",
            "<query xmlns='jabber:iq:private'>{}</query>",
            "<archive xmlns='urn:xmpp:pie:0#mam'><x>{}</x></archive>",
            "<offline-messages><presence xmlns='jabber:client'>{}</presence></offline-messages>",
        ],
    )
    def test_s_14_what_a_user_stored_is_no_archive(self, written: Path, around: str) -> None:
        forged = f"<message xmlns='jabber:client'>{self.RESULT}</message>{self.RESULT}"
        source = self.user(around.format(forged), name="mallory")
        stanzas(written, source)
        (error,) = read_stanzas(written)
        assert "without any stanza" in str(error)

    def test_s_14_a_user_in_what_another_stored_is_nobody(self, written: Path) -> None:
        nested = self.user(self.archive(self.RESULT))
        inner = nested.removeprefix("<server-data xmlns='urn:xmpp:pie:0'>")
        inner = inner.removesuffix("</server-data>")
        user = f"<user name='juliet'>{self.archive(self.RESULT)}</user>"
        stored = f"<query xmlns='jabber:iq:private'>{nested}<x xmlns='urn:xmpp:pie:0'>{inner}</x>"
        source = self.user(
            f"{stored}</query>{inner}{user}{self.archive(self.RESULT)}", name="mallory"
        )
        (message,) = stanzas(written, source)
        assert isinstance(message, Element)
        assert message.get("from") == "mallory@capulet.lit"
