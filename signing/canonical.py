"""Canonical XML 2.0 with the parameters of XEP-0475 §6: the one text of a tree that is signed.

Rule: a tree in, bytes out; what may be signed is in ``profile.py``, what gets signed in
``readings.py``. Nothing recurses and nothing is looked at twice, because the tree may be hostile.

The canonicalisers of Python and of lxml are not used: they confuse ``p:a`` with ``a``, and trim
what is no white space in XML. The second of it Libervia does as well, hence the second form here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from e2ee import limits, ns
from e2ee.errors import ApiMisuse, ErrorCode, PeerMisbehaved
from e2ee.xmlnames import S
from e2ee.xmltree import Attribute, Element

__all__ = ["canonical", "canonical_as_libervia", "has_prefixes", "trims", "trims_as_libervia"]

_RULE: Final = "Canonical XML 2.0 §2"


def canonical(root: Element) -> bytes:
    """Return the strict canonical form of a tree, as a document of its own.

    Text is trimmed of XML white space unless ``xml:space="preserve"`` is in scope, prefixes stay as
    written, no value is taken for a qualified name, and a declaration is written where its prefix
    is used first.

    Args:
        root: any tree, within the bounds of the parser or not; declarations that no name uses are
            left out.

    Returns:
        UTF-8, without an XML declaration.

    Raises:
        PeerMisbehaved: ``ambiguous`` for a tree that was not parsed by ``parse_xml``, and has an
            attribute in a namespace but without a prefix, or one prefix for two namespaces on one
            element; ``limit-exceeded`` for more than ``limits.MAX_XML_BYTES`` of declarations,
            which the names of a tree can ask for if they have prefixes.
    """
    return _written(root, _STRICT)


def canonical_as_libervia(root: Element) -> bytes:
    """Return what Libervia 0.9 signs, for a tree without prefixes.

    Other than in the strict form, all that Unicode calls white space is trimmed, a carriage return
    becomes a line feed, tabs and line ends in attributes become spaces, and ``xml:`` attributes
    stand before those whose name begins beyond ASCII. What it signs behind an inner ``xmlns=""``,
    which is no XML, is not followed.

    Args:
        root: a tree that neither uses nor declares a prefix other than ``xml``.

    Returns:
        UTF-8, without an XML declaration.

    Raises:
        ApiMisuse: ``ambiguous`` for a tree with prefixes, for which Libervia signs the same bytes
            as for others.
    """
    if has_prefixes(root):
        raise ApiMisuse("an XML tree with prefixes, for Libervia", code=ErrorCode.AMBIGUOUS)
    return _written(root, _LIBERVIA)


def trims(root: Element) -> bool:
    """Say whether the strict form leaves out some white space of a tree."""
    return _trims(root, S)


def trims_as_libervia(root: Element) -> bool:
    """Say whether Libervia's form leaves out some white space of a tree."""
    return _trims(root, None)


def has_prefixes(root: Element) -> bool:
    """Say whether a tree uses or declares a prefix other than ``xml``, or needs one."""
    return any(
        element.prefix not in ("", "xml")
        or any(prefix for prefix, _ in element.declarations)
        or any(attribute.namespace not in ("", ns.XML) for attribute in element.attributes)
        for element, _ in _elements(root)
    )


@dataclass(frozen=True, slots=True)
class _Form:
    """Where the two forms differ.

    Attributes:
        spaces: what is trimmed, as ``str.strip`` takes it.
        text: writes a text that is trimmed already.
        value: writes the value of an attribute.
        order: what attributes are sorted by.
    """

    spaces: str | None
    text: Callable[[str], str]
    value: Callable[[str], str]
    order: Callable[[Attribute], tuple[str, str]]


class _Scope:
    """What each prefix, and none, stands for at the place that is being written.

    Changes are undone on the way out. A copy for each element would be quadratic, and so would be
    the declarations themselves: one long name may be used by ten thousand siblings.
    """

    def __init__(self) -> None:
        self.bound = {"": "", "xml": ns.XML}
        self._room = limits.MAX_XML_BYTES  # no parsed document has more of its own

    def enter(self, used: dict[str, str]) -> tuple[list[str], dict[str, str]]:
        """Return the declarations that are needed, and what their prefixes stood for before."""
        anew = sorted([pair for pair in used.items() if self.bound.get(pair[0], "") != pair[1]])
        if not anew:
            return [], {}
        before = {prefix: self.bound.get(prefix, "") for prefix, _ in anew}
        self.bound.update(anew)
        declarations = [
            f' xmlns{prefix and ":"}{prefix}="{uri.replace("&", "&amp;")}"' for prefix, uri in anew
        ]
        self._room -= sum(map(len, declarations))
        if self._room < 0:
            raise PeerMisbehaved(
                ErrorCode.LIMIT_EXCEEDED,
                f"XML with more than {limits.MAX_XML_BYTES} bytes of namespaces to declare",
            )
        return declarations, before

    def leave(self, before: dict[str, str]) -> None:
        """Undo what was declared."""
        self.bound.update(before)


def _written(root: Element, form: _Form) -> bytes:
    spaces, written = form.spaces, form.text
    scope = _Scope()
    parts: list[str] = []
    outer: list[tuple[Iterator[Element | str], str, bool, dict[str, str]]] = []
    todo: Iterator[Element | str] = iter((root,))  # of the innermost open element
    end, preserved = "", False
    before: dict[str, str] = {}
    while True:
        for child in todo:
            if isinstance(child, str):
                parts.append(written(child if preserved else child.strip(spaces)))
                continue
            outer.append((todo, end, preserved, before))
            if child.attributes or child.prefix or child.namespace != scope.bound[""]:
                name, start, before = _tags(child, scope, form)
                preserved = _preserves(child, preserved)
            else:  # as most are: nothing to say but the name
                name = start = child.name
                before = {}
            parts.append(f"<{start}>")
            todo, end = iter(child.children), f"</{name}>"
            break
        else:
            parts.append(end)
            if not outer:
                return "".join(parts).encode()
            scope.leave(before)
            todo, end, preserved, before = outer.pop()


def _tags(element: Element, scope: _Scope, form: _Form) -> tuple[str, str, dict[str, str]]:
    """Return what stands in the end tag and in the start tag, and what to leave the scope with."""
    prefix = _prefix(element)
    used = {prefix: element.namespace}
    attributes = []
    for attribute in sorted(element.attributes, key=form.order):
        name = attribute.name
        if attribute.namespace:
            own = _prefix(attribute)
            if not own or used.setdefault(own, attribute.namespace) != attribute.namespace:
                raise PeerMisbehaved(
                    ErrorCode.AMBIGUOUS, "an XML tree that does not say its prefixes", rule=_RULE
                )
            name = f"{own}:{name}"
        attributes.append(f' {name}="{form.value(attribute.value)}"')
    name = f"{prefix}:{element.name}" if prefix else element.name
    declarations, before = scope.enter(used)
    return name, "".join([name, *declarations, *attributes]), before


def _prefix(named: Element | Attribute) -> str:
    return "xml" if named.namespace == ns.XML else named.prefix


def _preserves(element: Element, outside: bool) -> bool:
    space = element.get("space", ns.XML) if element.attributes else None
    return outside if space is None else space == "preserve"


def _elements(root: Element) -> Iterator[tuple[Element, bool]]:
    """Yield every element, and whether its texts are left as they are."""
    found = [(root, _preserves(root, False))]
    while found:
        element, preserved = found.pop()
        yield element, preserved
        for child in element.children:
            if isinstance(child, Element):
                found.append((child, _preserves(child, preserved)))


def _trims(root: Element, spaces: str | None) -> bool:
    return any(
        isinstance(child, str) and child.strip(spaces) != child
        for element, preserved in _elements(root)
        if not preserved
        for child in element.children
    )


def _strict_text(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("\r", "&#xD;")


def _strict_value(value: str) -> str:
    value = value.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return value.replace("\t", "&#x9;").replace("\n", "&#xA;").replace("\r", "&#xD;")


def _libervia_text(text: str) -> str:
    return _strict_text(text.replace("\r\n", "\n").replace("\r", "\n"))


def _libervia_value(value: str) -> str:
    for space in ("\r\n", "\r", "\n", "\t"):
        value = value.replace(space, " ")
    return _strict_value(value)


def _by_name(attribute: Attribute) -> tuple[str, str]:
    return attribute.namespace, attribute.name


def _by_clark_name(attribute: Attribute) -> tuple[str, str]:
    return (f"{{{attribute.namespace}}}" if attribute.namespace else "") + attribute.name, ""


_STRICT: Final = _Form(S, _strict_text, _strict_value, _by_name)
_LIBERVIA: Final = _Form(None, _libervia_text, _libervia_value, _by_clark_name)
