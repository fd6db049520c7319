"""What the server answers about studies, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Self

from client.answers import TERMINAL_STATES, Answer, Epoch, Progress, maybe, moment


@dataclass(frozen=True)
class StudyObjective(Answer):
    """What its runs are compared by, on validation data."""

    metric: str
    direction: Literal["max", "min"]


@dataclass(frozen=True)
class StudyProgress(Answer):
    """How many runs (a variant with one seed each) stand where, and how many of their epochs are finished."""

    runs: int
    waiting: int
    queued: int
    running: int
    paused: int
    succeeded: int
    pruned: int
    failed: int
    cancelled: int
    skipped: int
    reused: int
    epochs: int
    epochs_planned: int
    eta_seconds: float | None = None

    @property
    def finished(self) -> int:
        """Runs that will not go on, for whatever reason."""
        return self.succeeded + self.pruned + self.failed + self.cancelled + self.skipped


@dataclass(frozen=True)
class StudyWarning(Answer):
    """A warning that stands on a study."""

    code: str
    detail: str


@dataclass(frozen=True)
class Study(Answer):
    id: str
    name: str
    question: str | None
    state: str
    detail: str | None
    spec: Mapping[str, Any]
    objective: StudyObjective
    dataset: str
    stand_in: bool
    seeds: tuple[int, ...]
    progress: StudyProgress
    warnings: tuple[StudyWarning, ...]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    etag: str

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        return super().parse(
            {
                **data,
                "objective": StudyObjective.parse(data["objective"]),
                "seeds": tuple(data["seeds"]),
                "progress": StudyProgress.parse(data["progress"]),
                "warnings": _warnings(data),
                "created_at": moment(data["created_at"]),
                "started_at": moment(data["started_at"]),
                "finished_at": moment(data["finished_at"]),
            }
        )

    @property
    def ended(self) -> bool:
        return self.state in TERMINAL_STATES


@dataclass(frozen=True)
class StudyRun(Answer):
    """One variant (its number and name) with one seed. The state is its job's; WAITING or SKIPPED where it has none."""

    variant: int
    name: str
    architecture: str
    seed: int
    job: str | None
    state: str
    reason: str | None
    detail: str | None
    reused: bool
    progress: Progress | None
    best_epoch: Epoch | None

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        return super().parse(
            {
                **data,
                "progress": maybe(Progress, data["progress"]),
                "best_epoch": maybe(Epoch, data["best_epoch"]),
            }
        )


@dataclass(frozen=True)
class StudyVariant(Answer):
    """What a study would train: `sets` by JSON pointer into the job spec."""

    name: str
    architecture: str
    sets: Mapping[str, Any]
    parameters: int
    epochs: int
    epoch_seconds: float
    """estimated, of one job alone"""


@dataclass(frozen=True)
class StudyValidation(Answer):
    """What a study spec would train, and about how long that would take if run by run."""

    spec: Mapping[str, Any]
    objective: StudyObjective
    dataset: str
    stand_in: bool
    seeds: tuple[int, ...]
    runs: int
    epochs: int
    seconds: float
    variants: tuple[StudyVariant, ...]
    warnings: tuple[StudyWarning, ...]

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        return super().parse(
            {
                **data,
                "objective": StudyObjective.parse(data["objective"]),
                "seeds": tuple(data["seeds"]),
                "variants": tuple(StudyVariant.parse(entry) for entry in data["variants"]),
                "warnings": _warnings(data),
            }
        )


def _warnings(data: Mapping[str, Any]) -> tuple[StudyWarning, ...]:
    return tuple(StudyWarning.parse(entry) for entry in data["warnings"])
