"""`python -m worker.trainer PARENT`: imports TensorFlow, waits for one assignment on standard input, runs it, exits.

One process for each attempt: TensorFlow keeps its memory and its devices for life and does not survive a fork.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import sys
import traceback
from dataclasses import asdict, dataclass
from typing import Any

from psycopg.errors import DiskFull
from sqlalchemy.exc import OperationalError

from core.database import Database  # before TensorFlow, whose own SQLite it must not get
from worker.exits import ENDED, FENCED_OUT, NO_DATABASE, refused_memory
from worker.host import READY_LINE, die_with_parent, leave


@dataclass(frozen=True)
class Assignment:
    """What the supervisor hands a trainer, as one line of JSON."""

    tenant: str
    job_id: str
    number: int
    spec: dict[str, Any]
    dataset: dict[str, Any]
    """core.dataset_content.StoredDataset as JSON"""
    checkpoints: list[dict[str, Any]]
    """core.repositories.checkpoints.Checkpoint as JSON, newest first"""
    donor: dict[str, Any] | None
    """core.donors.Donor as JSON"""
    threads: int
    gpus: list[str]
    """as CUDA_VISIBLE_DEVICES names them; none: the CPU"""

    def to_line(self) -> str:
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Assignment:
        return cls(**json.loads(line))


def main() -> int:
    die_with_parent(int(sys.argv[1]))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import_training()
    print(READY_LINE, flush=True)
    line = sys.stdin.readline()
    if not line:  # the supervisor closed the pipe: this standby is not needed
        return ENDED
    return train(Assignment.from_line(line))


def import_training() -> None:
    """Everything that an attempt imports, so that a standby has it in memory."""
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401

    import worker.training  # noqa: F401


def train(assignment: Assignment) -> int:
    """Runs the attempt and records how it ended. Returns the exit code.

    A database that stays away is no verdict: the job is left to be tried again.
    """
    from core.dataset_content import StoredDataset
    from core.donors import Donor
    from core.errors import ArtifactStoreAway, FencedOut, TrainingFailure
    from core.repositories.attempts import Attempt, Ending, end_attempt
    from core.repositories.checkpoints import Checkpoint
    from core.settings import Settings
    from core.states import State
    from worker.environment import Hardware
    from worker.gpus import VISIBLE
    from worker.ledger import Ledger
    from worker.training import run_attempt

    os.environ[VISIBLE] = ",".join(assignment.gpus)  # before CUDA starts, which nothing imported so far does
    settings = Settings()
    database = Database(settings.database)
    ledger = Ledger(database, Attempt(assignment.tenant, assignment.job_id, assignment.number))
    try:
        try:
            dataset = StoredDataset.from_json(assignment.dataset)
            checkpoints = [Checkpoint(**checkpoint) for checkpoint in assignment.checkpoints]
            donor = Donor.from_json(assignment.donor) if assignment.donor else None
            hardware = Hardware(assignment.threads, len(assignment.gpus))
            run_attempt(assignment.spec, dataset, checkpoints, donor, ledger, settings, hardware)
        except FencedOut:
            raise
        except ArtifactStoreAway as away:
            print(away.detail, flush=True)
            given_back = Ending(State.QUEUED, outcome="released", detail=away.detail, counts_as_failure=False)
            ledger.write(lambda session, attempt: end_attempt(session, attempt, given_back))
        except Exception as error:  # whatever it is becomes the job's recorded reason
            if isinstance(error, OperationalError) and not _disk_is_full(error):
                raise
            traceback.print_exc()
            failure = error if isinstance(error, TrainingFailure) else explain(error)
            ending = Ending(State.FAILED, outcome="failed", reason=failure.reason, detail=failure.detail)
            ledger.write(lambda session, attempt: end_attempt(session, attempt, ending))
    except FencedOut as fenced:
        print(fenced.detail, flush=True)
        return FENCED_OUT
    except OperationalError as error:
        print(f"the database does not answer: {error.orig}", flush=True)
        return NO_DATABASE
    finally:
        database.close()
    return ENDED


def explain(error: Exception) -> Any:
    """The TrainingFailure that an unexpected error amounts to."""
    import tensorflow as tf

    from core.errors import KerasdError, TrainingFailure
    from core.states import Reason

    told = f"{type(error).__name__}: {error}"
    text = told.splitlines()[0][:500]
    if isinstance(error, tf.errors.ResourceExhaustedError):
        on_gpu = bool(tf.config.list_physical_devices("GPU"))
        reason = Reason.GPU_OUT_OF_MEMORY if on_gpu else Reason.OUT_OF_MEMORY
        return TrainingFailure(reason, f"memory ran out; use a smaller batch_size or image_size ({text})")
    if refused_memory(told) is not None:
        return TrainingFailure(Reason.OUT_OF_MEMORY, "memory ran out; use a smaller batch_size or image_size")
    if _disk_is_full(error):
        return TrainingFailure(Reason.DISK_FULL, "the disk is full; free space and retry the job")
    if isinstance(error, KerasdError):
        return TrainingFailure(Reason.INTERNAL_ERROR, error.detail)
    return TrainingFailure(Reason.INTERNAL_ERROR, f"{text}; the job's log has the traceback")


def _disk_is_full(error: Exception) -> bool:
    if isinstance(error, OperationalError):
        return getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL or isinstance(error.orig, DiskFull)
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


if __name__ == "__main__":
    leave(main())
