"""Our own XML tree: frozen elements that keep their prefixes, and strict access to children.

Rule: values only, checked once when they are made; parsing and writing live in ``xmlparse`` and
``xmlwrite``. ElementTree is not used because it loses prefixes, which canonicalisation needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final, NoReturn

from e2ee import limits, ns
from e2ee.errors import ApiMisuse, ErrorCode, PeerMisbehaved
from e2ee.xmlnames import NAMESPACE, NCNAME, NOT_CHAR

__all__ = ["Attribute", "Element", "element"]

_NAMES_RULE: Final = "Namespaces in XML 1.0 §3"
_SPACE_VALUES: Final = ("default", "preserve")  # XML 1.0 §2.10


def _misuse(what: str) -> NoReturn:
    raise ApiMisuse(what, rule=_NAMES_RULE)


@lru_cache(maxsize=1024)  # the same few names come again and again
def _check_name(namespace: str, name: str, prefix: str) -> None:
    if not NCNAME.fullmatch(name):
        _misuse("an XML name that is no NCName")
    if prefix and not NCNAME.fullmatch(prefix):
        _misuse("an XML prefix that is no NCName")
    if namespace and not NAMESPACE.fullmatch(namespace):
        _misuse("an XML namespace name that is no URI")
    if namespace == ns.XMLNS or prefix == "xmlns":
        _misuse("an XML name in the namespace that is reserved for declarations")
    if prefix and (not namespace or (prefix == "xml") != (namespace == ns.XML)):
        _misuse("an XML prefix that cannot stand for its namespace")


@lru_cache(maxsize=1024)
def _check_declarations(declarations: tuple[tuple[str, str], ...]) -> None:
    for prefix, uri in declarations:
        if (prefix and not (NCNAME.fullmatch(prefix) and uri)) or not NAMESPACE.fullmatch(uri):
            _misuse("an XML namespace declaration without a proper prefix or URI")
        if prefix in ("xml", "xmlns") or uri in (ns.XML, ns.XMLNS):
            _misuse("an XML namespace declaration of what is reserved")
    if len({prefix for prefix, _ in declarations}) != len(declarations):
        _misuse("an XML prefix that is declared twice on one element")


@dataclass(frozen=True, slots=True, repr=False)
class Attribute:
    """One attribute; in no namespace unless one is named.

    Attributes:
        name: the local name.
        value: the normalised value.
        namespace: its namespace name, ``""`` for none.
        prefix: as written; ``""`` where the writer may choose one.
    """

    name: str
    value: str
    namespace: str = ""
    prefix: str = ""

    def __post_init__(self) -> None:
        _check_name(self.namespace, self.name, self.prefix)
        if NOT_CHAR.search(self.value):
            _misuse("an XML attribute with a code point that is no character")
        if self.name == "xmlns" and not self.namespace:
            _misuse("an XML declaration given as an attribute")
        if self.namespace == ns.XML and self.name == "space" and self.value not in _SPACE_VALUES:
            _misuse("an xml:space that is neither default nor preserve")

    def __repr__(self) -> str:  # a value may be content
        return f"<Attribute {_clark(self.namespace, self.name)}>"


@dataclass(frozen=True, slots=True, repr=False)
class Element:
    """One element with all that is below it.

    Empty text and two texts side by side are refused, so that equal content is an equal tree.
    ``==`` compares everything, prefixes too; :meth:`same_content` compares what they stand for.

    Attributes:
        namespace: the namespace name, ``""`` for none.
        name: the local name.
        attributes: in document order, without namespace declarations.
        children: elements and texts in document order.
        prefix: as written; ``""`` for none.
        declarations: the ``(prefix, URI)`` of each namespace declaration, as written and in that
            order; prefix ``""`` is the default one. ``xml``, always bound, is not listed.
        depth: 1 for an element without child elements; never above ``limits.MAX_DEPTH``, which
            bounds every recursion over a tree.

    Raises:
        ApiMisuse: it could not be written as namespace-well-formed XML, or is too deep.
    """

    namespace: str
    name: str
    attributes: tuple[Attribute, ...] = ()
    children: tuple[Element | str, ...] = ()
    prefix: str = ""
    declarations: tuple[tuple[str, str], ...] = ()
    depth: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        _check_name(self.namespace, self.name, self.prefix)
        if self.declarations:
            _check_declarations(self.declarations)
        if len(self.attributes) > 1:
            expanded = {(attribute.namespace, attribute.name) for attribute in self.attributes}
            if len(expanded) != len(self.attributes):
                _misuse("an XML attribute that is given twice")
        deepest = 0
        after_text = False
        for child in self.children:
            if isinstance(child, Element):
                deepest = max(deepest, child.depth)
                after_text = False
                continue
            if not child or after_text:
                _misuse("XML text that is empty, or beside other text")
            if NOT_CHAR.search(child):
                _misuse("XML text with a code point that is no character")
            after_text = True
        if deepest >= limits.MAX_DEPTH:
            raise ApiMisuse(f"an XML tree deeper than {limits.MAX_DEPTH} elements")
        object.__setattr__(self, "depth", deepest + 1)

    def __repr__(self) -> str:
        return f"<Element {_clark(self.namespace, self.name)}, {len(self.children)} children>"

    @property
    def text(self) -> str:
        """The direct text, joined; what is inside child elements is not part of it."""
        return "".join([child for child in self.children if isinstance(child, str)])

    def leaf_text(self, rule: str | None = None) -> str:
        """Return the text of an element that must have no child elements.

        Raises:
            PeerMisbehaved: ``malformed`` when it has some; other readers may take the text up to
                the first one.
        """
        if self.elements:
            raise PeerMisbehaved(
                ErrorCode.MALFORMED, f"<{self.name}/> with elements in its text", rule=rule
            )
        return self.text

    @property
    def elements(self) -> tuple[Element, ...]:
        """The child elements."""
        return tuple([child for child in self.children if isinstance(child, Element)])

    def is_(self, namespace: str, name: str) -> bool:
        """Say whether this is ``{namespace}name``."""
        return self.name == name and self.namespace == namespace

    def get(self, name: str, namespace: str = "") -> str | None:
        """Return the value of an attribute, or ``None``; ``p:jid`` is never taken for ``jid``."""
        for attribute in self.attributes:
            if attribute.name == name and attribute.namespace == namespace:
                return attribute.value
        return None

    def require(self, name: str, rule: str | None = None) -> str:
        """Return the value of an attribute in no namespace.

        Raises:
            PeerMisbehaved: ``malformed`` where there is none.
        """
        value = self.get(name)
        if value is None:
            raise PeerMisbehaved(
                ErrorCode.MALFORMED, f"<{self.name}/> without attribute {name}", rule=rule
            )
        return value

    def find_all(self, namespace: str, name: str) -> tuple[Element, ...]:
        """Return every child ``{namespace}name``."""
        return tuple(
            [
                child
                for child in self.children
                if isinstance(child, Element) and child.is_(namespace, name)
            ]
        )

    def optional(self, namespace: str, name: str, rule: str | None = None) -> Element | None:
        """Return the child ``{namespace}name``, or ``None``; the first of several is never taken.

        Raises:
            PeerMisbehaved: ``malformed`` when there are several.
        """
        found = self.find_all(namespace, name)
        if len(found) > 1:
            raise PeerMisbehaved(
                ErrorCode.MALFORMED, f"<{self.name}/> with more than one <{name}/>", rule=rule
            )
        return found[0] if found else None

    def only(self, namespace: str, name: str, rule: str | None = None) -> Element:
        """Return the one child ``{namespace}name``.

        Raises:
            PeerMisbehaved: ``malformed`` when there is none, or several.
        """
        found = self.optional(namespace, name, rule)
        if found is None:
            raise PeerMisbehaved(
                ErrorCode.MALFORMED, f"<{self.name}/> without <{name}/>", rule=rule
            )
        return found

    def same_content(self, other: Element) -> bool:
        """Compare what names stand for; not prefixes, declarations or the order of attributes."""
        return (
            self.is_(other.namespace, other.name)
            and _values(self) == _values(other)
            and len(self.children) == len(other.children)
            and all(map(_same, self.children, other.children))
        )

    def unprefixed(self) -> Element:
        """Return the same content with every element written by a default namespace.

        Declarations of prefixes stay, since text may refer to them; so do attributes' prefixes.
        """
        return replace(
            self,
            prefix="",
            declarations=tuple([pair for pair in self.declarations if pair[0]]),
            children=tuple(
                [
                    child.unprefixed() if isinstance(child, Element) else child
                    for child in self.children
                ]
            ),
        )


def _clark(namespace: str, name: str) -> str:
    return f"{{{namespace}}}{name}" if namespace else name


def _values(of: Element) -> dict[tuple[str, str], str]:
    return {(attribute.namespace, attribute.name): attribute.value for attribute in of.attributes}


def _same(one: Element | str, other: Element | str) -> bool:
    if isinstance(one, Element) and isinstance(other, Element):
        return one.same_content(other)
    return one == other


def element(
    namespace: str,
    name: str,
    attributes: Mapping[str, str] | None = None,
    *children: Element | str,
) -> Element:
    """Build an element without prefixes.

    Args:
        namespace: the namespace name, ``""`` for none.
        name: the local name.
        attributes: names in no namespace, with their values.
        children: elements and texts; no empty text, no two texts side by side.

    Raises:
        ApiMisuse: it could not be written as namespace-well-formed XML, or is too deep.
    """
    given = tuple([Attribute(key, value) for key, value in (attributes or {}).items()])
    return Element(namespace, name, given, children)
