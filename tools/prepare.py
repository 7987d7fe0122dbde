"""Prepares a fresh checkout: the virtual environment, Debian packages and npm packages.

Rule: standard library only, because nothing is installed yet; only what `requirements/` and
`package-lock.json` pin is installed. What has been done is remembered by a hash of those files, so
that a second call costs a moment.

    python3 tools/prepare.py run      # what `make run` needs
    python3 tools/prepare.py test     # that, and what the tests need
    python3 tools/prepare.py soak     # that, and what fuzzes
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

__all__: list[str] = []

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
POLICY = Path("/usr/sbin/policy-rc.d")
PIP: list[str | Path] = [
    PYTHON,
    "-m",
    "pip",
    "--disable-pip-version-check",
    "--no-input",
    "--quiet",
    "install",
]


def main() -> None:
    """Prepare the lane named by the only argument."""
    os.chdir(ROOT)
    lane = sys.argv[1] if len(sys.argv) == 2 else ""
    if lane not in ("run", "test", "soak"):
        give_up("usage: python3 tools/prepare.py run|test|soak")
    if sys.version_info < (3, 11):  # noqa: UP036  # whoever is too old reads this first
        give_up(f"{sys.executable} is Python {sys.version.split()[0]}; 3.11 or newer is needed")
    make_environment()
    install("run")
    if lane != "run":
        install("dev")
        install("peers")
        install_debian_packages()
        install_npm_packages()
    if lane == "soak" and not installed("fuzz"):
        tell("atheris is missing; nothing is fuzzed, or `make soak` fails if CI=true")


def give_up(message: str) -> NoReturn:
    """End with one line that says what to do."""
    sys.exit(f"prepare: {message}")


def tell(message: str) -> None:
    """Say what takes time or what is missing."""
    print(f"prepare: {message}", file=sys.stderr, flush=True)


def run(command: list[str | Path]) -> bool:
    """Run a command, only its errors shown, and say whether it succeeded."""
    return subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode == 0


def make_environment() -> None:
    """Make `.venv`, unless one that works is there."""
    if PYTHON.exists() and run([PYTHON, "-c", "import pip"]):
        return
    if importlib.util.find_spec("ensurepip") is None:
        apt_install(["python3-venv"])
        importlib.invalidate_caches()
        if importlib.util.find_spec("ensurepip") is None:
            give_up(f"{sys.executable} has no ensurepip module; install python3-venv")
    tell("making .venv")
    if not run([sys.executable, "-m", "venv", "--clear", VENV]):
        give_up("python3 -m venv failed")


def install(part: str) -> None:
    """Install one of the locks into `.venv`, or end."""
    if not installed(part):
        give_up(f"installing requirements/{part}.txt failed")


def installed(part: str) -> bool:
    """Install one of the locks into `.venv`, and say whether it is there now.

    The first brings the project itself along.
    """
    lock = ROOT / "requirements" / f"{part}.txt"
    stamp = VENV / f".prepared-{part}"
    contents = [lock, ROOT / "pyproject.toml"] if part == "run" else [lock]
    if up_to_date(stamp, contents):
        return True
    tell(f"installing {lock.relative_to(ROOT)}")
    # PGPy is published as source alone; its build backend came with `dev`.
    built = ["--no-build-isolation"] if part == "peers" else ["--only-binary", ":all:"]
    done = run([*PIP, "--require-hashes", *built, "-r", lock])
    if done and part == "run":
        done = run([*PIP, "--no-deps", "--no-build-isolation", "--editable", ROOT])
    if done:
        write_stamp(stamp, contents)
    return done


def install_debian_packages() -> None:
    """Install the programs that the tests run, or name those that are missing."""
    lines = (ROOT / "requirements" / "debian.txt").read_text().splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    if missing := [package for package in wanted if not has_debian_package(package)]:
        apt_install(missing)
        for package in missing:
            if not has_debian_package(package):
                tell(f"{package} is missing; tests that need it are skipped, or fail if CI=true")


def has_debian_package(package: str) -> bool:
    """Say whether dpkg has the package installed."""
    if shutil.which("dpkg-query") is None:
        return False
    query = ["dpkg-query", "--show", "--showformat", "${db:Status-Status}", package]
    found = subprocess.run(query, check=False, capture_output=True, text=True)
    return found.stdout == "installed"


def apt_install(packages: list[str]) -> None:
    """Install Debian packages if we may; whoever calls looks whether it worked."""
    command = f"apt-get install --no-install-recommends {' '.join(packages)}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        tell(f"not root on Debian, so this is left to you: {command}")
        return
    tell(command)
    apt: list[str | Path] = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=500"]
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    run([*apt, "update"])  # lists may be absent, or name versions that the mirror has replaced
    with services_held_back():
        run([*apt, "install", "--yes", "--no-install-recommends", *packages])


@contextmanager
def services_held_back() -> Iterator[None]:
    """Let no package start the server that it brings: the tests start their own, elsewhere.

    A policy that is there already stays, and is asked instead.
    """
    try:
        with POLICY.open("x") as policy:
            policy.write("#!/bin/sh\nexit 101\n")
    except FileExistsError:
        yield
        return
    try:
        POLICY.chmod(0o755)
        yield
    finally:
        POLICY.unlink()


def install_npm_packages() -> None:
    """Install the JavaScript peers exactly as locked, without their install scripts."""
    stamp = ROOT / "node_modules" / ".prepared"
    contents = [ROOT / "package.json", ROOT / "package-lock.json"]
    if up_to_date(stamp, contents):
        return
    if shutil.which("npm") is None:
        tell("npm is missing; tests that need OpenPGP.js are skipped, or fail if CI=true")
        return
    tell("installing package-lock.json")
    if run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-update-notifier"]):
        write_stamp(stamp, contents)
    else:
        tell("npm failed; tests that need OpenPGP.js are skipped, or fail if CI=true")


def up_to_date(stamp: Path, contents: list[Path]) -> bool:
    """Say whether the stamp was written for these very files."""
    return stamp.exists() and stamp.read_text() == digest(contents)


def write_stamp(stamp: Path, contents: list[Path]) -> None:
    """Remember that these files are installed."""
    stamp.write_text(digest(contents))


def digest(contents: list[Path]) -> str:
    """Return one hash over the files, this one, the place and the interpreter."""
    whole = hashlib.sha256(f"{ROOT} {sys.version}".encode())
    for path in [Path(__file__), *contents]:
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


if __name__ == "__main__":
    main()
