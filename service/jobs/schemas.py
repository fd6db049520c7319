"""What jobs look like on the wire."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from core.schema import Schema
from core.states import Reason, State
from core.tables import JobRow
from core.validation import CheckedSpec
from service.jobs.estimates import Estimate


class ProgressView(BaseModel):
    epoch: int = Field(description="the epoch under way, from 1; 0 before the first")
    epochs: int
    step: int
    steps: int = Field(description="steps of an epoch")
    eta_seconds: float | None


class EpochView(BaseModel):
    epoch: int
    loss: float | None
    accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None
    learning_rate: float = Field(description="of the epoch's first step")
    seconds: float
    images_per_second: float
    phase: int = Field(1, description="part of the training that the epoch belongs to, from 1")


class ModelReference(BaseModel):
    name: str
    version: int


class EvaluationSummary(BaseModel):
    test_loss: float | None
    test_accuracy: float


class NetworkView(BaseModel):
    parameters: int
    trainable_parameters: int = Field(description="that the optimizer changes, in the first phase")
    output_shape: list[int]


class JobView(BaseModel):
    id: str
    state: State
    reason: Reason | None
    detail: str | None
    spec: dict[str, Any] = Field(description="the normalised job spec")
    spec_hash: str
    network: NetworkView | None = Field(description="null for jobs from before it was kept")
    attempt: int
    progress: ProgressView
    best_epoch: EpochView | None
    evaluation: EvaluationSummary | None
    model: ModelReference | None
    warnings: list[dict[str, Any]]
    queue_position: int | None
    tags: dict[str, str]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    etag: str

    @property
    def ended(self) -> bool:
        return self.state.terminal


class JobPage(BaseModel):
    items: list[JobView]
    next_page_token: str | None


class EpochList(BaseModel):
    items: list[EpochView]


class PhaseView(BaseModel):
    first_epoch: int
    epochs: int
    learning_rate: float
    trainable_parameters: int


class EstimateView(BaseModel):
    memory_bytes: int = Field(description="of the trainer at its peak")
    epoch_seconds: float = Field(description="of an epoch of the first phase, validation included")
    based_on: str = Field(description="calibration, or the earlier job whose epochs were taken")


class DatasetView(BaseModel):
    train: int
    validation: int
    test: int
    classes: list[str]


class ValidationView(BaseModel):
    """The answer to `?validate_only=true`."""

    spec: dict[str, Any]
    spec_hash: str
    network: NetworkView
    phases: list[PhaseView]
    estimate: EstimateView
    dataset: DatasetView
    warnings: list[dict[str, Any]]


class CancelRequest(Schema):
    keep_best: bool = False
    """publish the best epoch so far before the job ends"""


class RetryRequest(Schema):
    from_: Annotated[Literal["checkpoint", "scratch"], Field(alias="from")] = "checkpoint"
    """where training goes on: after the last finished epoch, or at the first"""


JobOrder = Literal["created_at", "-created_at"]


def etag_of(row: JobRow, position: int | None) -> str:
    """Changes whenever the job's view does, its place in the queue included."""
    return f'"{row.revision}"' if position is None else f'"{row.revision}.{position}"'


def view_job(row: JobRow, position: int | None) -> JobView:
    model = None
    if row.model_name is not None and row.model_version is not None:
        model = ModelReference(name=row.model_name, version=row.model_version)
    return JobView(
        id=row.id,
        state=State(row.state),
        reason=Reason(row.reason) if row.reason else None,
        detail=row.detail,
        spec=row.spec,
        spec_hash=row.spec_hash,
        network=NetworkView(**row.network) if row.network else None,
        attempt=row.attempt,
        progress=ProgressView(**row.progress),
        best_epoch=EpochView(**row.best_epoch) if row.best_epoch else None,
        evaluation=EvaluationSummary(**row.evaluation) if row.evaluation else None,
        model=model,
        warnings=row.warnings,
        queue_position=position,
        tags=row.tags,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        etag=etag_of(row, position),
    )


def view_validation(checked: CheckedSpec, cost: Estimate, warnings: list[dict[str, Any]]) -> ValidationView:
    counts = checked.counts
    return ValidationView(
        spec=checked.document,
        spec_hash=checked.spec_hash,
        network=NetworkView(**checked.network_in(0).size),
        phases=_view_phases(checked),
        estimate=EstimateView(**asdict(cost)),
        dataset=DatasetView(
            train=counts.train, validation=counts.validation, test=counts.test, classes=list(checked.labels)
        ),
        warnings=[*checked.warnings, *warnings],
    )


def _view_phases(checked: CheckedSpec) -> list[PhaseView]:
    views: list[PhaseView] = []
    for number, phase in enumerate(checked.spec.planned_phases):
        views.append(
            PhaseView(
                first_epoch=1 + sum(view.epochs for view in views),
                epochs=phase.epochs,
                learning_rate=phase.learning_rate or checked.spec.optimizer.learning_rate,
                trainable_parameters=checked.network_in(number).trainable_parameters,
            )
        )
    return views
