"""What a comparison looks like on the wire."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from core.states import State

ComparisonFormat = Literal["json", "csv", "svg", "png"]


class FieldView(BaseModel):
    pointer: str = Field(description="into the normalised job spec")
    values: dict[str, Any] = Field(description="by job; one whose spec has no such field is left out")


class ComparedJobView(BaseModel):
    id: str
    state: State
    architecture: str
    view: str
    metrics: dict[str, float | None]
    deltas: dict[str, float | None] = Field(description="its metric less the baseline's; null where one is missing")


class CurveView(BaseModel):
    """Columns of equal length. Epochs are the same in all curves but for each job's best and last."""

    job: str
    epoch: list[int]
    loss: list[float | None]
    accuracy: list[float | None]
    val_loss: list[float | None]
    val_accuracy: list[float | None]


class DownsampledView(BaseModel):
    from_: int = Field(alias="from", description="epochs of all jobs together")
    to: int = Field(description="points of all curves together")
    stride: int
    how: str


class ComparisonView(BaseModel):
    baseline: str
    jobs: list[ComparedJobView] = Field(description="in the order asked for")
    fields: list[FieldView] = Field(description="of the specs, only those that differ")
    curves: list[CurveView] = Field(description="in the order of the jobs; without epochs where there is none yet")
    downsampled: DownsampledView | None = Field(description="null where every epoch is there")
