"""Fuzzes every target, or those that are named, each for a while and in a process of its own.

Rule: a finding ends its target, not the others; it is kept under ``build/fuzz`` and becomes a test
by being moved into the target's folder of ``seeds``.

    python -m tests.fuzz [--seconds 60] [--seed 1] [TARGET ...]
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import tempfile

from tests.fuzz.targets import SEEDS, TARGETS
from tests.support.source import ROOT

__all__: list[str] = []

FOUND = ROOT / "build" / "fuzz"
_LONGEST = 10  # seconds that one input may take, on a machine that has much else to do
_MEMORY = 1024  # MiB that a target may come to need
_DONE = re.compile(r"Done (\d+) runs in (\d+) second")
_COVERED = re.compile(r" cov: (\d+) ")


def main() -> None:
    """Fuzz, say a line for each target, and fail if any has a finding."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--seed", type=int, default=1, help="of the random choices")
    given = parser.parse_args()
    if unknown := set(given.targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    if importlib.util.find_spec("atheris") is None:
        print("nothing is fuzzed: atheris is missing; not every Python and machine has a wheel")
        sys.exit(os.environ.get("CI") == "true")
    FOUND.mkdir(parents=True, exist_ok=True)
    seed = given.seed % 2**32 or 1  # as libFuzzer counts, to which 0 means any
    found = [name for name in given.targets or TARGETS if not fuzz(name, given.seconds, seed)]
    if found:
        sys.exit(f"findings in {', '.join(found)}; see {FOUND.relative_to(ROOT)}")


def fuzz(name: str, seconds: int, seed: int) -> bool:
    """Fuzz one target; say whether nothing was found."""
    with tempfile.TemporaryDirectory(prefix="corpus-") as corpus:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tests.fuzz.fuzzer", name),
                *(f"-max_total_time={seconds}", f"-seed={seed}", f"-timeout={_LONGEST}"),
                *(f"-rss_limit_mb={_MEMORY}", f"-artifact_prefix={FOUND / name}-"),
                *(corpus, str(SEEDS / name)),
            ],
            cwd=ROOT,
            capture_output=True,
            check=False,
        )
    said = done.stderr.decode(errors="replace") + done.stdout.decode(errors="replace")
    log = FOUND / f"{name}.log"
    log.write_text(said)
    finished, covered = _DONE.search(said), _COVERED.findall(said)
    if done.returncode == 0 and finished:
        print(f"{name:<20}{finished[1]:>10} runs, {covered[-1]} covered", flush=True)
        return True
    print(f"{name:<20} FOUND something: {log.relative_to(ROOT)}", flush=True)
    return False


if __name__ == "__main__":
    main()
