"""Jobs while memory, disk, descriptors or the database's writer run out. Numbers are rows of the fault matrix."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Timer
from typing import Any

import psutil
import pytest
from stack import Stack, until
from training import SLOW, assert_whole, resumption, trainer_of, wait_epochs

from core.database import SQLITE
from core.repositories.checkpoints import list_checkpoints
from core.tables import LOCAL_TENANT

JOB: dict[str, Any] = {"dataset": "digits", "architecture": "lenet", "epochs": 1}


@contextlib.contextmanager
def blocked_writer(stack: Stack, seconds: float) -> Iterator[None]:
    """Another program holds the database's write lock; the block ends when it lets go."""
    file = stack.settings.data_dir / "kerasd.sqlite3"
    blocker = SQLITE.connect(file, isolation_level=None, check_same_thread=False)
    blocker.execute("BEGIN IMMEDIATE")
    timer = Timer(seconds, lambda: blocker.execute("COMMIT"))
    timer.start()
    try:
        yield
    finally:
        timer.join()
        blocker.close()


@pytest.mark.laptop("SQLite, where one writes at a time")
class TestBlockedWriter:
    @pytest.mark.long
    def test_submits_are_busy_reads_go_on_and_no_epoch_is_lost(self, stack: Stack) -> None:
        """Row 12."""
        stack.start_all()
        job = stack.submit(batch_size=4, epochs=15)["id"]
        wait_epochs(stack, job, 2)
        with blocked_writer(stack, 10), ThreadPoolExecutor(60) as pool:
            submits = [pool.submit(stack.http.post, "/api/v1/jobs", json=JOB) for _ in range(60)]
            slowest = max(stack.http.get("/livez").elapsed.total_seconds() for _ in range(100))
            done = len(stack.epochs(job))
        answers = [submit.result() for submit in submits]
        refused = [answer for answer in answers if answer.status_code != 201]
        assert refused
        for answer in refused:
            assert (answer.status_code, answer.json()["code"]) == (503, "database_busy"), answer.text
            assert int(answer.headers["retry-after"]) >= 1
        assert slowest < 1
        stored = stack.http.get("/api/v1/jobs", params={"page_size": 100}).json()["items"]
        assert len(stored) == 1 + len(answers) - len(refused)
        ended = stack.wait_for(job, "SUCCEEDED")
        assert ended["attempt"] == 1
        assert done < 15
        assert_whole(stack, job, 15)


def fill(file: Path) -> None:
    """Leaves no room on the file's disk."""
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))


class TestFullDisk:
    @pytest.mark.long
    def test_a_checkpoint_that_does_not_fit_ends_the_job_and_a_retry_goes_on(self, small_disk: Path) -> None:
        """Row 13: the artifacts lie on the full disk, the database does not."""
        disk = small_disk / "data"
        stack = Stack(small_disk / "kerasd", KERASD_ARTIFACTS_URL=str(disk / "artifacts"), KERASD_STANDBY="false")
        try:
            stack.start_all()
            job = stack.submit(**SLOW)["id"]
            wait_epochs(stack, job, 2)
            fill(disk / "filler")
            ended = stack.wait_for(job, "FAILED")
            assert (ended["reason"], ended["attempt"]) == ("DISK_FULL", 1)
            assert "retry" in ended["detail"]
            done = len(stack.epochs(job))
            with stack.database.snapshot() as session:
                newest = list_checkpoints(session, LOCAL_TENANT, job)[0]
            content = (disk / "artifacts" / newest.path).read_bytes()
            assert (newest.epoch, newest.sha256) == (done, hashlib.sha256(content).hexdigest())
            assert len(list((disk / "artifacts" / "checkpoints" / job).iterdir())) == 2

            (disk / "filler").unlink()
            assert stack.http.post(f"/api/v1/jobs/{job}:retry").json()["state"] == "QUEUED"
            assert stack.wait_for(job, "SUCCEEDED")["attempt"] == 2
            assert_whole(stack, job, 6)
            assert resumption(stack, job)["resumed_after_epoch"] == done
        finally:
            stack.close()

    @pytest.mark.long
    @pytest.mark.laptop("a database in the data folder")
    def test_with_the_database_on_it_too_the_end_is_as_true_once_it_can_be_written(self, small_disk: Path) -> None:
        """Row 13."""
        stack = Stack(small_disk, KERASD_STANDBY="false")
        filler = small_disk / "data" / "filler"
        try:
            stack.start_all()
            job = stack.submit(**SLOW)["id"]
            wait_epochs(stack, job, 2)
            fill(filler)
            until(lambda: "disk is full" in stack.log("worker"), 60, "the worker has noticed")
            Timer(8, filler.unlink).start()
            ended = stack.wait_for(job, "FAILED", "SUCCEEDED")
            if ended["state"] == "FAILED":
                assert ended["reason"] == "DISK_FULL"
                stack.http.post(f"/api/v1/jobs/{job}:retry")
                stack.wait_for(job, "SUCCEEDED")
            assert_whole(stack, job, 6)
            with stack.database.snapshot() as session:
                assert session.connection().exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
        finally:
            stack.close()


CGROUPS = Path("/sys/fs/cgroup")
LITTLE_MEMORY = 60 << 20
"""bytes: less than TensorFlow needs of its own"""


class MemoryCgroup:
    """A memory limit for some processes, on either version of cgroups. Raises OSError where none can be made."""

    def __init__(self) -> None:
        second = (CGROUPS / "cgroup.controllers").exists()
        parent, self._file = (CGROUPS, "memory.max") if second else (CGROUPS / "memory", "memory.limit_in_bytes")
        self._unlimited = "max" if second else "-1"
        self._folder = parent / f"kerasd-test-{os.getpid()}"
        self._folder.mkdir()

    def limit(self, size: int | None) -> None:
        with (self._folder / self._file).open("r+") as file:
            file.write(self._unlimited if size is None else str(size))

    def take(self, pid: int) -> None:
        with (self._folder / "cgroup.procs").open("r+") as file:
            file.write(str(pid))

    def remove(self) -> None:
        until(lambda: not (self._folder / "cgroup.procs").read_text(), 30, "the cgroup is empty")
        self._folder.rmdir()


@pytest.fixture
def cgroup() -> Iterator[MemoryCgroup]:
    try:
        group = MemoryCgroup()
        group.limit(None)
    except OSError as error:
        pytest.skip(f"this machine lets nobody make a memory cgroup ({error})")
    yield group
    group.remove()


class TestOutOfMemory:
    @pytest.mark.long
    @pytest.mark.parametrize("room", [0, 1 << 20])
    def test_a_trainer_that_is_refused_memory_fails_once(self, stack: Stack, room: int) -> None:
        """Row 19, by a limit of address space."""
        stack.start_all()
        job = stack.submit(batch_size=4, epochs=100)["id"]
        wait_epochs(stack, job, 1)
        trainer = trainer_of(stack, job)
        most = trainer.memory_info().vms + room
        trainer.rlimit(psutil.RLIMIT_AS, (most, most))
        self.assert_out_of_memory(stack, job)
        assert stack.epochs(job), "its epochs are kept"

    @pytest.mark.long
    def test_a_trainer_that_the_system_kills_for_memory_fails_once(self, stack: Stack, cgroup: MemoryCgroup) -> None:
        """Row 19, by a cgroup."""
        stack.start_all()
        cgroup.take(stack.pid("worker"))
        memory = psutil.Process(stack.pid("worker")).memory_info()
        cgroup.limit(memory.rss - memory.shared + LITTLE_MEMORY)
        job = stack.submit(epochs=1)["id"]
        try:
            self.assert_out_of_memory(stack, job)
            assert "killed" in stack.job(job)["detail"]
            cgroup.limit(None)
            stack.http.post(f"/api/v1/jobs/{job}:retry")
            stack.wait_for(job, "SUCCEEDED")
        finally:
            stack.close()  # before the cgroup can be removed

    def assert_out_of_memory(self, stack: Stack, job: str) -> None:
        api = psutil.Process(stack.pid("api"))
        ended = stack.wait_for(job, "FAILED")
        assert (ended["reason"], ended["attempt"]) == ("OUT_OF_MEMORY", 1), ended
        assert "batch_size" in ended["detail"]
        assert api.is_running()
        assert stack.http.get("/livez").status_code == 200


class TestFewDescriptors:
    @pytest.mark.long
    def test_a_worker_without_them_ends_and_the_next_goes_on(self, stack: Stack) -> None:
        """Row 40."""
        stack.start_all()
        worker = psutil.Process(stack.pid("worker"))
        worker.rlimit(psutil.RLIMIT_NOFILE, (worker.num_fds(), worker.rlimit(psutil.RLIMIT_NOFILE)[1]))
        job = stack.submit(epochs=2)["id"]
        assert stack.wait("worker") > 0
        assert "Too many open files" in stack.log("worker")
        stack.start("worker")
        stack.wait_for(job, "SUCCEEDED")
        assert_whole(stack, job, 2)
