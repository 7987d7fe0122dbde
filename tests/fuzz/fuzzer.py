"""Fuzzes one target in this process; ``python -m tests.fuzz`` starts it for each.

Rule: only here stands atheris. What follows the target's name is for libFuzzer: its options, then
folders of a corpus, or a file to be tried once.

    python -m tests.fuzz.fuzzer uri build/fuzz/uri-crash-0123
"""

from __future__ import annotations

import os
import sys

import atheris

__all__: list[str] = []

# Each of Sequoia's errors would gather a backtrace.
os.environ["RUST_BACKTRACE"] = "0"

with atheris.instrument_imports(
    include=["e2ee", "ox", "pubsub_encryption", "signing", "xmpp_e2ee"]
):
    from tests.fuzz.targets import try_on


def main() -> None:
    """Fuzz until libFuzzer has enough."""
    name, *options = sys.argv[1:]

    def one(data: bytes) -> None:
        try_on(name, data)

    atheris.Setup([sys.argv[0], *options], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
