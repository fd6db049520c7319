"""The curves of compared jobs as one picture: training solid, validation dashed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from core.objective import Direction
from service.comparisons.comparison import Column, ComparedJob, Comparison
from service.comparisons.labels import label_of, telling
from service.drawing import PictureKind, dress, encode, new_figure
from service.palette import GREY, run_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_COLOURED = 20
"""jobs; of more only the best stand out"""

BEST_SHOWN = 6
MARKERS_OF_A_LINE = 8
LINES: dict[str, Any] = {"training": "-", "validation": "--"}

LOGARITHMIC_FROM = 20
"""A loss that far above the middle one would press the others flat."""


def draw_comparison(comparison: Comparison, kind: PictureKind) -> bytes:
    """Up to MOST_COLOURED jobs each have the colour of their number; of more, the best have colours and all others are grey."""
    many = len(comparison.jobs) > MOST_COLOURED
    chosen = _best(comparison) if many else [(number, job) for number, job in enumerate(comparison.jobs, 1)]
    with new_figure(13, 8 if many else max(4.5, 1.5 + 0.3 * len(chosen))) as figure:
        if many:
            _draw_many(figure, comparison, chosen)
        else:
            _draw_few(figure, chosen)
        _explain(figure, comparison, chosen, many=many)
        return encode(figure, kind)


def _best(comparison: Comparison) -> list[tuple[int, ComparedJob]]:
    """The best by the baseline's objective, with their numbers; of equals the first."""
    metric, direction = comparison.objective.metric, comparison.objective.direction
    sign = -1 if direction is Direction.MAX else 1
    known = [each for each in enumerate(comparison.jobs, 1) if getattr(each[1].metrics, metric) is not None]
    return sorted(known, key=lambda each: sign * getattr(each[1].metrics, metric))[:BEST_SHOWN]


def _draw_few(figure: Figure, chosen: Sequence[tuple[int, ComparedJob]]) -> None:
    """Training and validation in one panel for each metric."""
    for axes, metric in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        dress(axes, "epoch", metric)
        for number, job in chosen:
            _line(axes, job, metric, run_style(number))
            _line(axes, job, f"val_{metric}", run_style(number))
        _scale(axes, metric, (getattr(job.curves, name) for _, job in chosen for name in (metric, f"val_{metric}")))


def _draw_many(figure: Figure, comparison: Comparison, chosen: Sequence[tuple[int, ComparedJob]]) -> None:
    """A panel for each metric of each kind, or a thousand lines would hide each other. The chosen have colours by rank."""
    from matplotlib.collections import LineCollection

    grid = figure.subplots(2, 2, sharex=True, sharey="row")
    for row, metric in zip(grid, ("accuracy", "loss"), strict=True):
        columns: list[Column] = []
        for axes, name, kind in ((row[0], metric, "training"), (row[1], f"val_{metric}", "validation")):
            dress(axes, "epoch", f"{metric}, {kind}")
            lines = [
                list(zip(job.curves.epochs, _numbers(getattr(job.curves, name)), strict=True))
                for job in comparison.jobs
                if job.curves.epochs
            ]
            strength = max(0.1, min(0.5, 40 / len(comparison.jobs)))
            # As pixels also in an SVG: as paths they would be megabytes that a browser draws for seconds.
            grey = LineCollection(
                lines, colors=GREY, linewidths=0.6, linestyles=LINES[kind], alpha=strength, rasterized=True
            )
            axes.add_collection(grey)
            axes.autoscale_view()
            for rank, (_, job) in enumerate(chosen, 1):
                _line(axes, job, name, run_style(rank))
            columns += (getattr(job.curves, name) for job in comparison.jobs)
        _scale(row[0], metric, columns)


def _line(axes: Axes, job: ComparedJob, name: str, style: dict[str, Any]) -> None:
    epochs = job.curves.epochs
    every = max(1, len(epochs) // MARKERS_OF_A_LINE)
    dashed: dict[str, Any] = (
        {"linestyle": LINES["validation"], "markerfacecolor": "white"} if name.startswith("val_") else {}
    )
    axes.plot(epochs, _numbers(getattr(job.curves, name)), markersize=4, markevery=every, **style, **dashed)


def _scale(axes: Axes, metric: str, columns: Iterable[Column]) -> None:
    known = sorted(value for column in columns for value in column if value is not None)
    if not known:
        axes.text(0.5, 0.5, "no finished epoch yet", ha="center", va="center", transform=axes.transAxes)
        return
    axes.locator_params(axis="x", integer=True)
    if metric == "accuracy":
        axes.set_ylim(top=min(1.005, axes.get_ylim()[1]))
    elif known[0] > 0 and known[-1] > LOGARITHMIC_FROM * known[len(known) // 2]:
        axes.set_yscale("log")


def _explain(figure: Figure, comparison: Comparison, chosen: Sequence[tuple[int, ComparedJob]], *, many: bool) -> None:
    """Legend, title, and a line that says when curves are thinned out."""
    from matplotlib.lines import Line2D

    metric = comparison.objective.metric
    handles = [Line2D([], [], color="black", linestyle=line) for line in LINES.values()]
    labels = list(LINES)
    fields = telling(comparison)
    for rank, (number, job) in enumerate(chosen, 1):
        value = getattr(job.metrics, metric)
        reached = "" if value is None else f"  {value:.4g}"
        baseline = " (baseline)" if job.id == comparison.baseline else ""
        handles.append(Line2D([], [], markersize=4, **run_style(rank if many else number)))
        labels.append(f"{label_of(job, number, fields)}{baseline}{reached}")
    if many:
        handles.append(Line2D([], [], color=GREY, linewidth=0.8))
        labels.append(f"the other {len(comparison.jobs) - len(chosen):,} jobs")
    best = f"best {len(chosen)} of {len(comparison.jobs):,} jobs by {metric}"
    title = best if many else f"{len(chosen)} {'job' if len(chosen) == 1 else 'jobs'}, with {metric} of the best epoch"
    legend = figure.legend(
        handles,
        labels,
        title=title,
        loc="outside lower center" if many else "outside right upper",
        fontsize=8,
        title_fontsize=9,
        frameon=False,
        ncols=2 if many else 1,
        alignment="left",
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a tag may hold dollar signs
    if comparison.downsampled is not None:
        told = comparison.downsampled
        figure.suptitle(f"{told.points:,} of {told.epochs:,} epochs ({told.method})", fontsize=8, color="#666666")


def _numbers(column: Column) -> list[float]:
    return [math.nan if value is None else value for value in column]
