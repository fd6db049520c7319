"""The learning curves of a study's variants, each over its seeds, as plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from sqlalchemy.orm import Session

from core.repositories.study_curves import EpochSummary, Spread, summarise_epochs
from service.studies.answers import ResultRow, Results

MOST_POINTS = 300
"""of a curve: more would not be told apart in a picture"""

MOST_SHOWN = 8
"""variants of one architecture in a picture"""


@dataclass(frozen=True)
class CurvePoint:
    """One epoch of a variant."""

    epoch: int
    """from 1"""
    seeds: int
    """whose jobs have finished the epoch: what the spreads are over"""
    spreads: dict[str, Spread]
    """mean, least and largest of accuracy, loss, val_accuracy and val_loss"""
    learning_rate: float
    seconds: float
    """from the first epoch's begin, the epochs' means added up"""


@dataclass(frozen=True)
class VariantCurves:
    """A variant's history. A long one is thinned to every n-th epoch and the last."""

    number: int
    name: str
    architecture: str
    points: tuple[CurvePoint, ...]

    def means(self, metric: str) -> list[float | None]:
        return [point.spreads[metric].mean for point in self.points]


def load_curves(session: Session, tenant: str, study_id: str, rows: Sequence[ResultRow]) -> tuple[VariantCurves, ...]:
    """Of those variants, in their order; one without a finished epoch has no points."""
    summaries = summarise_epochs(session, tenant, study_id, [row.number for row in rows])
    points = {number: thinned(_points(of_one)) for number, of_one in groupby(summaries, lambda one: one.variant)}
    return tuple(VariantCurves(row.number, row.name, row.architecture, points.get(row.number, ())) for row in rows)


def _points(summaries: Iterable[EpochSummary]) -> Iterator[CurvePoint]:
    seconds = 0.0
    for summary in summaries:
        seconds += summary.seconds
        yield CurvePoint(summary.epoch, summary.seeds, summary.spreads, summary.learning_rate, seconds)


def thinned(points: Iterable[CurvePoint]) -> tuple[CurvePoint, ...]:
    """At most MOST_POINTS and the last, evenly."""
    kept: list[CurvePoint] = []
    last, step = None, 1
    for index, point in enumerate(points):
        last = point
        if index % step == 0:
            kept.append(point)
        if len(kept) > MOST_POINTS:
            kept, step = kept[::2], step * 2
    return tuple(kept if last is None or kept[-1] is last else [*kept, last])


def shown_rows(results: Results) -> tuple[ResultRow, ...]:
    """Of the variants whose curves are drawn: the MOST_SHOWN best of each architecture, in the order of their numbers."""
    places: Counter[str] = Counter()
    shown = []
    for row in results.rows:
        places[row.architecture] += 1
        if places[row.architecture] <= MOST_SHOWN:
            shown.append(row)
    return tuple(sorted(shown, key=lambda row: row.number))
