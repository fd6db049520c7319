"""Reads the whole history of a kerasd, and says in words what cannot be true of one that keeps its promises."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.artifacts import ArtifactStore
from core.choice import Contender, choose
from core.database import Database
from core.dataset_content import DatasetContent
from core.objective import objective_of
from core.states import HELD, DatasetState, Reason, State
from core.tables import (
    ArtifactRow,
    AttemptRow,
    BestRow,
    CheckpointRow,
    DatasetEventRow,
    DatasetRow,
    EpochRow,
    EvaluationRow,
    EventRow,
    JobRow,
    ModelEventRow,
    ModelVersionRow,
    Table,
)

Row = TypeVar("Row", bound=Table)


@dataclass(frozen=True)
class JobHistory:
    """A job with everything that belongs to it, in order."""

    job: JobRow
    attempts: Sequence[AttemptRow]
    epochs: Sequence[EpochRow]
    events: Sequence[EventRow]
    checkpoints: Sequence[CheckpointRow]
    versions: Sequence[ModelVersionRow]
    evaluations: Sequence[EvaluationRow]
    artifacts: Sequence[ArtifactRow]

    @property
    def held(self) -> bool:
        return self.job.state in HELD

    @property
    def moves(self) -> list[State]:
        """The states that its events tell of."""
        return [State(event.data["state"]) for event in self.events if event.kind == "state"]


@dataclass(frozen=True)
class History:
    jobs: Sequence[JobHistory]
    versions: dict[str, list[ModelVersionRow]]
    """of each model, in order"""
    best: dict[str, BestRow]
    model_events: dict[str, list[ModelEventRow]]
    datasets: Sequence[DatasetRow]
    dataset_events: dict[str, list[DatasetEventRow]]


def read_history(database: Database) -> History:
    """All of it, as of one moment."""
    with database.snapshot() as session:
        jobs = _all(session, JobRow, JobRow.created_at)
        attempts = _by_job(session, AttemptRow, AttemptRow.number)
        epochs = _by_job(session, EpochRow, EpochRow.epoch)
        events = _by_job(session, EventRow, EventRow.sequence)
        checkpoints = _by_job(session, CheckpointRow, CheckpointRow.epoch)
        evaluations = _by_job(session, EvaluationRow, EvaluationRow.job_id)
        artifacts = _by_job(session, ArtifactRow, ArtifactRow.id)
        published = _all(session, ModelVersionRow, ModelVersionRow.version)
        versions_of_job = _grouped(published, lambda row: row.job_id)
        dataset_events = _all(session, DatasetEventRow, DatasetEventRow.sequence)
        return History(
            [
                JobHistory(
                    job,
                    attempts[job.id],
                    epochs[job.id],
                    events[job.id],
                    checkpoints[job.id],
                    versions_of_job[job.id],
                    evaluations[job.id],
                    artifacts[job.id],
                )
                for job in jobs
            ],
            _grouped(published, lambda row: row.name),
            {row.name: row for row in _all(session, BestRow, BestRow.name)},
            _grouped(_all(session, ModelEventRow, ModelEventRow.sequence), lambda row: row.name),
            _all(session, DatasetRow, DatasetRow.created_at),
            _grouped(dataset_events, lambda row: row.dataset_id),
        )


def violations(
    database: Database,
    *,
    acknowledged: Collection[str] = (),
    drained: bool = False,
    store: ArtifactStore | None = None,
    scratch: Path | None = None,
) -> list[str]:
    """What is wrong, empty when nothing is. `acknowledged` are ids that a client was told of.

    `drained`: nothing runs or waits any more. With a `store` and a `scratch` folder, files that nothing needs are found.
    """
    history = read_history(database)
    found = [f"job {job_id} was acknowledged and is lost" for job_id in _lost(history, acknowledged)]
    for each in history.jobs:
        rules = (_of_state, _of_attempts, _of_epochs, _of_events, _of_result, *((_of_end,) if drained else ()))
        found += [f"job {each.job.id} ({each.job.state}): {fault}" for rule in rules for fault in rule(each)]
    for name in history.versions.keys() | history.best.keys():
        found += [f"model {name}: {fault}" for fault in _of_model(history, name)]
    for dataset in history.datasets:
        faults = _of_dataset(dataset, history.dataset_events[dataset.id], drained=drained)
        found += [f"dataset {dataset.name} ({dataset.state}): {fault}" for fault in faults]
    if store is not None:
        found += _of_files(history, store)
    if scratch is not None:
        found += [f"scratch folder {folder.name} is left over" for folder in scratch.glob("*")]
    return found


def _lost(history: History, acknowledged: Collection[str]) -> set[str]:
    return set(acknowledged) - {each.job.id for each in history.jobs}


def _of_state(each: JobHistory) -> Iterator[str]:
    job = each.job
    explained = job.reason is not None
    if explained != (job.state in (State.FAILED, State.CANCELLED, State.CANCELLING)):
        yield f"its reason is {job.reason}"
    if (job.lease_expires_at is not None) != each.held:
        yield "it has a lease that nobody holds" if job.lease_expires_at else "it is held without a lease"
    if (job.finished_at is not None) != State(job.state).terminal:
        yield f"finished_at is {job.finished_at}"


def _of_end(each: JobHistory) -> Iterator[str]:
    if not State(each.job.state).terminal:
        yield "it has not ended"


def _of_attempts(each: JobHistory) -> Iterator[str]:
    if (numbers := [row.number for row in each.attempts]) != list(range(1, each.job.attempt + 1)):
        yield f"its attempts are numbered {numbers}, the newest {each.job.attempt}"
    for row in each.attempts:
        running = each.held and row.number == each.job.attempt
        if (row.outcome is None, row.ended_at is None) != (running, running):
            yield f"attempt {row.number} {'runs' if running else 'is over'}, with outcome {row.outcome}, ended {row.ended_at}"


def _of_epochs(each: JobHistory) -> Iterator[str]:
    if (numbers := [row.epoch for row in each.epochs]) != list(range(1, len(numbers) + 1)):
        yield f"its epochs are {numbers}"
    makers = [row.attempt for row in each.epochs]
    if makers != sorted(makers) or any(maker not in range(1, each.job.attempt + 1) for maker in makers):
        yield f"its epochs were made by attempts {makers}"
    wanted, stops_early = each.job.spec["epochs"], each.job.spec["early_stopping"] is not None
    if each.job.state == State.SUCCEEDED and len(each.epochs) != wanted and not stops_early:
        yield f"it succeeded with {len(each.epochs)} of {wanted} epochs"
    if beyond := [row.epoch for row in each.checkpoints if row.epoch > len(each.epochs)]:
        yield f"it has checkpoints of epochs {beyond} that are not recorded"


def _of_events(each: JobHistory) -> Iterator[str]:
    yield from _numbering([event.sequence for event in each.events], each.job.last_event)
    moves = each.moves
    if not moves or moves[0] is not State.QUEUED:
        yield f"its first state was {moves[0] if moves else None}"
        return
    for before, after in itertools.pairwise(moves):
        if not before.may_become(after):
            yield f"it went from {before} to {after}"
    if moves[-1] != each.job.state:
        yield f"its last event says {moves[-1]}"


PUBLISHED = ["onnx", "weights"]
"""kinds of artifacts that go with a model"""


def _numbering(numbers: Sequence[int], last: int) -> Iterator[str]:
    if list(numbers) != list(range(1, last + 1)):
        yield f"its events are numbered {numbers}, the last one {last}"


def _of_result(each: JobHistory) -> Iterator[str]:
    job = each.job
    kinds = sorted(row.kind for row in each.artifacts)
    counts = {len(each.versions), len(each.evaluations)}
    expected = {0}
    if job.state == State.SUCCEEDED:
        expected = {1}
    elif (job.state == State.CANCELLED and job.keep_best) or job.reason == Reason.DIVERGED:
        expected = {0, 1}
    if len(counts) != 1 or not counts <= expected or kinds != PUBLISHED * len(each.versions):
        yield f"it has {len(each.versions)} models, {len(each.evaluations)} evaluations, artifacts {kinds}"
    stated = [(job.model_name, job.model_version)] if job.model_version is not None else []
    if stated != [(row.name, row.version) for row in each.versions]:
        yield f"it names the models {stated}"
    if len(each.versions) != (1 if job.evaluation is not None else 0):
        yield f"its evaluation is {job.evaluation}"
    if each.versions and each.checkpoints:
        yield "it has a model and still checkpoints"


def _of_model(history: History, name: str) -> Iterator[str]:
    versions, best = history.versions.get(name, []), history.best.get(name)
    if (numbers := [row.version for row in versions]) != list(range(1, len(versions) + 1)):
        yield f"its versions are {numbers}"
    if best is None:
        yield "none of its versions is the best"
    elif best.version not in numbers:
        yield f"its best is version {best.version}, which is not there"
    else:
        events = history.model_events.get(name, [])
        yield from _of_choice(best, events, numbers)
        one_gate = all(event.kind != "gate" for event in events)
        if one_gate and not best.pinned and best.version != (expected := _best_of(history, versions)):
            yield f"its best is version {best.version}, not {expected}"


def _of_choice(best: BestRow, events: Sequence[ModelEventRow], versions: Sequence[int]) -> Iterator[str]:
    """Each event goes on from where the one before left off, and the last tells how the model stands."""
    yield from _numbering([event.sequence for event in events], best.last_event)
    served = [None, *(event.data["best"] for event in events)]
    if (told := [event.data["previous"] for event in events]) != served[:-1]:
        yield f"its events say that {served[1:]} came after {told}"
    if (published := [event.data["published"] for event in events if event.kind == "published"]) != versions:
        yield f"its events tell of versions {published}"
    if events and (events[-1].data["best"], events[-1].data["pinned"]) != (best.version, best.pinned):
        yield f"its last event says that {served[-1]} serves"


def _best_of(history: History, versions: Sequence[ModelVersionRow]) -> int:
    sizes = {row.id: row.bytes for each in history.jobs for row in each.artifacts}
    contenders = [
        Contender(
            row.version,
            objective_of(row.objective),
            row.metrics,
            row.card.get("sizes", {}).get("parameters"),
            sizes.get(row.artifact_id, 0),
        )
        for row in versions
    ]
    return choose(contenders)


def _of_dataset(row: DatasetRow, events: Sequence[DatasetEventRow], *, drained: bool) -> Iterator[str]:
    yield from _numbering([event.sequence for event in events], row.last_event)
    importing = row.state == DatasetState.IMPORTING
    if drained and importing:
        yield "its import has not ended"
    if row.lease_expires_at is not None and not importing:
        yield "it has a lease that nobody holds"
    if (row.path is not None) != (row.state == DatasetState.READY):
        yield f"its files are in {row.path}"


def _of_files(history: History, store: ArtifactStore) -> Iterator[str]:
    named, folders = set(_named_files(history)), tuple(_open_folders(history))
    there = store.files("").keys()
    for path in sorted(named - there):
        yield f"file {path} is missing"
    for path in sorted(there - named):
        if not path.startswith(folders):
            yield f"file {path} belongs to nothing"


def _named_files(history: History) -> Iterator[str]:
    for each in history.jobs:
        yield from (row.path for row in each.artifacts)
        yield from (row.path for row in each.checkpoints)
    for dataset in history.datasets:
        if dataset.content is not None:
            content = DatasetContent.model_validate_json(json.dumps(dataset.content))
            yield from (f"{dataset.path}/{file.name}" for file in content.files)
        if dataset.state == DatasetState.IMPORTING:
            yield from (upload["path"] for upload in dataset.uploads)


def _open_folders(history: History) -> Iterator[str]:
    """Beginnings of paths at which something that runs now may be writing."""
    for each in history.jobs:
        if each.held:
            yield f"checkpoints/{each.job.id}/{each.job.attempt}-"
            yield f"{each.job.tenant_id}/{each.job.id}/{each.job.attempt}/"
    for dataset in history.datasets:
        if dataset.state == DatasetState.IMPORTING:
            yield f"datasets/{dataset.id}-{dataset.attempt}/"


def _all(session: Session, table: type[Row], order: Any) -> list[Row]:
    return list(session.scalars(select(table).order_by(order)))


def _by_job(session: Session, table: type[Row], order: Any) -> dict[str, list[Row]]:
    return _grouped(_all(session, table, order), lambda row: str(row.job_id))  # type: ignore[attr-defined]


def _grouped(rows: Iterable[Row], key: Callable[[Row], str]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups
