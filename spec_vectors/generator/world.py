"""The people, nodes, secrets and payloads that the cases are about.

Rule: constants only; domains are reserved ones (RFC 2606).
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ATOM",
    "BLOG",
    "ENTRY",
    "ENTRY_UTF8",
    "FEED",
    "JULIET",
    "JULIET_KEY",
    "LONG_ENTRY",
    "NURSE",
    "OTHER_KEY",
    "OXPS",
    "ROMEO",
    "ROMEO_KEY",
    "SECRET",
    "SECRET_ID",
    "TYBALT",
    "TYBALT_KEY",
]

OXPS: Final = "urn:xmpp:openpgp:pubsub:0"
ATOM: Final = "http://www.w3.org/2005/Atom"

JULIET: Final = "juliet@capulet.example"
NURSE: Final = "nurse@capulet.example"
ROMEO: Final = "romeo@montague.example"
TYBALT: Final = "tybalt@capulet.example"

JULIET_KEY: Final = "1357B01865B2503C18453D208CAC2A9678548E35"
OTHER_KEY: Final = "67819B343B2AB70DED9320872C6464AF2A8E4C02"
ROMEO_KEY: Final = "9A0FE2C1B4D85736F0A1C2E3948576B8D7E6F5A4"
TYBALT_KEY: Final = "77A0C0FFEE0123456789ABCDEF0123456789ABCD"

BLOG: Final = {"service": JULIET, "node": "urn:xmpp:microblog:0"}
"""A node on Juliet's own account (PEP)."""

FEED: Final = {"service": "pubsub.capulet.example", "node": "123abc"}
"""A node on a pubsub service that nobody's account is."""

SECRET_ID: Final = "1234-abcd-5678-efgh"
SECRET: Final = "ZSRD5lK9mz-5VHNyu2N1XLiJZ8I87jkv85ceZkVrOGA"
"""The secret of the specification's own example."""

ENTRY: Final = f"<entry xmlns='{ATOM}'><title>She is so pretty!</title><id>tag:1</id></entry>"
ENTRY_UTF8: Final = (
    f"<entry xmlns='{ATOM}'><title type='text'>Où est Roméo? 薔薇 🌹</title>"
    "<summary>a &lt; b &amp;&amp; c > d</summary><id>tag:2</id></entry>"
)
LONG_ENTRY: Final = (
    f"<entry xmlns='{ATOM}'><title>O Romeo, Romeo!</title><content>"
    + "".join(f"{line}. Deny thy father and refuse thy name. " for line in range(1, 61))
    + "</content></entry>"
)
