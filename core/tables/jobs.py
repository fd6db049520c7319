"""Jobs, their attempts, epochs, checkpoints, events and evaluations."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from core.tables.base import Table


class JobRow(Table):
    """One job. The row is the truth; `revision` counts its changes and is the ETag."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_listing", "tenant_id", "created_at", "id"),
        Index("ix_jobs_of_state", "tenant_id", "state", "created_at", "id"),
        Index("ix_jobs_of_architecture", "tenant_id", "architecture", "created_at", "id"),
        Index("ix_jobs_of_dataset", "tenant_id", "dataset", "created_at", "id"),
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
    network: Mapped[dict[str, Any] | None]  # parameters, trainable_parameters, output_shape; None before they were kept
    dataset: Mapped[str]
    dataset_id: Mapped[str | None] = mapped_column(index=True)  # of datasets; None once that is deleted
    view: Mapped[str]
    architecture: Mapped[str]
    priority: Mapped[int]
    queue: Mapped[str | None]  # which workers may take it; None: any
    devices: Mapped[int]  # that it trains on at once
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


class JobTagRow(Table):
    """One tag of a job, which `tags` holds too: here to find jobs by it."""

    __tablename__ = "job_tags"
    __table_args__ = (
        Index("ix_job_tags_of_key", "tenant_id", "key", "created_at", "job_id"),
        Index("ix_job_tags_of_value", "tenant_id", "key", "value", "created_at", "job_id"),
    )

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str] = mapped_column(String(256))
    tenant_id: Mapped[str]
    created_at: Mapped[datetime]  # of the job


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
    phase: Mapped[int] = mapped_column(server_default="1")  # of the training, from 1
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


class IdempotencyKeyRow(Table):
    """The job or study that a keyed submit created, and a hash of the body that it came with."""

    __tablename__ = "idempotency_keys"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    body_sha256: Mapped[str]
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    study_id: Mapped[str | None] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"))
    answer: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(index=True)
