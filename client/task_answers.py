"""What the server answers about batch predictions and exports, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from client.answers import TERMINAL_STATES, Answer, moment


@dataclass(frozen=True)
class TaskProgress(Answer):
    """`phase` is waiting, what the worker is at, or done; `done` counts images, or bytes while an archive is checked."""

    phase: str
    done: int = 0
    total: int | None = None
    eta_seconds: float | None = None
    images_per_second: float | None = None


@dataclass(frozen=True)
class Task(Answer):
    """Something that a worker does. `result` holds its figures once it has SUCCEEDED, `detail` says why it FAILED."""

    id: str
    state: str
    detail: str | None
    progress: TaskProgress
    model: str
    version: int
    format: str
    result: Mapping[str, Any] | None
    created_at: datetime
    finished_at: datetime | None
    etag: str

    @property
    def ended(self) -> bool:
        return self.state in TERMINAL_STATES

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        return super().parse(
            {
                **data,
                "progress": TaskProgress.parse(data["progress"]),
                "created_at": moment(data["created_at"]),
                "finished_at": moment(data["finished_at"]),
            }
        )


@dataclass(frozen=True)
class BatchPrediction(Task):
    """Predictions for all images of a stored dataset, or of an uploaded archive named `file`."""

    dataset: Mapping[str, Any] | None
    file: str | None
    top: int


@dataclass(frozen=True)
class Export(Task):
    """A model version on its way into another format."""
