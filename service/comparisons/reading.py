"""Jobs side by side, read from the database: three queries, however many they are; two without curves."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from core.objective import objective_of
from core.repositories.comparisons import EpochTotals, find_compared, read_curves, sum_epochs
from service.comparisons.comparison import ComparedJob, Comparison, Figures
from service.comparisons.fields import differences
from service.comparisons.sampling import curves_of, describe, sampling_of
from service.comparisons.selection import Selection
from service.context import Context
from service.jobs.reached import reached


def compare(context: Context, tenant: str, selection: Selection, *, curves: bool = True) -> Comparison:
    """With curves, or empty ones. Raises InvalidQuery with every fault of the selection."""
    with context.database.snapshot() as session:
        found = find_compared(session, tenant, selection.ids)
        selection.check(found)
        totals = sum_epochs(session, tenant, selection.ids)
        sampling = sampling_of(len(selection.ids))
        points = read_curves(session, tenant, selection.ids, sampling) if curves else {}
    rows = [found[job] for job in selection.ids]
    fields, specs = differences([row.spec for row in rows])
    figures = {row.id: _figures(row, totals.get(row.id)) for row in rows}
    baseline = figures[selection.baseline]
    jobs = tuple(
        ComparedJob(
            id=row.id,
            state=row.state,
            reason=row.reason,
            architecture=row.architecture,
            view=row.view,
            spec=spec,
            metrics=figures[row.id],
            deltas=figures[row.id].minus(baseline),
            curves=curves_of(points.get(row.id, ()), row.best_epoch),
        )
        for row, spec in zip(rows, specs, strict=True)
    )
    told = sum(len(job.curves.epochs) for job in jobs)
    downsampled = describe(totals.values(), sampling, told)
    objective = objective_of(found[selection.baseline].spec["objective"])
    return Comparison(selection.baseline, objective, fields, jobs, downsampled)


def _figures(job: Row[Any], totals: EpochTotals | None) -> Figures:
    network = job.network or {}
    return Figures(
        epochs=totals.epochs if totals else 0,
        **reached(job.best_epoch, job.evaluation),
        seconds=totals.seconds if totals else None,
        images_per_second=totals.images_per_second if totals else None,
        parameters=network.get("parameters"),
        trainable_parameters=network.get("trainable_parameters"),
    )
