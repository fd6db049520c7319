"""The tables. Each row carries its tenant; times are UTC; leases are seconds on the database's clock."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Float, ForeignKey, Index, Integer, MetaData, String, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

LOCAL_TENANT = "local"

SCHEMA_REVISION = "0003"
"""The migration that these tables belong to; the service and workers wait until the database is there."""


class UtcDateTime(TypeDecorator[datetime]):
    """A timezone-aware UTC time on every engine (SQLite forgets the zone)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def utc_now() -> datetime:
    return datetime.now(UTC)


Document = JSON().with_variant(JSONB(), "postgresql")
BigKey = BigInteger().with_variant(Integer(), "sqlite")  # SQLite autoincrements INTEGER keys only


class Table(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012  (SQLAlchemy's own convention)
        datetime: UtcDateTime,
        dict[str, Any]: Document,
        list[dict[str, Any]]: Document,
        list[str]: Document,
        str: String(255),
        float: Float(53),
    }


class DatasetRow(Table):
    """One dataset: its import while that lasts, and afterwards what was found in it and where its files are."""

    __tablename__ = "datasets"
    __table_args__ = (
        Index("uq_datasets_name", "tenant_id", "name", unique=True),
        Index("ix_datasets_listing", "tenant_id", "created_at", "id"),
        Index("ix_datasets_queue", "state", "created_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    name: Mapped[str]
    state: Mapped[str]
    detail: Mapped[str | None] = mapped_column(Text)
    source: Mapped[dict[str, Any]]  # {"builtin"} or {"files", "bytes", "sha256"}
    options: Mapped[dict[str, Any]]
    uploads: Mapped[list[dict[str, Any]]]  # {"name", "path", "bytes", "sha256"} of files kept until the import's end
    request_id: Mapped[str | None]
    revision: Mapped[int]
    last_event: Mapped[int]

    attempt: Mapped[int]  # number of the newest try at importing, and its fencing token
    lost_attempts: Mapped[int]  # tries that ended without a verdict
    lease_expires_at: Mapped[float | None]
    boot_id: Mapped[str | None]  # with pid and process_started: the worker that holds the lease
    pid: Mapped[int | None]
    process_started: Mapped[float | None]

    progress: Mapped[dict[str, Any]]
    content: Mapped[dict[str, Any] | None]  # core.dataset_content.DatasetContent, once READY
    digest: Mapped[str | None] = mapped_column(index=True)
    path: Mapped[str | None] = mapped_column(Text)  # folder in the artifact store; datasets of equal content share it
    bytes: Mapped[int | None] = mapped_column(BigInteger)
    report: Mapped[dict[str, Any] | None]
    errors: Mapped[list[dict[str, Any]]]
    errors_total: Mapped[int]

    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class DatasetEventRow(Table):
    """What happened to a dataset, in order. `sequence` counts from 1 within the dataset and never has a gap."""

    __tablename__ = "dataset_events"

    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    kind: Mapped[str]
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class ViewRow(Table):
    """A name that a client gave to a view, and what it stands for: once given, always the same."""

    __tablename__ = "views"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    identity: Mapped[str]  # "<dataset>@<hash of labels and split>"
    created_at: Mapped[datetime]


class JobRow(Table):
    """One job. The row is the truth; `revision` counts its changes and is the ETag."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_listing", "tenant_id", "created_at", "id"),
        Index("ix_jobs_queue", "state", "priority", "created_at", "id"),
        Index("ix_jobs_spec_hash", "tenant_id", "spec_hash"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    state: Mapped[str]
    reason: Mapped[str | None]
    detail: Mapped[str | None] = mapped_column(Text)
    spec: Mapped[dict[str, Any]]
    spec_hash: Mapped[str]
    dataset: Mapped[str]
    dataset_id: Mapped[str | None] = mapped_column(index=True)  # of datasets; None once that is deleted
    view: Mapped[str]
    architecture: Mapped[str]
    priority: Mapped[int]
    tags: Mapped[dict[str, Any]]
    request_id: Mapped[str | None]
    revision: Mapped[int]
    last_event: Mapped[int]  # sequence number of the newest event

    attempt: Mapped[int]  # number of the newest attempt, and its fencing token; 0 before the first
    fruitless_attempts: Mapped[int]  # consecutive attempts that ended without a finished epoch
    keep_best: Mapped[bool]  # of a job being cancelled: publish its best epoch first
    lease_expires_at: Mapped[float | None]
    deadline: Mapped[float | None]  # of timeout_seconds, set by the first claim

    progress: Mapped[dict[str, Any]]
    best_epoch: Mapped[dict[str, Any] | None]
    evaluation: Mapped[dict[str, Any] | None]
    warnings: Mapped[list[dict[str, Any]]]
    model_name: Mapped[str | None]
    model_version: Mapped[int | None]

    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class AttemptRow(Table):
    """One try at running a job: who held it, with what, and how it ended."""

    __tablename__ = "attempts"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    worker: Mapped[str]  # host name and process id, for people
    boot_id: Mapped[str]  # with pid and process_started: tells a dead holder on the same host
    pid: Mapped[int]
    process_started: Mapped[float]
    environment: Mapped[dict[str, Any] | None]  # versions, hardware, threads, dataset digest
    outcome: Mapped[str | None]
    detail: Mapped[str | None] = mapped_column(Text)
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class EpochRow(Table):
    """One finished epoch."""

    __tablename__ = "epochs"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)  # from 1
    tenant_id: Mapped[str]
    attempt: Mapped[int]
    loss: Mapped[float | None]
    accuracy: Mapped[float | None]
    val_loss: Mapped[float | None]
    val_accuracy: Mapped[float | None]
    learning_rate: Mapped[float]
    seconds: Mapped[float]
    images_per_second: Mapped[float]
    created_at: Mapped[datetime]


class CheckpointRow(Table):
    """A training's state after an epoch. The newest two are kept, until the job has succeeded."""

    __tablename__ = "checkpoints"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    path: Mapped[str] = mapped_column(Text)  # relative to the artifact store
    sha256: Mapped[str]
    bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime]


class EventRow(Table):
    """What happened to a job, in order. `sequence` counts from 1 within the job and never has a gap."""

    __tablename__ = "events"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    kind: Mapped[str]  # state, epoch, log, warning
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class EvaluationRow(Table):
    """Test metrics of a job's published weights, with the confusion matrix."""

    __tablename__ = "evaluations"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    tenant_id: Mapped[str]
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class ArtifactRow(Table):
    """Bytes in the artifact store. Nothing there exists until its row does."""

    __tablename__ = "artifacts"

    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    tenant_id: Mapped[str]
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    attempt: Mapped[int]
    kind: Mapped[str]  # onnx, weights
    path: Mapped[str] = mapped_column(Text)  # relative to the artifact store
    sha256: Mapped[str]
    bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime]


class ModelVersionRow(Table):
    """A published, verified model. Versions count up from 1 for each (view, architecture)."""

    __tablename__ = "model_versions"
    __table_args__ = (Index("uq_model_versions_name_version", "tenant_id", "name", "version", unique=True),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    tenant_id: Mapped[str]
    name: Mapped[str]  # "<view>.<architecture>"
    view: Mapped[str]
    architecture: Mapped[str]
    version: Mapped[int]
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), unique=True)
    artifact_id: Mapped[int] = mapped_column(ForeignKey("artifacts.id"))
    dataset_digest: Mapped[str]
    labels: Mapped[list[str]]
    input_shape: Mapped[dict[str, Any]]  # {"height", "width", "channels"}
    metrics: Mapped[dict[str, Any]]  # of the published epoch, and test_*
    objective: Mapped[dict[str, Any]]
    parity: Mapped[dict[str, Any]]  # what the check against Keras measured
    created_at: Mapped[datetime]


class BestRow(Table):
    """The version that predictions use, for each (view, architecture)."""

    __tablename__ = "best_versions"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int]
    pinned: Mapped[bool]
    updated_at: Mapped[datetime]


class IdempotencyKeyRow(Table):
    """The job that a keyed submit created, and a hash of the body that it came with."""

    __tablename__ = "idempotency_keys"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    body_sha256: Mapped[str]
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    answer: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(index=True)
