"""A comparison as JSON and as CSV."""

from __future__ import annotations

import csv
import io
from typing import Any

import orjson

from service.comparisons.reading import METRICS, Comparison


def as_json(comparison: Comparison) -> bytes:
    """As ComparisonView describes it; through Pydantic a thousand jobs would take several times as long."""
    return orjson.dumps(
        {
            "baseline": comparison.baseline.id,
            "jobs": [
                {
                    "id": job.id,
                    "state": job.state,
                    "architecture": job.architecture,
                    "view": job.view,
                    "metrics": job.metrics,
                    "deltas": comparison.deltas(job),
                }
                for job in comparison.jobs
            ],
            "fields": [{"pointer": pointer, "values": values} for pointer, values in comparison.fields.items()],
            "curves": [{"job": job.id, **job.curve} for job in comparison.jobs],
            "downsampled": _downsampled(comparison),
        }
    )


def as_csv(comparison: Comparison) -> str:
    """A line for each job: the fields that differ, its metrics and their deltas. What is missing is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    deltas = [f"delta_{name}" for name in METRICS]
    writer.writerow(["job", "state", "architecture", "view", *comparison.fields, *METRICS, *deltas])
    for job in comparison.jobs:
        own = [_cell(values[job.id]) if job.id in values else "" for values in comparison.fields.values()]
        figures = [*job.metrics.values(), *comparison.deltas(job).values()]
        writer.writerow([job.id, job.state, job.architecture, job.view, *own, *figures])
    return text.getvalue()


def _cell(value: Any) -> str:
    """A text as it is, anything else as JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _downsampled(comparison: Comparison) -> dict[str, Any] | None:
    if comparison.points == comparison.epochs:
        return None
    how = f"every {comparison.stride}th epoch from the first, with each job's best and last"
    return {"from": comparison.epochs, "to": comparison.points, "stride": comparison.stride, "how": how}
