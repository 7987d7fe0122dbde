"""Canonical forms: elements, attributes, namespaces and the prefixes that stand for them.

Rule: what becomes of white space stands in ``canonical_texts``.
"""

from __future__ import annotations

from collections.abc import Iterator

from spec_vectors.generator.canonical import REFUSED, canonical_case
from spec_vectors.generator.case import Case

__all__ = ["cases"]

_XSI = "http://www.w3.org/2001/XMLSchema-instance"


def cases() -> Iterator[Case]:
    """Yield the cases."""
    yield from _default_namespaces()
    yield from _prefixes()
    yield from _attributes()
    yield from _of_the_xml_namespace()


def _default_namespaces() -> Iterator[Case]:
    for case_id, comment, xml, text in (
        ("empty", "an empty element has two tags",
         "<a xmlns='urn:a'/>",
         '<a xmlns="urn:a"></a>'),
        ("spaces-in-tags", "white space inside of tags means nothing",
         "<a  xmlns = 'urn:a'\n b='1' ><c\t/></a >",
         '<a xmlns="urn:a" b="1"><c></c></a>'),
        ("no-namespace", "none at all", "<a><b/></a>", "<a><b></b></a>"),
        ("no-namespace-declared", "none, and it says so", "<a xmlns=''/>", "<a></a>"),
        ("no-namespace-inside", "a child in none",
         "<a xmlns='urn:a'><b xmlns=''><c/></b></a>",
         '<a xmlns="urn:a"><b xmlns=""><c></c></b></a>'),
        ("inherited", "a child in the namespace of its parent", "<a xmlns='urn:a'><b/></a>",
         '<a xmlns="urn:a"><b></b></a>'),
        ("repeated", "declared again to the same: said once",
         "<a xmlns='urn:a'><b xmlns='urn:a'/></a>", '<a xmlns="urn:a"><b></b></a>'),
        ("changed", "declared again to another, which ends with the element",
         "<a xmlns='urn:a'><b xmlns='urn:b'><c/></b><d/></a>",
         '<a xmlns="urn:a"><b xmlns="urn:b"><c></c></b><d></d></a>'),
        ("changed-and-back", "another, and inside of it the first again",
         "<a xmlns='urn:a'><b xmlns='urn:b'><c xmlns='urn:a'/></b></a>",
         '<a xmlns="urn:a"><b xmlns="urn:b"><c xmlns="urn:a"></c></b></a>'),
        ("of-siblings", "each sibling declares its own",
         "<a><b xmlns='urn:b'/><b xmlns='urn:b'/></a>",
         '<a><b xmlns="urn:b"></b><b xmlns="urn:b"></b></a>'),
        ("query", "a namespace name with an ampersand", "<a xmlns='urn:a?b&amp;c'/>",
         '<a xmlns="urn:a?b&amp;c"></a>'),
        ("beyond-ascii", "a name beyond ASCII", "<é xmlns='urn:a'/>", '<é xmlns="urn:a"></é>'),
    ):  # fmt: skip
        yield canonical_case(f"namespace-{case_id}", ["INTEROP"], comment, xml, text)


def _prefixes() -> Iterator[Case]:
    for case_id, flag, comment, xml, text in (
        ("kept", "X-12", "a prefix stays as it was written", "<p:a xmlns:p='urn:a'/>",
         '<p:a xmlns:p="urn:a"></p:a>'),
        ("inherited", "X-12", "it is declared once", "<p:a xmlns:p='urn:a'><p:b/></p:a>",
         '<p:a xmlns:p="urn:a"><p:b></p:b></p:a>'),
        ("repeated", "X-12", "declared again to the same: said once",
         "<p:a xmlns:p='urn:a'><p:b xmlns:p='urn:a'/></p:a>",
         '<p:a xmlns:p="urn:a"><p:b></p:b></p:a>'),
        ("unused", "X-19", "one that no name uses is not declared",
         "<a xmlns='urn:a' xmlns:p='urn:p'/>", '<a xmlns="urn:a"></a>'),
        ("unused-default", "X-19", "a default that no name uses is not declared",
         "<p:a xmlns:p='urn:p' xmlns='urn:a'/>", '<p:a xmlns:p="urn:p"></p:a>'),
        ("default-used-later", "X-12", "a default is declared where it is used first",
         "<p:a xmlns:p='urn:p' xmlns='urn:a'><b/></p:a>",
         '<p:a xmlns:p="urn:p"><b xmlns="urn:a"></b></p:a>'),
        ("used-later", "X-12", "one is declared where it is used first, in each branch",
         "<a xmlns='urn:a' xmlns:p='urn:p'><p:b/><p:c><p:d/></p:c></a>",
         '<a xmlns="urn:a"><p:b xmlns:p="urn:p"></p:b><p:c xmlns:p="urn:p"><p:d></p:d></p:c></a>'),
        ("rebound", "X-12", "one that means something else inside",
         "<p:a xmlns:p='urn:a'><p:b xmlns:p='urn:b'/><p:c/></p:a>",
         '<p:a xmlns:p="urn:a"><p:b xmlns:p="urn:b"></p:b><p:c></p:c></p:a>'),
        ("rebound-and-back", "X-12", "and the first again inside of that",
         "<p:a xmlns:p='urn:a'><p:b xmlns:p='urn:b'><p:c xmlns:p='urn:a'/></p:b></p:a>",
         '<p:a xmlns:p="urn:a"><p:b xmlns:p="urn:b"><p:c xmlns:p="urn:a"></p:c></p:b></p:a>'),
        ("rebound-unused", "X-12", "rebound where no name uses it",
         "<p:a xmlns:p='urn:a'><b xmlns:p='urn:b'><p:c/></b></p:a>",
         '<p:a xmlns:p="urn:a"><b><p:c xmlns:p="urn:b"></p:c></b></p:a>'),
        ("beside-default", "X-19", "one namespace by prefix and by default: two forms",
         "<a xmlns='urn:u' xmlns:p='urn:u'><p:b/><b/></a>",
         '<a xmlns="urn:u"><p:b xmlns:p="urn:u"></p:b><b></b></a>'),
        ("two-for-one", "X-19", "one namespace by two prefixes: two forms",
         "<a xmlns:q='urn:u' xmlns:p='urn:u'><p:b/><q:b/></a>",
         '<a><p:b xmlns:p="urn:u"></p:b><q:b xmlns:q="urn:u"></q:b></a>'),
        ("another-inside", "X-19", "another prefix inside is not replaced by the outer one",
         "<p:a xmlns:p='urn:u'><q:b xmlns:q='urn:u'/></p:a>",
         '<p:a xmlns:p="urn:u"><q:b xmlns:q="urn:u"></q:b></p:a>'),
        ("default-undone-unseen", "X-12", "a default that was never declared is not undone",
         "<p:a xmlns='urn:a' xmlns:p='urn:p'><b xmlns=''/></p:a>",
         '<p:a xmlns:p="urn:p"><b></b></p:a>'),
        ("default-undone-seen", "X-12", "one that was is undone",
         "<a xmlns='urn:a' xmlns:p='urn:p'><p:b><c xmlns=''/></p:b></a>",
         '<a xmlns="urn:a"><p:b xmlns:p="urn:p"><c xmlns=""></c></p:b></a>'),
        ("in-value", "X-19", "a value that looks like a name is none",
         "<a xmlns:x='urn:one' t='x:y'/>", '<a t="x:y"></a>'),
        ("in-value-rebound", "X-19", "the same text, with another meaning to whoever reads it so",
         "<a xmlns:x='urn:two' t='x:y'/>", '<a t="x:y"></a>'),
        ("in-text", "X-19", "a text that looks like a name is none",
         "<a xmlns:x='urn:one'>x:y</a>", "<a>x:y</a>"),
        ("xsi-type", "X-19", "a type by a prefix that no name uses",
         f"<a xmlns:xsi='{_XSI}' xmlns:x='urn:x' xsi:type='x:t'/>",
         f'<a xmlns:xsi="{_XSI}" xsi:type="x:t"></a>'),
        ("sorted", "X-12", "declarations are sorted by prefix, the default first",
         "<a xmlns:z='urn:1' xmlns:y='urn:2' xmlns='urn:3' z:a='1' y:a='2'/>",
         '<a xmlns="urn:3" xmlns:y="urn:2" xmlns:z="urn:1" z:a="1" y:a="2"></a>'),
    ):  # fmt: skip
        yield canonical_case(f"prefix-{case_id}", [flag], comment, xml, text, REFUSED)


def _attributes() -> Iterator[Case]:
    for case_id, comment, inside, expected in (
        ("quotes", "double quotes around values", "b='1' c=\"2\"", 'b="1" c="2"'),
        ("escapes", "what is escaped in a value, and what is not",
         "b='&lt;&gt;&amp;&quot;&apos;'", "b=\"&lt;>&amp;&quot;'\""),
        ("references", "references are characters", "b='&#65;&#x42;&#xe9;'", 'b="ABé"'),
        ("empty", "an empty value", "b=''", 'b=""'),
        ("sorted", "sorted by the code points of their names",
         "é='5' b='4' a='3' _='2' A='1'", 'A="1" _="2" a="3" b="4" é="5"'),
        ("sorted-beginnings", "names that begin alike",
         "ab='4' a.b='3' a-b='2' a='1'", 'a="1" a-b="2" a.b="3" ab="4"'),
        ("sorted-numbers", "numbers in names are text", "a10='2' a2='3' a1='1'",
         'a1="1" a10="2" a2="3"'),
        ("edge-spaces", "values are never trimmed", "b=' 1 '", 'b=" 1 "'),
        ("line-break", "white space that stands in a value as such is spaces",
         "b='1\t2\n3\r\n4'", 'b="1 2 3 4"'),
        ("unicode-spaces", "what only Unicode calls white space stays",
         "b='\u00a01\u3000'", 'b="\u00a01\u3000"'),
        ("emoji", "a character beyond 16 bits", "b='🌹'", 'b="🌹"'),
        ("composed", "characters are not normalised", "b='\u00e9e\u0301'", 'b="\u00e9e\u0301"'),
    ):  # fmt: skip
        yield canonical_case(
            f"attribute-{case_id}", ["INTEROP"], comment,
            f"<a xmlns='urn:a' {inside}/>", f'<a xmlns="urn:a" {expected}></a>',
        )  # fmt: skip
    for case_id, comment, xml, text in (
        ("prefixed", "one in a namespace",
         "<a xmlns:p='urn:p' p:b='1'/>", '<a xmlns:p="urn:p" p:b="1"></a>'),
        ("prefixed-as-default", "one in the namespace that is also the default keeps its prefix",
         "<a xmlns='urn:u' xmlns:p='urn:u' p:z='1'/>",
         '<a xmlns="urn:u" xmlns:p="urn:u" p:z="1"></a>'),
        ("prefixed-twin", "beside one of the same name in none",
         "<a xmlns='urn:u' xmlns:p='urn:u' p:z='1' z='2'/>",
         '<a xmlns="urn:u" xmlns:p="urn:u" z="2" p:z="1"></a>'),
        ("sorted-namespaces", "sorted by namespace and not by prefix, those in none first",
         "<a xmlns:b='urn:1' xmlns:a='urn:2' a:k='3' b:k='2' z='1'/>",
         '<a xmlns:a="urn:2" xmlns:b="urn:1" z="1" b:k="2" a:k="3"></a>'),
        ("sorted-beyond-ascii", "one in none whose name begins beyond ASCII is still first",
         "<a xmlns:p='urn:p' p:a='2' é='1'/>", '<a xmlns:p="urn:p" é="1" p:a="2"></a>'),
        ("sorted-xml", "those of xml: stand where their namespace name belongs",
         "<a xmlns:p='a:b' xmlns:q='urn:q' xml:lang='en' p:k='1' q:k='3'/>",
         '<a xmlns:p="a:b" xmlns:q="urn:q" p:k="1" xml:lang="en" q:k="3"></a>'),
        ("prefix-of-parent", "a prefix that only the parent declares",
         "<p:a xmlns:p='urn:p'><b p:c='1'/></p:a>",
         '<p:a xmlns:p="urn:p"><b p:c="1"></b></p:a>'),
    ):  # fmt: skip
        yield canonical_case(f"attribute-{case_id}", ["X-13"], comment, xml, text, REFUSED)
    for case_id, comment, value, written in (
        ("tab", "a tab", "&#9;", "&#x9;"),
        ("line-feed", "a line feed", "&#10;", "&#xA;"),
        ("carriage-return", "a carriage return", "&#xD;", "&#xD;"),
    ):
        yield canonical_case(
            f"attribute-{case_id}", ["X-20"], f"{comment} by reference, which transports lose",
            f"<a xmlns='urn:a' b='1{value}2'/>", f'<a xmlns="urn:a" b="1{written}2"></a>', REFUSED,
        )  # fmt: skip


def _of_the_xml_namespace() -> Iterator[Case]:
    for case_id, comment, xml, text in (
        ("lang", "xml:lang, whose prefix is never declared",
         "<a xmlns='urn:a' xml:lang='en'/>", '<a xmlns="urn:a" xml:lang="en"></a>'),
        ("lang-inherited", "nothing is inherited by what is inside",
         "<a xmlns='urn:a' xml:lang='en'><b/></a>", '<a xmlns="urn:a" xml:lang="en"><b></b></a>'),
        ("base", "xml:base is not resolved",
         "<a xmlns='urn:a' xml:base='http://a.example/'><b xml:base='../c'/></a>",
         '<a xmlns="urn:a" xml:base="http://a.example/"><b xml:base="../c"></b></a>'),
        ("after-others", "after attributes in no namespace",
         "<a xmlns='urn:a' xml:lang='en' z='1' b='2'/>",
         '<a xmlns="urn:a" b="2" z="1" xml:lang="en"></a>'),
        ("sorted", "sorted among themselves",
         "<a xmlns='urn:a' xml:space='preserve' xml:lang='en' xml:base='b'/>",
         '<a xmlns="urn:a" xml:base="b" xml:lang="en" xml:space="preserve"></a>'),
        ("before-beyond-ascii", "after one whose name begins beyond ASCII",
         "<a xmlns='urn:a' xml:lang='en' é='1'/>", '<a xmlns="urn:a" é="1" xml:lang="en"></a>'),
    ):  # fmt: skip
        yield canonical_case(f"xml-attribute-{case_id}", ["X-19"], comment, xml, text)
