"""Items that differ, two by two, though some canonicaliser gives both the same bytes.

Rule: texts of payloads only; that no signature is good for both of a pair, tests say.
"""

from __future__ import annotations

__all__ = ["PAIRS"]

PAIRS = {
    "leading space": ("<value>  pay 10</value>", "<value>pay 10</value>"),
    "indentation": ("<pre>    return x</pre>", "<pre>return x</pre>"),
    "mixed content": ("<p>Ann <b>owes</b> Bob</p>", "<p>Ann<b>owes</b>Bob</p>"),
    "unicode space": ("<v>\u3000x\xa0</v>", "<v>x</v>"),
    "both kinds of space": ("<v> \u2003x</v>", "<v>x</v>"),
    "declaration for text": (
        "<a xmlns:x='urn:one' t='x:y'/>",
        "<a xmlns:x='urn:two' t='x:y'/>",
    ),
    "white space alone": ("<a>\n</a>", "<a/>"),
    "prefix of the default namespace": (
        "<a xmlns='urn:u' xmlns:p='urn:u' p:z='1'/>",
        "<a xmlns='urn:u' z='1'/>",
    ),
    "two prefixes": (
        "<a xmlns='urn:u' xmlns:q='urn:u' xmlns:p='urn:u'><p:b/><q:b/></a>",
        "<a xmlns='urn:u' xmlns:q='urn:u' xmlns:p='urn:u'><q:b/><q:b/></a>",
    ),
    "shadowed prefix": (
        "<p:f xmlns:p='urn:a'><g xmlns:p='urn:b' xmlns='urn:a'/></p:f>",
        "<p:f xmlns:p='urn:a'><p:g xmlns:p='urn:b'/></p:f>",
    ),
    "default inside preserve": (
        "<p xml:space='preserve'> a<b xml:space='default'> c</b></p>",
        "<p xml:space='preserve'> a<b xml:space='default'>c</b></p>",
    ),
    "tab in a value": ("<v a='x&#9;y'/>", "<v a='x y'/>"),
    "carriage return": ("<v>x&#13;y</v>", "<v>x\ny</v>"),
}
"""Different items that some canonicaliser gives the same bytes."""
