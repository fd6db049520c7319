"""The curves of a comparison in one picture: training solid, validation dashed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from service.comparisons.reading import ComparedJob, Comparison
from service.drawing import PictureKind, dress, encode, new_figure
from service.palette import GREY, run_color, run_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_COLORED = 20
"""jobs that a reader can follow; of more, only the best are coloured"""
BEST_COLORED = 5
LABEL_LENGTH = 48


def draw_comparison(comparison: Comparison, kind: PictureKind) -> bytes:
    """Accuracy and loss by epoch, with a legend below."""
    colored = best_jobs(comparison)
    lines = -(-(len(colored) + 3) // 2)
    with new_figure(11, 4.4 + 0.22 * lines) as figure:
        for axes, metric in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
            dress(axes, "epoch", metric)
            axes.locator_params(axis="x", integer=True)
            shown = {job.id for job in colored}
            _draw_grey(axes, [job for job in comparison.jobs if job.id not in shown], metric)
            _draw_colored(axes, colored, metric)
        _explain(figure, comparison, colored)
        return encode(figure, kind)


def best_jobs(comparison: Comparison) -> Sequence[ComparedJob]:
    """Those that get a colour: all of a few; of many, those with the highest validation accuracy, best first."""
    if len(comparison.jobs) <= MOST_COLORED:
        return comparison.jobs
    known = [job for job in comparison.jobs if job.metrics["val_accuracy"] is not None]
    return sorted(known, key=lambda job: -(job.metrics["val_accuracy"] or 0.0))[:BEST_COLORED]


def _draw_grey(axes: Axes, jobs: Sequence[ComparedJob], metric: str) -> None:
    """As one collection for each kind: thousands of lines are drawn in the time of one."""
    from matplotlib.collections import LineCollection

    for name, style in ((metric, "solid"), (f"val_{metric}", "dashed")):
        lines = [_points(job, name) for job in jobs]
        collection = LineCollection(
            [line for line in lines if line], colors=GREY, linewidths=0.5, alpha=0.35, linestyles=style
        )
        axes.add_collection(collection)
    axes.autoscale_view()


def _draw_colored(axes: Axes, jobs: Sequence[ComparedJob], metric: str) -> None:
    for number, job in enumerate(jobs, 1):
        for name, style in ((metric, "-"), (f"val_{metric}", "--")):
            points = _points(job, name)
            axes.plot(
                [epoch for epoch, _ in points],
                [value for _, value in points],
                linestyle=style,
                linewidth=1.3,
                markersize=4,
                markevery=max(1, len(points) // 8),
                **run_style(number),
            )


def _points(job: ComparedJob, name: str) -> list[tuple[float, float]]:
    pairs = zip(job.curve["epoch"], job.curve[name], strict=True)
    return [(epoch, value) for epoch, value in pairs if value is not None]


def _explain(figure: Figure, comparison: Comparison, colored: Sequence[ComparedJob]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], label=_label(comparison, job), **run_style(number)) for number, job in enumerate(colored, 1)
    ]
    others = len(comparison.jobs) - len(colored)
    if others:
        handles.append(
            Line2D([], [], color=GREY, linewidth=0.8, label=f"{others:,} other jobs (coloured: best val_accuracy)")
        )
    handles.append(Line2D([], [], color=run_color(7), label="training"))
    handles.append(Line2D([], [], color=run_color(7), linestyle="--", label="validation"))
    legend = figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    for text in legend.get_texts():
        text.set_parse_math(False)  # a tag may hold dollar signs
    figure.suptitle(_title(comparison), fontsize=11)


def _label(comparison: Comparison, job: ComparedJob) -> str:
    """The end of its id, as ids of one hour begin alike, and what is its own in the spec."""
    own = [
        f"{pointer.lstrip('/')} {values[job.id]}" for pointer, values in comparison.fields.items() if job.id in values
    ]
    text = ", ".join([f"…{job.id[-8:]}", *own])
    text = text if len(text) <= LABEL_LENGTH else f"{text[: LABEL_LENGTH - 1]}…"
    return f"{text} (baseline)" if job is comparison.baseline else text


def _title(comparison: Comparison) -> str:
    count = len(comparison.jobs)
    title = f"{count:,} job{'s' if count != 1 else ''}"
    if comparison.points < comparison.epochs:
        title += f" · {comparison.points:,} of {comparison.epochs:,} epochs shown"
    return title
