"""Real training without a service: jobs in a database, each attempt in a trainer process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from datasets import HOLDER
from numpy.typing import NDArray
from sqlalchemy import select

from core.artifacts import open_store
from core.database import Database
from core.repositories.attempts import Attempt
from core.repositories.claims import claim_next, release_lost
from core.repositories.datasets import need_dataset
from core.repositories.donors import donor_lookup
from core.repositories.epochs import epoch_values
from core.repositories.imports import claim_import
from core.repositories.jobs import create_job
from core.settings import Settings
from core.states import State
from core.tables import LOCAL_TENANT, ArtifactRow, AttemptRow, JobRow, ModelVersionRow
from core.validation import builtin_dataset, check_spec
from worker.importer import import_dataset
from worker.imports.supervisor import assignment_of as import_assignment
from worker.slots import Share
from worker.supervisor import assignment_of
from worker.weights import read_weights

FEW: dict[str, Any] = {"name": "digits", "train_limit": 320}
FEWER: dict[str, Any] = {"name": "digits", "train_limit": 100}
SMALL_TRANSFER: dict[str, Any] = {"name": "transfer", "head": "average"}

TIMED = ("seconds", "images_per_second")


class Laboratory:
    """One data folder with the digits, ready to be trained on."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.database = database
        self._folder = folder
        self.settings = Settings(data_dir=folder, offline=True)
        self.output = ""
        self.peak_bytes = 0
        with database.transaction() as session:
            need_dataset(session, LOCAL_TENANT, "digits", None)
        with database.transaction() as session:
            claimed = claim_import(session, HOLDER)
        assert claimed is not None
        import_dataset(import_assignment(claimed), self.settings)

    def submit(self, **spec: Any) -> str:
        """A queued job; on digits unless the spec says otherwise. Returns its id."""
        with self.database.transaction() as session:
            checked = check_spec({"dataset": "digits", **spec}, builtin_dataset, donor_lookup(session, LOCAL_TENANT))
            dataset = need_dataset(session, LOCAL_TENANT, checked.spec.dataset.name, None)
            return create_job(session, LOCAL_TENANT, checked, dataset, None).id

    def attempt(self, **environment: str) -> Attempt:
        """One attempt at the queued job, in a process that has ended when this returns; `output` and `peak_bytes` are its."""
        with self.database.transaction() as session:
            claim = claim_next(session, HOLDER)
        assert claim is not None
        command = [sys.executable, "-m", "worker.trainer", str(os.getpid())]
        folders = {"KERASD_DATA_DIR": str(self._folder), "KERASD_OFFLINE": "true"}
        with (self._folder / "trainer.log").open("w+", encoding="utf-8") as log:
            trainer = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
                env={**os.environ, **folders, **environment},
            )
            assert trainer.stdin is not None
            with trainer.stdin as line:
                line.write(assignment_of(claim, Share(2, ())).to_line())
            _, status, usage = os.wait4(trainer.pid, 0)
            trainer.returncode = os.waitstatus_to_exitcode(status)
            log.seek(0)
            self.output = log.read()
        self.peak_bytes = usage.ru_maxrss * 1024
        return claim.attempt

    def crash(self, point: str) -> None:
        """An attempt that is killed at a failpoint; the job waits for the next."""
        attempt = self.attempt(KERASD_FAILPOINT=point)
        assert self.row(attempt.job_id).state == State.RUNNING, self.output
        with self.database.transaction() as session:
            release_lost(session, attempt, "killed by a test")

    def train(self, *crashes: str, **spec: Any) -> str:
        """A job to its success, after crashes at failpoints. Returns its id."""
        job = self.submit(**spec)
        for point in crashes:
            self.crash(point)
        self.attempt()
        assert self.row(job).state == State.SUCCEEDED, f"{self.row(job).detail}\n{self.output}"
        return job

    def row(self, job: str) -> JobRow:
        with self.database.snapshot() as session:
            return session.scalars(select(JobRow).where(JobRow.id == job)).one()

    def version(self, job: str) -> ModelVersionRow:
        with self.database.snapshot() as session:
            return session.scalars(select(ModelVersionRow).where(ModelVersionRow.job_id == job)).one()

    def environment(self, job: str) -> dict[str, Any]:
        with self.database.snapshot() as session:
            found = session.scalars(select(AttemptRow).where(AttemptRow.job_id == job)).all()
        assert found[-1].environment is not None
        return found[-1].environment

    def epochs(self, job: str) -> list[dict[str, Any]]:
        with self.database.snapshot() as session:
            return epoch_values(session, LOCAL_TENANT, job)

    def history(self, job: str) -> list[dict[str, Any]]:
        """All epochs, without what depends on the clock."""
        return [{name: value for name, value in epoch.items() if name not in TIMED} for epoch in self.epochs(job)]

    def weights(self, job: str) -> dict[str, list[NDArray[Any]]]:
        """What the job published, by layer."""
        with self.database.snapshot() as session:
            query = select(ArtifactRow).where(ArtifactRow.job_id == job, ArtifactRow.kind == "weights")
            artifact = session.scalars(query).one()
        return dict(read_weights(open_store(self.settings).get(artifact.path, artifact.sha256)))


def same(first: dict[str, list[NDArray[Any]]], second: dict[str, list[NDArray[Any]]]) -> bool:
    """Whether weights are equal to the last bit."""
    return first.keys() == second.keys() and all(
        np.array_equal(one, other) for name in first for one, other in zip(first[name], second[name], strict=True)
    )
