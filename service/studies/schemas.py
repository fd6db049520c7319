"""What studies look like on the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from core.jobspec import Seed
from core.schema import Schema
from core.states import RunState, State, StudyState
from core.studyspec import MOST_SEEDS, MOST_VARIANTS, FieldPath, StudySpec, Values, Variant
from core.tables import StudyRow

StudyOrder = Literal["created_at", "-created_at"]


class ObjectiveView(BaseModel):
    metric: str
    direction: Literal["max", "min"]


class StudyProgressView(BaseModel):
    runs: int = Field(description="a run is one variant with one seed")
    waiting: int
    queued: int
    running: int
    paused: int
    succeeded: int
    pruned: int
    failed: int
    cancelled: int
    skipped: int = Field(description="never trained: their donor failed, or their spec is refused by now")
    reused: int = Field(description="of these, how many are jobs that had finished before")
    epochs: int = Field(description="finished, of all runs; those of reused jobs count")
    epochs_planned: int
    eta_seconds: float | None


class StudyView(BaseModel):
    id: str
    name: str
    question: str | None
    state: StudyState
    detail: str | None
    spec: dict[str, Any] = Field(description="the normalised study spec")
    objective: ObjectiveView
    dataset: str
    stand_in: bool = Field(description="whether the budget's dataset is used instead of the base's")
    seeds: list[int]
    progress: StudyProgressView
    warnings: list[dict[str, Any]]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    etag: str

    @property
    def ended(self) -> bool:
        return self.state.terminal


class StudyPage(BaseModel):
    items: list[StudyView]
    next_page_token: str | None


class RunView(BaseModel):
    variant: int
    name: str
    architecture: str
    seed: int
    job: str | None
    state: State | RunState
    reason: str | None
    detail: str | None
    reused: bool
    progress: dict[str, Any] | None = Field(description="the job's")
    best_epoch: dict[str, Any] | None


class RunPage(BaseModel):
    items: list[RunView]
    next_page_token: str | None


class VariantSummary(BaseModel):
    name: str
    architecture: str
    sets: dict[str, Any]
    parameters: int
    epochs: int
    epoch_seconds: float = Field(description="estimated, of one job alone on this machine's processors")


class StudyValidationView(BaseModel):
    """The answer to `?validate_only=true`."""

    spec: dict[str, Any]
    objective: ObjectiveView
    dataset: str
    stand_in: bool
    seeds: list[int]
    runs: int
    epochs: int = Field(description="of all runs together")
    seconds: float = Field(description="estimated, of all runs one after another")
    variants: list[VariantSummary] = Field(description="of a search: the corners of its space")
    warnings: list[dict[str, Any]]


class ExtendRequest(Schema):
    """What a study is to try beyond what it has; what is left out stays."""

    seeds: (
        Annotated[int, Field(ge=1, le=MOST_SEEDS)]
        | Annotated[list[Seed], Field(min_length=1, max_length=MOST_SEEDS)]
        | None
    ) = None
    """how many there are to be in all, or more of them"""
    space: dict[FieldPath, Values] | None = None
    """more values of fields that the space has"""
    variants: list[Variant] | None = None
    """more of an explicit list"""
    trials: Annotated[int, Field(ge=1, le=MOST_VARIANTS)] | None = None
    """how many a search is to try in all"""


def seconds_left(progress: dict[str, Any], started_at: datetime | None, state: StudyState) -> float | None:
    """By the pace of the epochs so far; None while nothing is known, or nothing runs."""
    done: int = progress["epochs"] - progress["epochs_reused"]
    if state is not StudyState.RUNNING or started_at is None or done <= 0:
        return None
    elapsed = (datetime.now(UTC) - started_at).total_seconds()
    left: int = max(0, progress["epochs_planned"] - progress["epochs"])
    return round(left * elapsed / done, 1)


def view_study(row: StudyRow) -> StudyView:
    spec, state = StudySpec.model_validate(row.spec), StudyState(row.state)
    shown = {name: row.progress[name] for name in StudyProgressView.model_fields if name in row.progress}
    left = seconds_left(row.progress, row.started_at, state)
    return StudyView(
        id=row.id,
        name=row.name,
        question=spec.question,
        state=state,
        detail=row.detail,
        spec=row.spec,
        objective=ObjectiveView(**row.objective),
        dataset=row.dataset,
        stand_in=row.stand_in,
        seeds=spec.all_seeds,
        progress=StudyProgressView(**shown, eta_seconds=left),
        warnings=row.warnings,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        etag=f'"{row.revision}"',
    )
