"""Studies: their variants, and the run of each variant with each seed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from core.tables.base import Table


class StudyRow(Table):
    """One study. Whichever worker looks first moves it on; the row's lock keeps others out meanwhile."""

    __tablename__ = "studies"
    __table_args__ = (
        Index("ix_studies_listing", "tenant_id", "created_at", "id"),
        Index("ix_studies_of_state", "state", "created_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    name: Mapped[str]
    state: Mapped[str]  # QUEUED RUNNING PAUSED SUCCEEDED FAILED CANCELLED
    detail: Mapped[str | None] = mapped_column(Text)
    spec: Mapped[dict[str, Any]]  # the normalised study spec
    objective: Mapped[dict[str, Any]]  # metric, direction
    dataset: Mapped[str]  # of its base, or what stands in for it
    stand_in: Mapped[bool]  # whether the budget's dataset is used instead of the base's
    request_id: Mapped[str | None]
    revision: Mapped[int]
    last_event: Mapped[int]
    progress: Mapped[dict[str, Any]]  # how many runs are in each state, as of the last look
    warnings: Mapped[list[dict[str, Any]]]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class StudyVariantRow(Table):
    """One point of the space. `number` counts from 1 within the study and never changes."""

    __tablename__ = "study_variants"

    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    name: Mapped[str] = mapped_column(Text)
    architecture: Mapped[str]
    body: Mapped[dict[str, Any]]  # what its jobs are submitted with, but for the seed
    spec: Mapped[dict[str, Any]]  # the same, normalised
    levels: Mapped[dict[str, Any]]  # what the space set, by JSON pointer into the job spec
    starts_from: Mapped[
        dict[str, Any] | None
    ]  # {"variant": number, "unless": "imagenet" or null, "lent": once decided}
    donor: Mapped[bool]  # trained only where another starts from it, and not compared
    search: Mapped[dict[str, Any] | None]  # what the sampler and the pruner remember of it
    detail: Mapped[str | None] = mapped_column(Text)  # why a search could not try it
    created_at: Mapped[datetime]


class StudyRunRow(Table):
    """One variant with one seed. Its state is its job's; without a job it waits, or `detail` says why it never runs."""

    __tablename__ = "study_runs"
    __table_args__ = (Index("ix_study_runs_job", "job_id"),)

    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True)
    variant: Mapped[int] = mapped_column(primary_key=True)
    seed: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    turn: Mapped[int]  # started in this order: every variant's first seed, then every second
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"))
    reused: Mapped[bool]  # the job had finished before
    paused: Mapped[bool]  # by a pause of the study: to be resumed with it
    detail: Mapped[str | None] = mapped_column(Text)  # why it is skipped
    told: Mapped[str | None]  # the end of its job that an event has told


class StudyEventRow(Table):
    """What happened to a study, in order. `sequence` counts from 1 within the study and never has a gap."""

    __tablename__ = "study_events"

    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    kind: Mapped[str]  # state, run
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
