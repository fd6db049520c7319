"""The request about any jobs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from client.answers import Answer
from client.connection import Connection
from client.study_answers import StudyObjective

COMPARE = "/api/v1/compare"
LONG_ANSWER_SECONDS = 120.0
"""Pictures are drawn when they are asked for, one after another."""


@dataclass(frozen=True)
class ComparedJob(Answer):
    """One job with its figures."""

    id: str
    state: str
    reason: str | None
    architecture: str
    view: str
    spec: Mapping[str, Any]
    """its values of the fields that differ, by JSON pointer; without those that it does not have"""
    metrics: Mapping[str, float | None]
    """of the best epoch, but for the test's; None where there is no such figure (yet)"""
    deltas: Mapping[str, float | None]
    """each metric less the baseline's; None where either is missing"""
    curves: Mapping[str, Sequence[Any]]
    """columns of equal length: epochs, loss, accuracy, val_loss, val_accuracy"""


@dataclass(frozen=True)
class Downsampled(Answer):
    """Curves have `points` of the finished `epochs` of all jobs."""

    epochs: int
    points: int
    method: str


@dataclass(frozen=True)
class Comparison:
    """Jobs side by side, in the order asked for."""

    baseline: str
    objective: StudyObjective
    """the baseline's"""
    fields: tuple[str, ...]
    """of the normalised job specs that are not the same in all, as JSON pointers"""
    jobs: tuple[ComparedJob, ...]
    downsampled: Downsampled | None
    """None where every epoch is there"""

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Comparison:
        downsampled = data["downsampled"]
        return cls(
            data["baseline"],
            StudyObjective.parse(data["objective"]),
            tuple(data["fields"]),
            tuple(ComparedJob.parse(job) for job in data["jobs"]),
            Downsampled.parse(downsampled) if downsampled else None,
        )


class ComparisonRequests:
    """The part of a Client that sets jobs side by side."""

    _connection: Connection

    def compare(self, jobs: Sequence[str], *, baseline: str | None = None) -> Comparison:
        """Up to 1,000 jobs: what differs in their specs, what they reached. `baseline` None is the first."""
        return Comparison.parse(self._connection.json("GET", COMPARE, params=_params(jobs, baseline, "json")))

    def comparison_file(
        self,
        jobs: Sequence[str],
        kind: Literal["csv", "curves_csv", "svg", "png"],
        *,
        baseline: str | None = None,
    ) -> bytes:
        """The same as a table with a line for each job, or for each epoch of a job, or as a picture of the curves."""
        answer = self._connection.request(
            "GET", COMPARE, params=_params(jobs, baseline, kind), answer_seconds=LONG_ANSWER_SECONDS
        )
        return answer.content


def _params(jobs: Sequence[str], baseline: str | None, kind: str) -> dict[str, Any]:
    return {"jobs": ",".join(jobs), "baseline": baseline, "format": kind}
