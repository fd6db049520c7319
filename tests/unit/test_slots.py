"""How a worker divides its threads and GPUs, and which jobs it takes: on real rows, with GPUs that are only names."""

from __future__ import annotations

from pathlib import Path

import pytest
from rows import HOLDER, submit

from core.database import Database
from core.queues import Queue
from core.settings import Settings
from worker import slots
from worker.gpus import VISIBLE, visible_gpus
from worker.slots import CpuSlots, GpuSlots, NoGpu, Share, Slots, slots_of

ALL: frozenset[Queue | None] = frozenset({"cpu", "gpu", None})
GPUS = ("GPU-a", "GPU-b")


@pytest.fixture
def engine() -> str:
    return "sqlite"


def shares(database: Database, of: Slots, jobs: int) -> list[Share]:
    """Those of the next jobs, taken one after the other."""
    taken = [of.claim(database, HOLDER) for _ in range(jobs)]
    return [claimed[1] for claimed in taken if claimed is not None]


class TestThreads:
    def test_a_lone_job_gets_all(self, database: Database) -> None:
        submit(database)
        assert shares(database, CpuSlots(4, 8, ALL), 1) == [Share(8)]

    def test_jobs_that_wait_together_share_them(self, database: Database) -> None:
        for _ in range(3):
            submit(database)
        assert shares(database, CpuSlots(4, 8, ALL), 3) == [Share(2), Share(3), Share(3)]

    def test_none_gets_less_than_one(self, database: Database) -> None:
        of = CpuSlots(2, 2, ALL)
        submit(database)
        (first,) = shares(database, of, 1)
        submit(database)
        assert shares(database, of, 1) == [Share(1)]
        of.give_back(first)
        submit(database)
        assert shares(database, of, 1) == [Share(1)]


class TestGpus:
    def test_each_goes_to_one_job(self, database: Database) -> None:
        for _ in range(3):
            submit(database)
        of = GpuSlots(GPUS, 8, ALL)
        first, second = shares(database, of, 3)
        assert (first, second) == (Share(4, ("GPU-a",)), Share(4, ("GPU-b",)))
        of.give_back(first)
        assert shares(database, of, 1) == [first]

    def test_a_job_may_ask_for_several(self, database: Database) -> None:
        submit(database, devices=2)
        assert shares(database, GpuSlots(GPUS, 8, ALL), 1) == [Share(8, GPUS)]

    def test_one_that_needs_more_than_are_free_is_not_overtaken(self, database: Database) -> None:
        of = GpuSlots(GPUS, 8, ALL)
        submit(database)
        (running,) = shares(database, of, 1)
        submit(database, devices=2)
        submit(database)
        assert shares(database, of, 1) == []
        of.give_back(running)
        assert shares(database, of, 2) == [Share(8, ("GPU-b", "GPU-a"))]

    def test_one_that_needs_more_than_there_are_is_left_to_others(self, database: Database) -> None:
        submit(database, devices=3)
        submit(database)
        assert len(shares(database, GpuSlots(GPUS, 8, ALL), 2)) == 1


class TestQueues:
    @pytest.mark.parametrize(
        ("served", "taken"),
        [
            (frozenset({"cpu", None}), {"cpu", None}),
            (frozenset({"gpu", None}), {"gpu", None}),
            (frozenset({"cpu"}), {"cpu"}),
        ],
        ids=["of processors", "of GPUs", "of processors beside GPUs"],
    )
    def test_only_jobs_of_the_served_ones_are_taken(
        self, database: Database, served: frozenset[Queue | None], taken: set[str | None]
    ) -> None:
        for queue in ("cpu", "gpu", None):
            submit(database, queue=queue)
        of = CpuSlots(4, 4, served)
        claims = [of.claim(database, HOLDER) for _ in range(4)]
        assert {claimed[0].spec["queue"] for claimed in claims if claimed} == taken


class TestSlotsOfAMachine:
    @pytest.fixture
    def gpus(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """What the machine has; the test may change it."""
        found = list(GPUS)
        monkeypatch.setattr(slots, "visible_gpus", lambda: found)
        return found

    def made(self, tmp_path: Path, **settings: object) -> dict[str, tuple[int, set[str | None]]]:
        return {
            type(each).__name__: (each.count, set(each.queues))
            for each in slots_of(Settings(data_dir=tmp_path, threads=2, **settings))  # type: ignore[arg-type]
        }

    def test_gpus_take_what_may_run_anywhere(self, gpus: list[str], tmp_path: Path) -> None:
        assert self.made(tmp_path, slots=3) == {"GpuSlots": (2, {"gpu", None}), "CpuSlots": (3, {"cpu"})}

    def test_without_them_the_processors_do(self, gpus: list[str], tmp_path: Path) -> None:
        gpus.clear()
        assert self.made(tmp_path) == {"CpuSlots": (2, {"cpu", None})}

    def test_a_worker_may_serve_one_queue(self, gpus: list[str], tmp_path: Path) -> None:
        assert self.made(tmp_path, queues="gpu") == {"GpuSlots": (2, {"gpu", None})}
        assert self.made(tmp_path, queues="cpu", slots=1) == {"CpuSlots": (1, {"cpu", None})}

    def test_the_gpu_queue_needs_one(self, gpus: list[str], tmp_path: Path) -> None:
        gpus.clear()
        with pytest.raises(NoGpu, match="no GPU"):
            self.made(tmp_path, queues="cpu,gpu")


class TestVisibleGpus:
    @pytest.fixture(autouse=True)
    def machine(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A machine with an nvidia-smi that lists two."""
        program = tmp_path / "nvidia-smi"
        program.write_text("#!/bin/sh\necho GPU-a; echo GPU-b\n")
        program.chmod(0o755)
        monkeypatch.setattr("worker.gpus.QUERY", (str(program),))
        monkeypatch.setattr("worker.gpus._tensorflow_has_cuda", lambda: True)
        monkeypatch.delenv(VISIBLE, raising=False)

    @pytest.mark.parametrize(
        ("allowed", "visible"),
        [
            (None, ["GPU-a", "GPU-b"]),
            ("1", ["1"]),
            ("0,1", ["0", "1"]),
            ("0,-1,1", ["0"]),
            ("", []),
            ("GPU-b", ["GPU-b"]),
        ],
    )
    def test_the_variable_narrows_them(
        self, allowed: str | None, visible: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if allowed is not None:
            monkeypatch.setenv(VISIBLE, allowed)
        assert visible_gpus() == visible

    def test_a_tensorflow_without_cuda_sees_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("worker.gpus._tensorflow_has_cuda", lambda: False)
        assert visible_gpus() == []

    def test_a_machine_without_a_driver_has_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("worker.gpus.QUERY", ("/nonexistent/nvidia-smi",))
        assert visible_gpus() == []
