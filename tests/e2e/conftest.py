"""A running kerasd for the tests that only use it, and a fresh one for those that break it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from stack import Stack, running_stack


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One kerasd for all tests that leave it as it was."""
    with running_stack(tmp_path_factory.mktemp("service")) as stack:
        yield stack


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A kerasd of the test's own, with nothing started yet. Its worker keeps no trainer warm: most tests need but one."""
    stack = Stack(tmp_path, KERASD_STANDBY="false")
    try:
        yield stack
    finally:
        stack.close()
