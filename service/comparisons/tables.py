"""A comparison as CSV: a line a job, or a line an epoch of a job."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import astuple
from typing import Any

import orjson

from core.repositories.comparisons import CURVES
from service.comparisons.comparison import FIGURES, Comparison


def jobs_csv(comparison: Comparison) -> str:
    """Fields that differ, figures, and each figure's difference to the baseline's. What a job does not have is empty."""
    header = ("job", "state", "architecture", "view", *comparison.fields, *FIGURES, *(f"delta_{n}" for n in FIGURES))
    return _written(
        header,
        (
            [
                job.id,
                job.state,
                job.architecture,
                job.view,
                *(_cell(job.spec[field]) if field in job.spec else "" for field in comparison.fields),
                *astuple(job.metrics),
                *job.deltas.values(),
            ]
            for job in comparison.jobs
        ),
    )


def curves_csv(comparison: Comparison) -> str:
    """The epochs that are told: all, unless they are thinned out."""
    return _written(
        ("job", "epoch", *CURVES),
        (
            [job.id, *values]
            for job in comparison.jobs
            for values in zip(job.curves.epochs, *(getattr(job.curves, name) for name in CURVES), strict=True)
        ),
    )


def _written(header: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    return text.getvalue()


def _cell(value: Any) -> str:
    """As JSON, so that null is told apart from a field that is not there; a text as it is."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
