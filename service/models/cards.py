"""The card of a version: everything that is known of it, put together from its own row and its job's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from core.repositories.lineage import Lineage
from core.repositories.models import ServableVersion
from core.tables import ModelVersionRow
from service.models.schemas import VersionView, version_fields


class DataView(BaseModel):
    dataset: str
    view: str
    digest: str = Field(description="sha256 over labels and pixels of the dataset")


class ClassFiguresView(BaseModel):
    label: str
    precision: float
    recall: float
    f1: float
    support: int = Field(description="test images of the class")


class DonorView(BaseModel):
    """The version whose weights training started with."""

    job: str
    model: str
    version: int


class LineageView(BaseModel):
    job: str
    spec_hash: str
    attempts: int = Field(description="tries until it was published")
    donor: DonorView | None
    environment: dict[str, Any] | None = Field(description="versions, hardware, threads and precision of the training")
    started_at: datetime | None
    published_at: datetime


class SizesView(BaseModel):
    parameters: int | None = Field(description="null for versions published before it was recorded")
    onnx_bytes: int
    weights_bytes: int


class LatencyView(BaseModel):
    """Of ONNX Runtime on the processor of the machine that published, without HTTP."""

    batch_1_ms: float = Field(description="median milliseconds for one image")
    batch_32_ms: float | None = Field(description="for 32 images at once; null where that took too long to measure")
    threads: int


class CardView(BaseModel):
    spec: dict[str, Any] = Field(description="the normalised spec that it was trained with")
    data: DataView
    metrics: dict[str, Any] = Field(description="of the published epoch, and test_*")
    objective: dict[str, Any]
    labels: list[str]
    confusion_matrix: list[list[int]] = Field(description="test images; rows: truth, columns: predicted")
    per_class: list[ClassFiguresView]
    parity: dict[str, Any] = Field(description="of ONNX Runtime with Keras")
    lineage: LineageView
    sizes: SizesView
    latency: LatencyView | None = Field(description="null for versions published before it was measured")


class VersionDetailView(VersionView):
    card: CardView


def view_detail(servable: ServableVersion, lineage: Lineage) -> VersionDetailView:
    row, evaluation, card = servable.row, lineage.evaluation.data, servable.row.card
    return VersionDetailView(
        **version_fields(servable),
        card=CardView(
            spec=lineage.job.spec,
            data=DataView(dataset=lineage.job.dataset, view=row.view, digest=row.dataset_digest),
            metrics=row.metrics,
            objective=row.objective,
            labels=row.labels,
            confusion_matrix=evaluation["confusion_matrix"],
            per_class=[ClassFiguresView(**figures) for figures in evaluation["per_class"]],
            parity=row.parity,
            lineage=_view_lineage(row, lineage),
            sizes=SizesView(
                parameters=card.get("sizes", {}).get("parameters"),
                onnx_bytes=servable.artifact.bytes,
                weights_bytes=lineage.weights.bytes,
            ),
            latency=LatencyView(**card["latency"]) if card.get("latency") else None,
        ),
    )


def _view_lineage(row: ModelVersionRow, lineage: Lineage) -> LineageView:
    lender = lineage.lender
    return LineageView(
        job=row.job_id,
        spec_hash=lineage.job.spec_hash,
        attempts=lineage.attempt.number,
        donor=None if lender is None else DonorView(job=lender.job_id, model=lender.name, version=lender.version),
        environment=lineage.attempt.environment,
        started_at=lineage.job.started_at,
        published_at=row.created_at,
    )
