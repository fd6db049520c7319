"""A database as it looks after a long life: many ended jobs with their attempts, epochs and events, and one long one."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import uuid_utils
from sqlalchemy import insert, text

from core.database import Database
from core.repositories.datasets import need_dataset
from core.states import Reason, State
from core.tables import LOCAL_TENANT, AttemptRow, EpochRow, EventRow, JobRow, JobTagRow, Table
from core.validation import CheckedSpec, check_spec

BATCH = 5_000
EPOCHS = 5
QUEUED = 1_000
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
RARE_TAG = "thesis"

Rows = dict[type[Table], list[dict[str, Any]]]


def fill(database: Database, jobs: int, long_epochs: int, epochs: int = EPOCHS) -> tuple[list[str], str]:
    """Stores that many jobs, a minute apart, and one of `long_epochs` epochs. Returns their ids, and that one's.

    The last QUEUED of them have no epochs.
    """
    with database.transaction() as session:
        dataset = need_dataset(session, LOCAL_TENANT, "digits", None).id
    chance = random.Random(0)
    ids: list[str] = []
    for first in range(0, jobs, BATCH):
        rows = _no_rows()
        for number in range(first, min(first + BATCH, jobs)):
            state = _state(chance, number, jobs)
            ids.append(_add_job(rows, dataset, number, state, epochs))
        _insert(database, rows)
    rows = _no_rows()
    long = _add_job(rows, dataset, jobs, State.SUCCEEDED, long_epochs)
    _insert(database, rows)
    if database.engine.dialect.name == "postgresql":
        with database.transaction() as session:
            session.execute(text("ANALYZE"))  # as its autovacuum does within a minute
    return ids, long


def _no_rows() -> Rows:
    return {JobRow: [], JobTagRow: [], AttemptRow: [], EpochRow: [], EventRow: []}


def _state(chance: random.Random, number: int, jobs: int) -> State:
    if number >= jobs - QUEUED:
        return State.QUEUED
    return chance.choices([State.SUCCEEDED, State.FAILED, State.CANCELLED], [90, 7, 3])[0]


def _insert(database: Database, rows: Rows) -> None:
    with database.transaction() as session:
        for table, values in rows.items():
            if values:
                session.execute(insert(table), values)


def _add_job(rows: Rows, dataset: str, number: int, state: State, epochs: int) -> str:
    spec = _spec(epochs)
    own = {"tenant_id": LOCAL_TENANT, "created_at": FIRST + timedelta(minutes=number)}
    job = uuid_utils.uuid7().hex
    history = [] if state is State.QUEUED else [_epoch(each) for each in range(1, epochs + 1)]
    events = list(_events(state, history))
    rows[JobRow].append(
        {
            **own,
            "id": job,
            "state": state,
            "reason": Reason.DIVERGED if state is State.FAILED else None,
            "spec": {**spec.document, "seed": number},
            "spec_hash": hashlib.sha256(b"%d" % number).hexdigest(),
            "dataset": "digits" if number % 1_000 else "mnist",
            "dataset_id": dataset,
            "view": spec.view,
            "architecture": "lenet" if number % 1_000 else "vgg",
            "priority": 0,
            "tags": {"course": "cv", **({RARE_TAG: "yes"} if number % 1_000 == 0 else {})},
            "revision": 1 + len(events),
            "last_event": len(events),
            "attempt": int(state is not State.QUEUED),
            "fruitless_attempts": 0,
            "keep_best": False,
            "progress": {"epoch": len(history), "epochs": epochs, "step": 40, "steps": 40, "eta_seconds": None},
            "best_epoch": history[-1] if history else None,
            "evaluation": {"test_loss": 0.1, "test_accuracy": 0.97} if state is State.SUCCEEDED else None,
            "warnings": [],
            "finished_at": own["created_at"] if state.terminal else None,
        }
    )
    tags = rows[JobRow][-1]["tags"]
    rows[JobTagRow] += [{**own, "job_id": job, "key": key, "value": value} for key, value in tags.items()]
    rows[EpochRow] += [{**own, "job_id": job, "attempt": 1, **values} for values in history]
    rows[EventRow] += [
        {**own, "job_id": job, "sequence": sequence, "kind": kind, "data": data}
        for sequence, (kind, data) in enumerate(events, 1)
    ]
    if state is not State.QUEUED:
        rows[AttemptRow].append({**own, "job_id": job, "number": 1, **_attempt(own["created_at"])})
        del rows[AttemptRow][-1]["created_at"]
    return job


@cache
def _spec(epochs: int) -> CheckedSpec:
    return check_spec({"dataset": "digits", "architecture": "lenet", "epochs": epochs})


def _attempt(started: Any) -> dict[str, Any]:
    return {
        "worker": "host:1",
        "boot_id": "boot",
        "pid": 1,
        "process_started": 1.0,
        "outcome": "succeeded",
        "started_at": started,
        "ended_at": started,
    }


def _epoch(number: int) -> dict[str, Any]:
    return {
        "epoch": number,
        "loss": 1.234567 / number,
        "accuracy": 0.9123456789,
        "val_loss": 1.3456789 / number,
        "val_accuracy": 0.8987654321,
        "learning_rate": 0.0010000000474974513,
        "seconds": 1.2345,
        "images_per_second": 7654.3,
    }


def _events(state: State, history: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "state", {"state": State.QUEUED, "actor": "client", "cause": "submitted"}
    if state is State.QUEUED:
        return
    yield "state", {"state": State.RUNNING, "attempt": 1, "actor": "worker", "cause": "claimed", "worker": "host:1"}
    for values in history:
        yield "epoch", {**values, "attempt": 1}
        text = (
            f"epoch {values['epoch']}  loss {values['loss']:.4f}  accuracy 0.9123  val_loss 0.1234  val_accuracy 0.8\n"
        )
        yield "log", {"attempt": 1, "text": text}
    yield "state", {"state": state, "reason": None, "detail": None, "attempt": 1, "actor": "worker", "cause": "ended"}
