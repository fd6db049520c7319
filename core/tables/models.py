"""Artifacts, published versions, and which of them serve."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from core.tables.base import BigKey, Table


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
    card: Mapped[dict[str, Any]]  # what was measured at publishing: sizes, latency, statistics of the training images
    created_at: Mapped[datetime]


class BestRow(Table):
    """The version that predictions use, for each (view, architecture), and the rules by which it is replaced."""

    __tablename__ = "best_versions"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int]
    pinned: Mapped[bool]
    margin: Mapped[float]  # by how much a new version must beat the served one
    revision: Mapped[int]  # counts changes, for ETags
    last_event: Mapped[int]
    updated_at: Mapped[datetime]


class ModelEventRow(Table):
    """What happened to a model's best version, and why. `sequence` counts from 1 within the model."""

    __tablename__ = "model_events"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class TrafficRow(Table):
    """What one API process has seen of the requests to one version lately; written every few seconds."""

    __tablename__ = "traffic"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    process: Mapped[str] = mapped_column(primary_key=True)
    data: Mapped[dict[str, Any]]
    updated_at: Mapped[datetime]
