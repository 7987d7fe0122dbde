"""The house rules that no linter knows, checked on the syntax tree of every module.

Rule: a rule is data at the top of this file, with its reason; an exception to it is added there,
never in the code that breaks it.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.source import PACKAGES, ROOT, Module, modules, packages

BELOW = {
    "e2ee": set(),
    "ox": {"e2ee"},
    "sfs": {"e2ee"},
    "signing": {"e2ee", "ox"},
    "pubsub_encryption": {"e2ee", "ox"},
    "xmpp_e2ee": {"e2ee", "ox", "sfs", "signing", "pubsub_encryption"},
    "wasm": {"e2ee", "ox", "sfs", "signing", "pubsub_encryption"},
}
"""What each package may import besides itself; nobody imports the two roofs."""

ROOFS = {"xmpp_e2ee", "wasm"}

GROUND = (
    ("errors", "limits", "ns", "secret", "xmlnames"),
    ("names", "records", "lexical"),
    ("xmltree", "arrival", "history_record", "anchor", "storage", "trust"),
    ("xmlparse", "xmlwrite", "effects", "ports", "search", "forgetting"),
    ("primitives",),
    ("eme", "padding", "tokens", "effect_record", "history", "key_events", "xmlkeep"),
    ("sce", "attachments", "attachment_nodes"),
    ("outbox", "attachment_summary"),
    ("draft", "renewal"),
    ("stores",),
    ("omemo",),
)
"""The layers of ``e2ee`` from the ground up: a module imports from layers below its own."""

ENGINES = {
    "asyncpg": {"e2ee/stores/"},
    "click": {"xmpp_e2ee/"},
    "cryptography": {
        "e2ee/primitives.py",
        "ox/ciphers.py",
        "e2ee/omemo/engine_oldmemo.py",
        "e2ee/omemo/engine_twomemo.py",
    },
    "doubleratchet": {"e2ee/omemo/double_ratchet.py"},
    "idna": {"e2ee/names.py"},
    "keyring": {"xmpp_e2ee/"},
    "lxml": {  # a file may hold what no stanza may
        "e2ee/xmlparse.py",
        "xmpp_e2ee/export.py",
        "xmpp_e2ee/feed.py",
    },
    "oldmemo": {"e2ee/omemo/engine_oldmemo.py"},
    "precis_i18n": {"e2ee/names.py"},
    "pyexpat": {"e2ee/xmlparse.py"},
    "pysequoia": {"ox/engine_sequoia.py", "ox/sequoia_keys.py", "ox/sequoia_signatures.py"},
    "rich": {"xmpp_e2ee/"},
    "slixmpp": {"xmpp_e2ee/"},
    "sqlite3": {"e2ee/stores/"},
    "twomemo": {"e2ee/omemo/engine_twomemo.py"},
    "x3dh": {"e2ee/omemo/ratchet_engine.py"},
    "xeddsa": {
        "e2ee/omemo/curve25519.py",
        "e2ee/omemo/double_ratchet.py",
        "e2ee/omemo/engine_oldmemo.py",
        "e2ee/omemo/engine_twomemo.py",
        "e2ee/omemo/ratchet_engine.py",
    },
    "xml": {"e2ee/xmlparse.py"},
}
"""Where each engine may be imported: in its own adapter alone. Others are not imported at all."""

ADAPTERS = set().union(*(ENGINES[name] for name in ("pysequoia", "xeddsa")))
"""The adapters that import their engine at once, for whoever has it; all others on first use."""

ABSENT = {
    "cryptography", "doubleratchet", "lxml", "oldmemo", "omemo", "pysequoia", "twomemo", "x3dh",
    "xeddsa",
}  # fmt: skip
"""What does not exist in the browser."""

OUTSIDE = ("e2ee/stores/", "sfs/disk.py", "xmpp_e2ee/", "wasm/")
"""The places that touch the world; everything else is values in, values out."""

WORLD = {
    "multiprocessing", "os", "pathlib", "sched", "select", "selectors", "shutil", "signal",
    "socket", "ssl", "subprocess", "tempfile", "threading", "_thread",
    "ftplib", "http", "imaplib", "smtplib", "socketserver", "urllib", "webbrowser",  # the network
    "logging", "warnings",  # a library that logs may log a plaintext (Z-01)
    "time", "timeit",  # the present comes from ports.Clock
    "contextvars",  # state that no argument shows
}  # fmt: skip
"""Standard modules for OUTSIDE only."""

NOWHERE = {
    "code", "codeop", "ctypes", "dbm", "imp", "importlib", "marshal", "pickle", "pkgutil",
    "random", "runpy", "shelve", "uuid",
}  # fmt: skip
"""Standard modules that no package needs: code from data, or guessable randomness (Z-04, Z-06)."""

RANDOMNESS = {"e2ee/primitives.py"}
"""The only importer of ``secrets``; everybody else gets ``ports.Primitives``."""

ASYNCIO = {
    "ox/sequoia_errors.py": {"CancelledError"},  # told apart from the engine's panics
    "ox/beside.py": {"CancelledError", "shield", "wrap_future"},  # the caller's Executor
    "ox/stretching.py": {"Semaphore", "gather"},
}
"""What of asyncio is used outside OUTSIDE: no task that outlives its call, and no timer."""

TASKS = {"call_at", "call_later", "call_soon", "create_task", "ensure_future", "run_forever"}
"""Methods that start what outlives the call, for OUTSIDE only."""

WORLD_CALLS = {"input", "open", "print"}
"""Builtins for OUTSIDE only."""

NOWHERE_CALLS = {"__import__", "breakpoint", "compile", "eval", "exec"}
"""Builtins for nobody."""

PRESENT = {"now", "today", "utcnow"}
"""Methods that read the machine's clock, for OUTSIDE and CLOCKS only."""

CLOCKS = {"ox/engine_sequoia.py", "ox/sequoia_keys.py"}
"""Sequoia itself judges keys by the machine's clock, and cannot be given another."""

GUESSABLE = {"authenticator", "digest", "hexdigest", "hmac", "mac", "mdc"}
"""Words in names of raw values that are compared by ``compare_digest``, as ``Secret`` is (Z-03)."""

MAX_LINES = 400


def _inside(module: Module, places: set[str] | tuple[str, ...]) -> bool:
    return any(module.where == place or module.where.startswith(place) for place in places)


def _calls(module: Module) -> Iterator[tuple[ast.Call, str, bool]]:
    """Yield each call with the called name, and whether it is a method or an attribute."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node, node.func.id, False
            elif isinstance(node.func, ast.Attribute):
                yield node, node.func.attr, True


def _report(broken: list[str]) -> None:
    assert not broken, "\n" + "\n".join(broken)


def test_packages_import_down_only() -> None:
    """Siblings are blind to each other, and nobody imports the roofs."""
    _report(
        [
            f"{module.where}:{found.line} imports {found.target}"
            for module in modules()
            for found in module.imports()
            if found.top in PACKAGES
            and found.top != module.package
            and found.top not in BELOW[module.package]
        ]
    )


def test_no_package_imports_what_stays_outside_the_wheel() -> None:
    """Tests, tools, benchmarks and vectors are not there when the wheel is installed."""
    kept_out = {"benchmarks", "docs", "spec_vectors", "tests", "tools"}
    _report(
        [
            f"{module.where}:{found.line} imports {found.target}"
            for module in modules()
            for found in module.imports()
            if found.top in kept_out
        ]
    )


def test_ground_floor_has_layers() -> None:
    """Inside e2ee imports point to lower layers; for types alone they may point up."""
    layer = {name: height for height, names in enumerate(GROUND) for name in names}
    broken = []
    for module in modules():
        part = module.name.split(".")[1:2]
        if module.package != "e2ee" or not part:
            continue
        if part[0] not in layer:
            broken.append(f"{module.where} has no place in GROUND")
            continue
        for found in module.imports():
            inner = found.target.split(".")[1:2]
            if found.top != "e2ee" or found.typing_only or inner == part:
                continue
            if not inner or inner[0] not in layer or layer[inner[0]] >= layer[part[0]]:
                broken.append(f"{module.where}:{found.line} imports {found.target}")
    _report(broken)


def test_no_import_cycles() -> None:
    """Whoever reads a module has read all that it needs."""
    needs = {
        module.name: {found.target for found in module.imports() if not found.typing_only}
        for module in modules()
    }
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " imports ".join([*path[path.index(name) :], name])
        if name in needs and name not in done:
            for target in sorted(needs[name]):
                visit(target, (*path, name))
            done.add(name)

    for name in needs:
        visit(name, ())


def test_each_engine_only_in_its_adapter() -> None:
    """What is neither ours nor standard is imported where ENGINES says, and nowhere else."""
    _report(
        [
            f"{module.where}:{found.line} imports {found.target}"
            for module in modules()
            for found in module.imports()
            if found.top not in PACKAGES
            and (found.top in ENGINES or found.top not in sys.stdlib_module_names)
            and not _inside(module, ENGINES.get(found.top, set()))
        ]
    )


@pytest.mark.parametrize("package", [name for name in packages() if name not in ROOFS])
def test_package_imports_without_engines(package: str) -> None:
    """Every module but ADAPTERS imports where no engine exists: the browser."""
    names = [
        module.name
        for module in modules()
        if module.package == package and module.where not in ADAPTERS
    ]
    program = f"""
import importlib, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Blocked())
for name in {names!r}:
    importlib.import_module(name)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_only_the_outside_touches_the_world() -> None:
    """No file, socket, thread, process, log, clock or terminal but in OUTSIDE."""
    broken = []
    for module in modules():
        if _inside(module, OUTSIDE):
            continue
        broken += [
            f"{module.where}:{found.line} imports {found.target}"
            for found in module.imports()
            if found.top in WORLD
        ]
        methods = TASKS if module.where in CLOCKS else TASKS | PRESENT
        broken += [
            f"{module.where}:{call.lineno} calls {name}"
            for call, name, method in _calls(module)
            if name in (methods if method else WORLD_CALLS)
        ]
    _report(broken)


def test_only_the_outside_uses_the_event_loop() -> None:
    """Inside there is only what ASYNCIO lists."""
    broken = []
    for module in modules():
        if _inside(module, OUTSIDE):
            continue
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("asyncio"):
                used = {alias.name for alias in node.names}
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "asyncio":
                used = {node.attr}
            else:
                continue
            broken += [
                f"{module.where}:{node.lineno} uses asyncio.{name}"
                for name in used - ASYNCIO.get(module.where, set())
            ]
    _report(broken)


def test_z_03_secrets_are_compared_in_constant_time() -> None:
    """No ``==`` between codes, digests or revealed secrets; the length of one may be compared."""

    def guessable(side: ast.expr) -> bool:
        if isinstance(side, ast.Call):
            side = side.func
            if isinstance(side, ast.Attribute) and side.attr == "reveal":
                return True
        name = side.attr if isinstance(side, ast.Attribute) else getattr(side, "id", "")
        return bool(GUESSABLE & set(name.lower().split("_")))

    def plain_number(side: ast.expr) -> bool:
        return isinstance(side, ast.Constant) and not isinstance(side.value, bytes | str)

    broken = []
    for module in modules():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Compare):
                sides = [node.left, *node.comparators]
                if any(map(guessable, sides)) and not any(map(plain_number, sides)):
                    broken.append(f"{module.where}:{node.lineno} compares {ast.unparse(node)}")
    _report(broken)


def test_z_04_randomness_comes_from_primitives() -> None:
    """``random`` and ``uuid`` for nobody, ``secrets`` and ``urandom`` for one file."""
    broken = []
    for module in modules():
        broken += [
            f"{module.where}:{found.line} imports {found.target}"
            for found in module.imports()
            if found.top == "secrets" and module.where not in RANDOMNESS
        ]
        broken += [
            f"{module.where}:{call.lineno} calls {name}"
            for call, name, _method in _calls(module)
            if name == "urandom"
        ]
    _report(broken)


def test_z_06_no_code_from_data() -> None:
    """No pickle, eval, shell or predictable temporary name, the roofs included."""
    broken = []
    for module in modules():
        broken += [
            f"{module.where}:{found.line} imports {found.target}"
            for found in module.imports()
            if found.top in NOWHERE or found.top == "yaml"
        ]
        broken += [
            f"{module.where}:{call.lineno} calls {ast.unparse(call.func)}"
            for call, name, method in _calls(module)
            if (name in NOWHERE_CALLS and not method)
            or name in ("mktemp", "popen", "system")
            or any(word.arg == "shell" for word in call.keywords)
        ]
    _report(broken)


def test_every_module_says_what_lives_in_it() -> None:
    """A sentence, then a rule; beyond MAX_LINES also why it is not two files."""
    broken = []
    for module in modules():
        opening = ast.get_docstring(module.tree) or ""
        lines = module.text.count("\n")
        if not opening.partition("\n")[0].endswith((".", ":")):
            broken.append(f"{module.where} does not begin with one sentence")
        if "Rule:" not in opening and module.path.name != "__init__.py":
            broken.append(f"{module.where} names no rule")
        if lines > MAX_LINES and "Long because" not in opening:
            broken.append(f"{module.where} has {lines} lines and does not say why")
    _report(broken)
