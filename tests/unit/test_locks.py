"""The lock check finds what it is for."""

from __future__ import annotations

import pytest
from check import disagreements, lock_faults, main

GOOD = "pillow==12.0.0 \\\n    --hash=sha256:00 \\\n    --hash=sha256:01\n    # via kerasd\n"


class TestLockFaults:
    def test_the_repositorys_own_locks_pass(self) -> None:
        assert main() == 0

    def test_a_good_lock_has_none(self) -> None:
        assert lock_faults("x", GOOD, ["pillow>=12"]) == []

    @pytest.mark.parametrize(
        ("lock", "requirement", "fault"),
        [
            (GOOD, "numpy>=2", "lacks numpy"),
            (GOOD, "Pillow>=13", "asks for >=13"),
            ("pillow==12.0.0\n", "pillow", "has no hash"),
            ("--index-url https://example.org\n" + GOOD, "pillow", "names an address"),
        ],
    )
    def test_a_bad_one_is_told(self, lock: str, requirement: str, fault: str) -> None:
        (found,) = lock_faults("x", lock, [requirement])
        assert fault in found

    def test_locks_that_disagree_are_told(self) -> None:
        assert disagreements({"dev": GOOD, "base": GOOD.replace("12.0.0", "12.1.0")}) == [
            "base.lock and dev.lock disagree on pillow"
        ]
