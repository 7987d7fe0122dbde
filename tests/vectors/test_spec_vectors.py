"""Holds ``spec_vectors`` to its schemas, and this library to ``spec_vectors``.

Rule: a case that fails here is a mistake of the library or of the vector; neither is bent to pass.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from lxml import etree
from referencing import Registry, Resource

from e2ee import ns
from e2ee.errors import ErrorCode
from e2ee.lexical import parse_time
from e2ee.primitives import NativePrimitives
from e2ee.xmlnames import S
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element
from ox.engine_sequoia import SequoiaEngine
from spec_vectors.generate import generate
from tests.catalogue import ATTACKS
from tests.support.source import ROOT
from tests.vectors.omemo import run_omemo
from tests.vectors.running import document, run_envelope, run_item, run_secrets
from tests.vectors.signing import run_canonical, run_signatures
from tests.vectors.targeted import run_targeted

VECTORS = ROOT / "spec_vectors"
OMEMO = ("omemo/bundles.json", "omemo/device_lists.json", "omemo/encrypted.json")
CANONICAL, SIGNATURES = "signing/canonical.json", "signing/signatures.json"
FILES = (
    *OMEMO,
    "oxps/items.json",
    "oxps/secrets.json",
    "pte/items.json",
    "sce/envelopes.json",
    CANONICAL,
    SIGNATURES,
)
SUCCESSES = {"canonical", "clear", "ignored", "opened", "read", "taken", "trusted", "unreliable"}
"""Outcomes that are no errors."""


@cache
def _read(path: str) -> Any:
    return json.loads((VECTORS / path).read_text(encoding="utf-8"))


def _cases(path: str) -> list[Any]:
    return [pytest.param(case, id=case["id"]) for case in _read(path)["cases"]]


@cache
def _schemas() -> dict[str, Any]:
    return {path.name: _read(f"schemas/{path.name}") for path in (VECTORS / "schemas").iterdir()}


def _validator(name: str) -> Draft202012Validator:
    registry: Registry[Any] = Registry().with_resources(
        (name, Resource.from_contents(schema)) for name, schema in _schemas().items()
    )
    return Draft202012Validator(_schemas()[name], registry=registry)


def _outcomes(case: dict[str, Any]) -> list[str]:
    expect = case["expect"]
    if "signatures" in expect:
        return [signature["outcome"] for signature in expect["signatures"]]
    return expect["steps"] if "steps" in expect else [expect["outcome"]]


def _objects(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every JSON object in ``node``, itself included."""
    if isinstance(node, dict):
        yield node
    if isinstance(node, dict | list):
        for inner in node.values() if isinstance(node, dict) else node:
            yield from _objects(inner)


@pytest.mark.parametrize("path", FILES)
def test_file_follows_its_schema(path: str) -> None:
    """The file names the schema, and the schema knows all of it."""
    content = _read(path)
    _validator(content["schema"]).validate(content)


def test_every_file_is_known() -> None:
    """No file of vectors is left out of the tests, and no schema is without a file."""
    found = {
        file.relative_to(VECTORS).as_posix()
        for file in VECTORS.glob("*/*.json")
        if file.parent.name not in ("fixtures", "schemas")
    }
    assert found == set(FILES) == set(generate())
    assert {_read(path)["schema"] for path in FILES} | {"common_v1.json"} == set(_schemas())


@pytest.mark.parametrize("name", sorted(_schemas()))
def test_schema_is_sound(name: str) -> None:
    """A schema that is none would let everything pass."""
    Draft202012Validator.check_schema(_schemas()[name])


@pytest.mark.parametrize("name", sorted(_schemas()))
def test_schema_is_closed(name: str) -> None:
    """Every object lists its keys, needs all of them and takes no other; notes have any flags."""
    for place in _objects(_schemas()[name]):
        if place.get("type") == "object" and "propertyNames" not in place:
            assert place["additionalProperties"] is False, place
            assert sorted(place["required"]) == sorted(place["properties"]), place


@pytest.mark.parametrize("path", FILES)
def test_unknown_and_missing_keys_are_refused(path: str) -> None:
    """Wherever they stand in a short case of each outcome."""
    content = _read(path)
    longest_first = sorted(content["cases"], key=lambda case: -len(json.dumps(case)))
    samples = {outcome: case for case in longest_first for outcome in _outcomes(case)}
    changed = copy.deepcopy({**content, "cases": list(samples.values())})
    is_valid = _validator(content["schema"]).is_valid
    assert is_valid(changed)
    for place in _objects(changed):
        place["unknown"] = {"effect": "x", "bug_type": "parser"}
        assert not is_valid(changed), f"an unknown key beside {sorted(place)}"
        del place["unknown"]
        for key in [] if place is changed["notes"] else list(place):
            value = place.pop(key)
            assert not is_valid(changed), f"without {key}"
            place[key] = value


def _named_outcomes(schema: Any) -> Iterator[str]:
    for place in _objects(schema):
        for key in ("outcome", "refused", "steps"):
            for found in _objects(place.get("properties", {}).get(key, {})):
                yield from found.get("enum", ())
                yield from [found["const"]] if "const" in found else []


@pytest.mark.parametrize("name", sorted(set(_schemas()) - {"common_v1.json"}))
def test_outcomes_are_error_codes(name: str) -> None:
    """What a schema calls an outcome is a code of ``e2ee.errors``, or success."""
    named = set(_named_outcomes(_schemas()[name]))
    assert named
    assert named <= {code.value for code in ErrorCode} | SUCCESSES


@pytest.mark.parametrize("path", FILES)
def test_every_outcome_has_a_case(path: str) -> None:
    """An outcome that no case asks for is not tested."""
    content = _read(path)
    expected = {outcome for case in content["cases"] for outcome in _outcomes(case)}
    for case in content["cases"]:
        for kept in case["expect"].get("keychains", ()):
            expected |= {kept["current"].get("refused")} - {None}
    assert expected == set(_named_outcomes(_schemas()[content["schema"]]))


@pytest.mark.parametrize("path", FILES)
def test_ids_are_unique(path: str) -> None:
    """Others name a case by its id."""
    ids = [case["id"] for case in _read(path)["cases"]]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("path", FILES)
def test_flags_are_explained(path: str) -> None:
    """Every flag has a note, every note a case, and what looks like an attack is one."""
    content = _read(path)
    flags = {flag for case in content["cases"] for flag in case["flags"]}
    assert flags == set(content["notes"])
    assert {flag for flag in flags if "-" in flag} <= set(ATTACKS)


@pytest.mark.parametrize("path", FILES)
def test_most_cases_must_fail(path: str) -> None:
    """At least 60 cases, of which three of four are refused: a format is mostly refusals.

    But for canonical forms, which every element has.
    """
    cases = _read(path)["cases"]
    refused = [case for case in cases if not set(_outcomes(case)) <= SUCCESSES]
    assert len(cases) >= 60
    if path == CANONICAL:
        assert len(cases) - len(refused) >= 60
    else:
        assert len(refused) >= 0.75 * len(cases)


def test_files_are_what_the_generator_writes() -> None:
    """Nobody edits a file by hand, and the generator writes the same octets every time."""
    written = generate()
    assert written == generate()
    for path, text in written.items():
        assert (VECTORS / path).read_text(encoding="ascii") == text, path


def _same_xml(found: Element, expected: str) -> bool:
    return found.same_content(parse_xml(expected))


def _expected(case: dict[str, Any]) -> dict[str, Any]:
    expect: dict[str, Any] = case["expect"]
    if "OPTIONAL_HASH" in case["flags"] and "ripemd160" not in hashlib.algorithms_available:
        return {"outcome": "unsupported-algorithm"}
    return expect


@pytest.fixture(scope="module")
def engine() -> SequoiaEngine:
    return SequoiaEngine(NativePrimitives())


@pytest.mark.parametrize("case", _cases("oxps/items.json"))
async def test_item(case: dict[str, Any], engine: SequoiaEngine) -> None:
    """Open it, or refuse it with that code."""
    found, expect = await run_item(case["given"], engine), dict(_expected(case))
    assert found["outcome"] == expect["outcome"], case["comment"]
    if "payload" in expect:
        assert _same_xml(found.pop("payload"), expect.pop("payload"))
    assert found == expect


@pytest.mark.parametrize("case", _cases("oxps/secrets.json"))
async def test_secrets(case: dict[str, Any], engine: SequoiaEngine) -> None:
    """Take in or refuse each step, and end with those keychains."""
    found, expect = await run_secrets(case["given"], engine), copy.deepcopy(case["expect"])
    assert found["steps"] == expect["steps"], case["comment"]
    _read_times(expect)
    assert found == expect


def _read_times(expect: dict[str, Any]) -> None:
    for kept in expect["keychains"]:
        for secret in kept["secrets"]:
            secret["created"] = parse_time(secret["created"])


@pytest.mark.parametrize("case", _cases("pte/items.json"))
def test_targeted(case: dict[str, Any]) -> None:
    """Read it for its algorithm, or refuse it with that code."""
    found, expect = run_targeted(case["given"]), dict(case["expect"])
    assert found["outcome"] == expect["outcome"], case["comment"]
    if "inner" in expect:
        assert _same_xml(found.pop("inner"), expect.pop("inner"))
    assert found == expect


@pytest.mark.parametrize("case", _cases("sce/envelopes.json"))
def test_envelope(case: dict[str, Any]) -> None:
    """Open it, or refuse it with that code."""
    found, expect = run_envelope(case["given"]), dict(case["expect"])
    assert found["outcome"] == expect["outcome"], case["comment"]
    if "content" in expect:
        pairs = zip(found.pop("content"), expect.pop("content"), strict=True)
        assert all(_same_xml(*pair) for pair in pairs)
    assert found == expect


@pytest.mark.parametrize("path", OMEMO)
def test_both_versions_of_omemo_have_their_share(path: str) -> None:
    """At least 60 cases of version 2, and 20 of the legacy one, three of four refused."""
    cases = _read(path)["cases"]
    legacy = [case for case in cases if case["id"].startswith("legacy-")]
    assert len(legacy) >= 20
    assert len(cases) - len(legacy) >= 60
    refused = [case for case in legacy if not set(_outcomes(case)) <= SUCCESSES]
    assert len(refused) >= 0.75 * len(legacy)


@pytest.mark.parametrize(
    ("kind", "case"),
    [pytest.param(path, *case.values, id=case.id) for path in OMEMO for case in _cases(path)],
)
def test_omemo(kind: str, case: dict[str, Any]) -> None:
    """Read the element, or refuse it with that code."""
    assert run_omemo(kind, case["given"]) == case["expect"], case["comment"]


@pytest.mark.parametrize("case", _cases(CANONICAL))
def test_canonical(case: dict[str, Any]) -> None:
    """Put it in canonical form, or refuse it with that code."""
    assert run_canonical(case["given"]) == case["expect"], case["comment"]


def _trimmed(node: Any, *, keep: bool = False) -> Any:
    """Trim a tree of lxml as XEP-0475 §6 says; what libxml2 does not do."""
    said = node.get(f"{{{ns.XML}}}space")
    keep = keep if said is None else said == "preserve"
    if not keep and node.text:
        node.text = node.text.strip(S)
    for child in node:
        _trimmed(child, keep=keep)
        if not keep and child.tail:
            child.tail = child.tail.strip(S)
    return node


@pytest.mark.parametrize(
    "case", [case for case in _cases(CANONICAL) if case.id != "namespace-query"]
)
def test_canonical_forms_are_those_of_libxml2(case: dict[str, Any]) -> None:
    """Another program's word, for what was written by hand: exclusive C14N of the trimmed tree.

    Left out is a namespace name with an ampersand, which libxml2 does not escape.
    """
    if case["expect"]["outcome"] == "canonical":
        tree = _trimmed(etree.fromstring(document(case["given"]["element"])))
        written = etree.tostring(tree, method="c14n", exclusive=True)
        assert written.decode() == case["expect"]["text"]


@pytest.mark.parametrize("case", _cases(SIGNATURES))
async def test_signatures(case: dict[str, Any], engine: SequoiaEngine) -> None:
    """Verify them, each with what it proves, and all in sum."""
    assert await run_signatures(case["given"], engine) == case["expect"], case["comment"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda case: case["given"].pop("item"),
        lambda case: case["given"]["item"].update(base64="AAAA"),
        lambda case: case["expect"].update(outcome="crashed"),
        lambda case: case.update(id="Has Blanks"),
        lambda case: case.update(flags=[]),
    ],
)
def test_schema_refuses_nonsense(spoil: Callable[[dict[str, Any]], object]) -> None:
    """Values are checked, not names alone."""
    content = copy.deepcopy(_read("oxps/items.json"))
    content["cases"] = content["cases"][:1]
    spoil(content["cases"][0])
    assert not _validator("oxps_item_v1.json").is_valid(content)
