"""What a comparison looks like on the wire."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

Format = Literal["json", "csv", "curves_csv", "svg", "png"]


class ObjectiveView(BaseModel):
    metric: str
    direction: str


class FiguresView(BaseModel):
    epochs: int = Field(description="finished")
    best_epoch: int | None = Field(
        description="by the job's objective; the accuracies and losses but the test's are of it"
    )
    train_accuracy: float | None
    train_loss: float | None
    val_accuracy: float | None
    val_loss: float | None
    test_accuracy: float | None
    test_loss: float | None
    seconds: float | None = Field(description="of all epochs, training and validation")
    images_per_second: float | None = Field(description="in training, all epochs together")
    parameters: int | None
    trainable_parameters: int | None


class CurvesView(BaseModel):
    epochs: list[int]
    loss: list[float | None]
    accuracy: list[float | None]
    val_loss: list[float | None]
    val_accuracy: list[float | None]


class ComparedJobView(BaseModel):
    id: str
    state: str
    reason: str | None
    architecture: str
    view: str
    spec: dict[str, Any] = Field(
        description="its values of the fields that differ; without those that it does not have"
    )
    metrics: FiguresView
    deltas: dict[str, float | None] = Field(description="to the baseline's metrics; null where either is missing")
    curves: CurvesView


class DownsamplingView(BaseModel):
    epochs: int = Field(description="finished, of all jobs")
    points: int = Field(description="of these that the curves have")
    method: str


class ComparisonView(BaseModel):
    baseline: str
    objective: ObjectiveView = Field(description="of the baseline")
    fields: list[str] = Field(description="of the normalised job specs that are not the same in all, as JSON pointers")
    jobs: list[ComparedJobView]
    downsampled: DownsamplingView | None = Field(description="null: the curves have every epoch")
