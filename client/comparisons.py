"""The request about any jobs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from client.answers import Answer
from client.connection import Connection

COMPARE = "/api/v1/compare"
LONG_ANSWER_SECONDS = 120.0
"""Pictures are drawn when they are asked for, one after another."""


@dataclass(frozen=True)
class ComparedJob(Answer):
    """One job with its figures; a delta is its metric less the baseline's, None where one is missing."""

    id: str
    state: str
    architecture: str
    view: str
    metrics: Mapping[str, float | None]
    deltas: Mapping[str, float | None]


@dataclass(frozen=True)
class Comparison:
    """Jobs side by side, in the order asked for."""

    baseline: str
    jobs: tuple[ComparedJob, ...]
    fields: Mapping[str, Mapping[str, Any]]
    """of the specs, those that differ: by JSON pointer, each job's value; a job without the field is left out"""
    curves: Mapping[str, Mapping[str, Sequence[Any]]]
    """by job, columns of equal length: epoch, loss, accuracy, val_loss, val_accuracy"""
    downsampled: Mapping[str, Any] | None
    """from how many epochs to how many, and how; None where every epoch is there"""

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Comparison:
        return cls(
            data["baseline"],
            tuple(ComparedJob.parse(job) for job in data["jobs"]),
            {field["pointer"]: field["values"] for field in data["fields"]},
            {
                curve["job"]: {name: column for name, column in curve.items() if name != "job"}
                for curve in data["curves"]
            },
            data["downsampled"],
        )


class ComparisonRequests:
    """The part of a Client that sets jobs side by side."""

    _connection: Connection

    def compare(self, jobs: Sequence[str], *, baseline: str | None = None) -> Comparison:
        """Up to 1,000 jobs: what differs in their specs, what they reached. `baseline` None is the first."""
        return Comparison.parse(self._connection.json("GET", COMPARE, params=_params(jobs, baseline, "json")))

    def comparison_file(
        self, jobs: Sequence[str], kind: Literal["csv", "svg", "png"], *, baseline: str | None = None
    ) -> bytes:
        """The same as a table with a line for each job, or as a picture of the curves."""
        answer = self._connection.request(
            "GET", COMPARE, params=_params(jobs, baseline, kind), answer_seconds=LONG_ANSWER_SECONDS
        )
        return answer.content


def _params(jobs: Sequence[str], baseline: str | None, kind: str) -> dict[str, Any]:
    return {"jobs": ",".join(jobs), "baseline": baseline, "format": kind}
