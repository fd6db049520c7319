"""The tables. Each row carries its tenant; times are UTC; leases are seconds on the database's clock."""

from __future__ import annotations

from core.tables.base import LOCAL_TENANT, Table, UtcDateTime, utc_now
from core.tables.datasets import DatasetEventRow, DatasetRow, ViewRow
from core.tables.jobs import (
    AttemptRow,
    CheckpointRow,
    EpochRow,
    EvaluationRow,
    EventRow,
    IdempotencyKeyRow,
    JobRow,
    JobTagRow,
)
from core.tables.models import ArtifactRow, BestRow, ModelEventRow, ModelVersionRow, TrafficRow
from core.tables.studies import StudyEventRow, StudyRow, StudyRunRow, StudyVariantRow
from core.tables.tasks import TaskEventRow, TaskRow

__all__ = [
    "LOCAL_TENANT",
    "SCHEMA_REVISION",
    "ArtifactRow",
    "AttemptRow",
    "BestRow",
    "CheckpointRow",
    "DatasetEventRow",
    "DatasetRow",
    "EpochRow",
    "EvaluationRow",
    "EventRow",
    "IdempotencyKeyRow",
    "JobRow",
    "JobTagRow",
    "ModelEventRow",
    "ModelVersionRow",
    "StudyEventRow",
    "StudyRow",
    "StudyRunRow",
    "StudyVariantRow",
    "Table",
    "TaskEventRow",
    "TaskRow",
    "TrafficRow",
    "UtcDateTime",
    "ViewRow",
    "utc_now",
]

SCHEMA_REVISION = "0008"
"""The migration that these tables belong to; the service and workers wait until the database is there."""
