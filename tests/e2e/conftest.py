"""A running kerasd for the tests that only use it, and a fresh one for those that break it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from stack import Stack, running_stack
from topology import Cluster, Laptop


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--topology") == "laptop":
        return
    for item in items:
        marker = item.get_closest_marker("laptop")
        if marker is not None:
            item.add_marker(pytest.mark.skip(reason=f"needs {marker.args[0]}, which a cluster does not use"))


@pytest.fixture(scope="session", autouse=True)
def topology(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every stack of this run stands on the chosen topology, unless it is told another."""
    if request.config.getoption("--topology") == "cluster":
        Stack.topology = Cluster(request.getfixturevalue("postgres"))
    yield
    Stack.topology = Laptop()


MOUNT, UMOUNT = shutil.which("mount") or "/bin/mount", shutil.which("umount") or "/bin/umount"


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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The folder of a stack whose data lie on a file system of 12 MB."""
    folder = tmp_path / "data"
    folder.mkdir()
    mounted = subprocess.run(
        [MOUNT, "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this machine lets nobody mount a small file system (needs CAP_SYS_ADMIN)")
    yield tmp_path
    subprocess.run([UMOUNT, "-l", str(folder)], check=True)
