"""Jobs as their clients see them: create, read, list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import uuid_utils
from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.orm import Session

from core.errors import JobNotFound
from core.repositories.events import append_event
from core.repositories.pages import Position, beyond
from core.states import DatasetState, Reason, State
from core.tables import DatasetRow, EpochRow, JobRow, JobTagRow, StudyRunRow, utc_now
from core.validation import CheckedSpec


@dataclass(frozen=True)
class JobFilter:
    """What a listing is narrowed to; None means any."""

    state: State | None = None
    architecture: str | None = None
    dataset: str | None = None
    study: str | None = None
    """one whose runs the jobs are"""
    tag: tuple[str, str | None] | None = None
    """a tag's key, and its value unless any will do"""


def create_job(
    session: Session,
    tenant: str,
    checked: CheckedSpec,
    dataset: DatasetRow,
    request_id: str | None,
    cause: str = "submitted",
) -> JobRow:
    """A new QUEUED job with its first event. It waits for its dataset where that is still being imported."""
    spec = checked.spec
    waits = dataset.state != DatasetState.READY
    row = JobRow(
        id=uuid_utils.uuid7().hex,
        tenant_id=tenant,
        state=State.QUEUED,
        detail=f"waits for dataset {dataset.name} to be imported" if waits else None,
        spec=checked.document,
        spec_hash=checked.spec_hash,
        network=checked.network_in(0).size,
        dataset=spec.dataset.name,
        dataset_id=dataset.id,
        view=checked.view,
        architecture=spec.architecture.name,
        priority=spec.priority,
        queue=spec.queue,
        devices=spec.devices,
        tags=dict(spec.tags),
        request_id=request_id,
        revision=1,
        last_event=0,
        attempt=0,
        fruitless_attempts=0,
        keep_best=False,
        progress={
            "epoch": 0,
            "epochs": spec.epochs,
            "step": 0,
            "steps": checked.steps,
            "eta_seconds": None,
        },
        warnings=[
            *checked.warnings,
            *dataset_warnings(dataset, checked),
            *duplicate_warnings(session, tenant, checked.spec_hash),
        ],
        created_at=utc_now(),
    )
    session.add(row)
    session.flush()
    session.add_all(
        JobTagRow(job_id=row.id, key=key, value=value, tenant_id=tenant, created_at=row.created_at)
        for key, value in row.tags.items()
    )
    append_event(session, tenant, row.id, "state", {"state": State.QUEUED, "actor": "client", "cause": cause})
    session.refresh(row)
    return row


OF_CLASSES = ("class_imbalance", "tiny_class", "empty_class")
"""Warnings that may be about classes which a job leaves out."""


def dataset_warnings(dataset: DatasetRow | None, checked: CheckedSpec) -> list[dict[str, Any]]:
    """What the import of a dataset warned of, as far as it concerns a job."""
    if dataset is None or not dataset.report:
        return []
    some = checked.spec.dataset.classes is not None
    return [warning for warning in dataset.report["warnings"] if not (some and warning["code"] in OF_CLASSES)]


def start_waiting_jobs(session: Session, tenant: str, dataset_id: str) -> None:
    """The dataset is READY: its queued jobs wait for nothing but a worker."""
    session.execute(
        update(JobRow)
        .where(JobRow.tenant_id == tenant, JobRow.dataset_id == dataset_id, JobRow.state == State.QUEUED)
        .values(detail=None, revision=JobRow.revision + 1)
        .execution_options(synchronize_session=False)
    )


def fail_waiting_jobs(session: Session, tenant: str, dataset_id: str, detail: str) -> None:
    """The dataset was rejected: jobs that waited for it can never run."""
    waiting = select(JobRow).where(
        JobRow.tenant_id == tenant, JobRow.dataset_id == dataset_id, JobRow.state == State.QUEUED
    )
    for row in session.scalars(waiting.with_for_update()).all():
        row.state = State.FAILED
        row.reason = Reason.INVALID_DATASET
        row.detail = detail
        row.finished_at = utc_now()
        session.flush()
        data = {"state": State.FAILED, "reason": Reason.INVALID_DATASET, "detail": detail}
        append_event(session, tenant, row.id, "state", {**data, "actor": "worker", "cause": "dataset rejected"})


def duplicate_warnings(session: Session, tenant: str, spec_hash: str) -> list[dict[str, Any]]:
    """A warning when the same spec has succeeded before, with that job's id."""
    earlier = session.scalar(
        select(JobRow.id)
        .where(JobRow.tenant_id == tenant, JobRow.spec_hash == spec_hash, JobRow.state == State.SUCCEEDED)
        .order_by(JobRow.created_at.desc())
        .limit(1)
    )
    if earlier is None:
        return []
    return [
        {
            "code": "duplicate_of_job",
            "detail": f"job {earlier} has already succeeded with the same spec",
            "job": earlier,
        }
    ]


RECENT_JOBS = 100


def measured_speed(session: Session, tenant: str, checked: CheckedSpec) -> tuple[str, float] | None:
    """A recent job that trained the same network on batches of the same size and shape, and its images a second; None without one.

    The median of its epochs but the first, in which TensorFlow compiles.
    """
    spec, document = checked.spec, checked.document
    recent = session.execute(
        select(JobRow.id, JobRow.spec)
        .where(
            JobRow.tenant_id == tenant, JobRow.architecture == spec.architecture.name, JobRow.started_at.is_not(None)
        )
        .order_by(JobRow.created_at.desc(), JobRow.id.desc())
        .limit(RECENT_JOBS)
    )
    for job_id, other in recent:
        if _speed_key(other) != _speed_key(document):
            continue
        of_job = (EpochRow.tenant_id == tenant, EpochRow.job_id == job_id, EpochRow.epoch > 1, EpochRow.phase == 1)
        speeds = sorted(session.scalars(select(EpochRow.images_per_second).where(*of_job).limit(1000)))
        if speeds:
            return job_id, speeds[len(speeds) // 2]
    return None


def _speed_key(document: dict[str, Any]) -> dict[str, Any]:
    """What the images a second of the first phase's epochs depend on, beside the machine."""
    first = (document["phases"] or [{}])[0]
    fields = ("architecture", "batch_size", "augmentation", "precision", "devices", "deterministic", "queue")
    sizes = {name: document["dataset"].get(name) for name in ("image_size", "color")}
    return {
        **{name: document.get(name) for name in fields},
        **sizes,
        "optimizer": document["optimizer"]["name"],
        "unfreeze_from": first.get("unfreeze_from"),
    }


def get_job(session: Session, tenant: str, job_id: str) -> JobRow:
    """Raises JobNotFound."""
    row = session.scalars(select(JobRow).where(JobRow.tenant_id == tenant, JobRow.id == job_id)).one_or_none()
    return row if row is not None else _not_found(job_id)


def list_jobs(
    session: Session, tenant: str, only: JobFilter, *, limit: int, after: Position | None, descending: bool
) -> Sequence[JobRow]:
    """Up to `limit` jobs by (created_at, id), from the position on."""
    query = select(JobRow).where(JobRow.tenant_id == tenant)
    for column, value in (
        (JobRow.state, only.state),
        (JobRow.architecture, only.architecture),
        (JobRow.dataset, only.dataset),
    ):
        if value is not None:
            query = query.where(column == value)
    if only.study is not None:
        runs = select(StudyRunRow.job_id).where(StudyRunRow.tenant_id == tenant, StudyRunRow.study_id == only.study)
        query = query.where(JobRow.id.in_(runs))
    keys: tuple[Any, Any] = (JobRow.created_at, JobRow.id)
    if only.tag is not None:
        key, wanted = only.tag
        query = query.join(JobTagRow, JobTagRow.job_id == JobRow.id)
        query = query.where(JobTagRow.tenant_id == tenant, JobTagRow.key == key)
        if wanted is not None:
            query = query.where(JobTagRow.value == wanted)
        keys = (JobTagRow.created_at, JobTagRow.job_id)  # the same times and ids, in the order of an index
    if after is not None:
        query = query.where(beyond(*keys, after, descending=descending))
    return session.scalars(query.order_by(*(key.desc() if descending else key for key in keys)).limit(limit)).all()


def queue_position(session: Session, row: JobRow) -> int | None:
    """How many queued jobs will start before this one, plus one; None when it does not wait."""
    if row.state != State.QUEUED:
        return None
    ahead = or_(
        JobRow.priority > row.priority,
        and_(
            JobRow.priority == row.priority,
            beyond(JobRow.created_at, JobRow.id, Position(row.created_at, row.id), descending=True),
        ),
    )
    count = session.scalar(select(func.count()).select_from(JobRow).where(JobRow.state == State.QUEUED, ahead))
    return 1 + (count or 0)


def queue_positions(session: Session, rows: Sequence[JobRow]) -> dict[str, int]:
    """The same for several jobs at once, by id, of those that wait."""
    waiting = [row.id for row in rows if row.state == State.QUEUED]
    if not waiting:
        return {}
    order = (JobRow.priority.desc(), JobRow.created_at, JobRow.id)
    queue = (
        select(JobRow.id, func.row_number().over(order_by=order).label("position"))
        .where(JobRow.state == State.QUEUED)
        .subquery()
    )
    found = session.execute(select(queue.c.id, queue.c.position).where(queue.c.id.in_(waiting)))
    return {row.id: row.position for row in found}


def _not_found(job_id: str) -> NoReturn:
    raise JobNotFound(job_id)
