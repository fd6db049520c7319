"""What the server answers, as frozen values. Fields that this version does not know are left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Self, TypeVar

A = TypeVar("A", bound="Answer")
TERMINAL_STATES = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})


@dataclass(frozen=True)
class Answer:
    """A value with one field for each JSON member of the same name."""

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        """From parsed JSON. Raises TypeError when a required member is missing."""
        return cls(**{field.name: data[field.name] for field in fields(cls) if field.name in data})


@dataclass(frozen=True)
class Progress(Answer):
    """`epoch` counts from 1 and is 0 before the first; `steps` are those of an epoch."""

    epoch: int
    epochs: int
    step: int
    steps: int
    eta_seconds: float | None = None


@dataclass(frozen=True)
class Epoch(Answer):
    """One finished epoch. A metric that was not finite is None."""

    epoch: int
    loss: float | None
    accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None
    learning_rate: float
    seconds: float
    images_per_second: float


@dataclass(frozen=True)
class EvaluationSummary(Answer):
    test_loss: float | None
    test_accuracy: float


@dataclass(frozen=True)
class ModelReference(Answer):
    name: str
    version: int

    @property
    def view(self) -> str:
        """The view's part of `<view>.<architecture>`, as `predict` takes it for its dataset."""
        return self.name.rpartition(".")[0]


@dataclass(frozen=True)
class JobWarning(Answer):
    """A warning that stands on a job."""

    code: str
    detail: str


@dataclass(frozen=True)
class Job(Answer):
    id: str
    state: str
    reason: str | None
    detail: str | None
    spec: Mapping[str, Any]
    spec_hash: str
    attempt: int
    progress: Progress
    best_epoch: Epoch | None
    evaluation: EvaluationSummary | None
    model: ModelReference | None
    warnings: tuple[JobWarning, ...]
    queue_position: int | None
    tags: Mapping[str, str]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    etag: str
    network: Mapping[str, Any] | None = None
    """parameters, trainable_parameters, output_shape"""

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        return super().parse(
            {
                **data,
                "progress": Progress.parse(data["progress"]),
                "best_epoch": maybe(Epoch, data["best_epoch"]),
                "evaluation": maybe(EvaluationSummary, data["evaluation"]),
                "model": maybe(ModelReference, data["model"]),
                "warnings": tuple(JobWarning.parse(entry) for entry in data["warnings"]),
                "created_at": moment(data["created_at"]),
                "started_at": moment(data["started_at"]),
                "finished_at": moment(data["finished_at"]),
            }
        )

    @property
    def ended(self) -> bool:
        return self.state in TERMINAL_STATES


@dataclass(frozen=True)
class Validation(Answer):
    """What a job spec would train: the normalised spec, the network's and the dataset's figures."""

    spec: Mapping[str, Any]
    spec_hash: str
    network: Mapping[str, Any]
    dataset: Mapping[str, Any]
    warnings: tuple[JobWarning, ...]

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        return super().parse({**data, "warnings": tuple(JobWarning.parse(entry) for entry in data["warnings"])})


@dataclass(frozen=True)
class Evaluation:
    """Test metrics of the published weights; `data` is the whole answer, with the confusion matrix."""

    test_loss: float | None
    test_accuracy: float
    data: Mapping[str, Any]

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        return cls(data["test_loss"], data["test_accuracy"], data)


@dataclass(frozen=True)
class Event:
    """Something that happened to a job (`kind` is state, progress, epoch, log or warning) or a dataset (state, progress).

    `id` is where to go on from (`events(job, last_event_id=event.id)`); None before the first numbered event.
    """

    id: str | None
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Score(Answer):
    label: str
    probability: float


@dataclass(frozen=True)
class Prediction(Answer):
    """The likeliest label, and the `top` ones with it first."""

    label: str
    probability: float
    top: tuple[Score, ...]

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        return super().parse({**data, "top": tuple(Score.parse(entry) for entry in data.get("top", ()))})


@dataclass(frozen=True)
class Predictions(Answer):
    """One prediction for each image sent, all from the same model version."""

    model: ModelReference
    job: str
    predictions: tuple[Prediction, ...]

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        return cls(
            ModelReference.parse(data["model"]),
            data["model"]["job"],
            tuple(Prediction.parse(entry) for entry in data["predictions"]),
        )


@dataclass(frozen=True)
class Explanation(Answer):
    """How much each pixel of an image speaks for a label: `heat` is height x width and sums to 1, or is all 0."""

    model: ModelReference
    label: str
    probability: float
    method: str
    height: int
    width: int
    heat: tuple[tuple[float, ...], ...]

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        heat = tuple(tuple(row) for row in data["heat"])
        return super().parse({**data, "model": ModelReference.parse(data["model"]), "heat": heat})


@dataclass(frozen=True)
class ModelVersion(Answer):
    """A published version of a model."""

    name: str
    version: int
    job: str
    architecture: str
    view: str
    labels: tuple[str, ...]
    metrics: Mapping[str, float | None]
    created_at: datetime

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        return super().parse({**data, "labels": tuple(data["labels"]), "created_at": moment(data["created_at"])})


def maybe(kind: type[A], data: Mapping[str, Any] | None) -> A | None:
    """A member that may be null."""
    return None if data is None else kind.parse(data)


def moment(text: str | None) -> datetime | None:
    """A time of the API, which is in UTC."""
    return None if text is None else datetime.fromisoformat(text)
