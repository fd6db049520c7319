"""Datasets, their events, and names of views."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from core.tables.base import Table


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
