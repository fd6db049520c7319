"""A comparison as plain data: tables and pictures are made from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from core.errors import Fault, InvalidQuery
from core.repositories.comparisons import CURVES, curve_points, find_jobs, total_epochs
from service.comparisons.differences import differing_fields
from service.context import Context

MOST_JOBS = 1_000
MOST_POINTS = 20_000
"""of all curves together, about: some 2 MB of JSON"""
CURVE_POINTS = (20, 300)
"""of one curve, at least and at most: more are not told apart in a picture, and fewer show no course"""

METRICS = (
    "best_epoch",
    "epochs",
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "test_loss",
    "test_accuracy",
    "seconds",
    "images_per_second",
    "parameters",
    "trainable_parameters",
)
"""Losses and accuracies are the best epoch's, test figures those of the published weights, seconds those of all epochs."""

Metrics = dict[str, float | None]
Curve = dict[str, list[Any]]
"""columns of equal length: `epoch` and CURVES"""


@dataclass(frozen=True)
class ComparedJob:
    id: str
    state: str
    architecture: str
    view: str
    metrics: Metrics
    """by METRICS"""
    curve: Curve


@dataclass(frozen=True)
class Comparison:
    jobs: tuple[ComparedJob, ...]
    baseline: ComparedJob
    fields: Mapping[str, Mapping[str, Any]]
    """those that differ, by pointer: each job's value"""
    epochs: int
    """of all jobs"""
    stride: int
    """of the curves"""

    @property
    def points(self) -> int:
        return sum(len(job.curve["epoch"]) for job in self.jobs)

    def deltas(self, job: ComparedJob) -> Metrics:
        """Its metrics less the baseline's; None where one of the two is missing."""
        pairs = ((name, job.metrics[name], self.baseline.metrics[name]) for name in METRICS)
        return {name: None if own is None or base is None else own - base for name, own, base in pairs}


def compare_jobs(context: Context, tenant: str, given: Sequence[str], baseline: str | None) -> Comparison:
    """`given` holds ids, or several with commas between. Raises InvalidQuery with every fault."""
    ids = [job for text in given for each in text.split(",") if (job := each.strip())]
    faults = _faults(ids, baseline)
    if faults:
        raise InvalidQuery("the comparison has a fault", faults)
    with context.database.snapshot() as session:
        rows = find_jobs(session, tenant, ids)
        unknown = [job for job in ids if job not in rows]
        if unknown:
            faults = [Fault("/query/jobs", f"there is no job {job!r}", "job_not_found") for job in unknown]
            raise InvalidQuery(f"{len(unknown)} of the jobs cannot be found", faults)
        totals = total_epochs(session, tenant, ids)
        stride = _stride(totals, len(ids))
        points = curve_points(session, tenant, ids, stride)
    curves = _curves(rows, points)
    jobs = tuple(_compared(rows[job], totals.get(job), curves[job]) for job in ids)
    fields = differing_fields({job: rows[job].spec for job in ids})
    chosen = jobs[ids.index(baseline)] if baseline else jobs[0]
    return Comparison(jobs, chosen, fields, sum(total.epochs for total in totals.values()), stride)


def _faults(ids: Sequence[str], baseline: str | None) -> list[Fault]:
    faults = [Fault("/query/jobs", f"names {job!r} {count} times") for job, count in Counter(ids).items() if count > 1]
    if not ids:
        faults.append(Fault("/query/jobs", "names no job", "empty_list"))
    if len(ids) > MOST_JOBS:
        detail = f"names {len(ids):,} jobs; at most {MOST_JOBS:,} are compared at once"
        faults.append(Fault("/query/jobs", detail, "too_many_jobs"))
    if baseline is not None and baseline not in ids:
        faults.append(Fault("/query/baseline", f"{baseline!r} is not one of the jobs"))
    return faults


def _stride(totals: Mapping[str, Row[Any]], jobs: int) -> int:
    """One for all jobs, so that their epochs are the same."""
    least, most = CURVE_POINTS
    longest = max((total.last for total in totals.values()), default=1)
    return int(-(-longest // min(most, max(least, MOST_POINTS // jobs))))


def _curves(rows: Mapping[str, Row[Any]], points: Sequence[Row[Any]]) -> dict[str, Curve]:
    """The points with each job's best epoch among them."""
    tuples: dict[str, list[tuple[Any, ...]]] = {job: [] for job in rows}
    for point in points:
        tuples[point[0]].append(tuple(point[1:]))
    for job, row in rows.items():
        best, of_job = row.best_epoch, tuples[job]
        if best and of_job and all(point[0] != best["epoch"] for point in of_job):
            of_job.append((best["epoch"], *(best[name] for name in CURVES)))
            of_job.sort(key=lambda point: point[0])
    names = ("epoch", *CURVES)
    return {
        job: {name: [point[place] for point in of_job] for place, name in enumerate(names)}
        for job, of_job in tuples.items()
    }


def _compared(row: Row[Any], total: Row[Any] | None, curve: Curve) -> ComparedJob:
    best, evaluation, network = row.best_epoch or {}, row.evaluation or {}, row.network or {}
    metrics: Metrics = {
        "best_epoch": best.get("epoch"),
        "epochs": total.epochs if total else 0,
        "train_loss": best.get("loss"),
        "train_accuracy": best.get("accuracy"),
        "val_loss": best.get("val_loss"),
        "val_accuracy": best.get("val_accuracy"),
        "test_loss": evaluation.get("test_loss"),
        "test_accuracy": evaluation.get("test_accuracy"),
        "seconds": total.seconds if total else None,
        "images_per_second": total.images_per_second if total else None,
        "parameters": network.get("parameters"),
        "trainable_parameters": network.get("trainable_parameters"),
    }
    return ComparedJob(row.id, row.state, row.architecture, row.view, metrics, curve)
