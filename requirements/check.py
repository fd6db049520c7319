"""`python requirements/check.py`: the locks satisfy pyproject.toml, carry hashes, and name no address. Needs no network."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent

EXTRAS: dict[str, tuple[str, ...]] = {"base": (), "cpu": ("cpu",), "gpu": ("gpu",), "dev": ("cpu", "dev")}
"""Which of pyproject's extras each lock holds, beside the dependencies."""

_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(?P<version>[^\s;\\]+)")


def read_pins(lock: str) -> dict[str, list[tuple[str, int]]]:
    """(version, number of hashes) of every pin, by normalised name; a name has several pins where markers differ."""
    pins: dict[str, list[tuple[str, int]]] = {}
    current: list[tuple[str, int]] = []
    for line in lock.splitlines():
        match = _PIN.match(line)
        if match:
            current = pins.setdefault(canonicalize_name(match["name"]), [])
            current.append((match["version"], 0))
        elif line.strip().startswith("--hash=") and current:
            version, hashes = current[-1]
            current[-1] = (version, hashes + 1)
    return pins


def lock_faults(name: str, lock: str, requirements: Iterable[str]) -> list[str]:
    """What is wrong with the text of one lock."""
    pins = read_pins(lock)
    faults = [
        f"{name}.lock line {number} names an address or an index"
        for number, line in enumerate(lock.splitlines(), 1)
        if re.search(r"://|--(extra-)?index-url|--find-links", line)
    ]
    faults += [
        f"{name}.lock: {package} {version} has no hash"
        for package, versions in pins.items()
        for version, hashes in versions
        if not hashes
    ]
    for text in requirements:
        requirement = Requirement(text)
        versions = [version for version, _ in pins.get(canonicalize_name(requirement.name), [])]
        if not versions:
            faults.append(f"{name}.lock lacks {requirement.name}")
        faults += [
            f"{name}.lock has {requirement.name} {version}, pyproject.toml asks for {requirement.specifier}"
            for version in versions
            if not requirement.specifier.contains(version, prereleases=True)
        ]
    return faults


def disagreements(locks: dict[str, str]) -> list[str]:
    """Packages that two locks pin at different versions."""
    faults = []
    reference = read_pins(locks["dev"])
    for name, lock in locks.items():
        for package, versions in read_pins(lock).items():
            expected = reference.get(package)
            if expected is not None and {version for version, _ in versions} != {version for version, _ in expected}:
                faults.append(f"{name}.lock and dev.lock disagree on {package}")
    return faults


def main() -> int:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    locks = {name: (ROOT / "requirements" / f"{name}.lock").read_text(encoding="utf-8") for name in EXTRAS}
    faults = disagreements(locks)
    for name, extras in EXTRAS.items():
        wanted = [
            *project["dependencies"],
            *(item for extra in extras for item in project["optional-dependencies"][extra]),
        ]
        faults += lock_faults(name, locks[name], wanted)
    faults += lock_faults("peers", (ROOT / "requirements" / "peers.lock").read_text(encoding="utf-8"), ())
    for fault in faults:
        print(fault, file=sys.stderr)
    print(
        "locks: run make locks"
        if faults
        else f"locks: {', '.join(f'{name}.lock' for name in locks)} match pyproject.toml"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
