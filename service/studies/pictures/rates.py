"""What a learning rate led to, and how long the objective took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

import orjson

from service.drawing import PictureKind, dress
from service.palette import GREY, run_style
from service.studies.curves import VariantCurves
from service.studies.figures import StudyFigures, VariantFigures
from service.studies.pictures.canvas import (
    VALIDATION,
    as_number,
    beside,
    fit_epochs,
    legend_beside,
    line_of,
    mark_every,
    paint,
    readable,
    say,
    space_out,
)
from service.studies.pictures.learning_curves import NOTHING, names_of
from service.studies.pictures.material import Material

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_TOGETHER = 16
"""variants of all architectures in one picture"""

MOST_TICKS = 8

WIDEST_LINEAR = 20.0
"""largest over least value, from which an axis is logarithmic"""

WIDTH, HEIGHT = 6.8, 4.8
"""inches, without the legend"""


@dataclass(frozen=True)
class Trial:
    """A variant and the learning rate that the study's space set in it."""

    rate: float
    variant: VariantFigures


def draw_learning_rate(material: Material, kind: PictureKind) -> bytes:
    """Where the study tries several: the objective by learning rate, each run a point. Else the rate over the epochs."""
    trials = trials_of(material.figures)
    if len({trial.rate for trial in trials}) > 1:
        return _draw_by_rate(material.figures, trials, kind)
    return _draw_over_epochs(material, kind)


def trials_of(figures: StudyFigures) -> list[Trial]:
    """Of variants whose learning rate is their own choice, not what their optimizer has by default."""
    return [
        Trial(variant.spec["optimizer"]["learning_rate"], variant)
        for variant in figures.variants
        if "/optimizer/learning_rate" in variant.levels or "learning_rate" in _object(variant.levels.get("/optimizer"))
    ]


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _draw_by_rate(figures: StudyFigures, trials: Sequence[Trial], kind: PictureKind) -> bytes:
    metric = figures.objective.metric
    rates = sorted({trial.rate for trial in trials})
    named = trials if len(trials) <= MOST_TOGETHER else []
    names = [readable(trial.variant.name) for trial in named]

    def fill(figure: Figure) -> None:
        axes = figure.subplots()
        dress(axes, "learning rate", metric)
        _scale_rates(axes, rates)
        for trial in trials:
            _draw_runs(axes, trial, metric)
        explanation = "Large: mean of the seeds; small: each run."
        if len(rates) <= MOST_TICKS:
            explanation += " Lines join variants that are otherwise equal."
            _join_equals(axes, trials, metric)
        axes.set_title(explanation, fontsize=9, fontweight="normal")
        if named:
            legend_beside(axes, [line_of(trial.variant.number, linestyle="") for trial in named], names)

    return paint((WIDTH + beside(names), HEIGHT), kind, fill)


def _join_equals(axes: Axes, trials: Sequence[Trial], metric: str) -> None:
    for alike in _otherwise_equal(trials):
        line = sorted((one.rate, fmean(values)) for one in alike if (values := _values(one, metric)))
        axes.plot([rate for rate, _ in line], [mean for _, mean in line], color=GREY, linewidth=1, zorder=1)


def _scale_rates(axes: Axes, rates: Sequence[float]) -> None:
    """Logarithmic, with the tried rates themselves on it where there are few."""
    space_out(axes, "x", rates, 1.0)
    if len(rates) <= MOST_TICKS:
        axes.set_xticks(rates, [f"{rate:g}" for rate in rates])


def _draw_runs(axes: Axes, trial: Trial, metric: str) -> None:
    values = _values(trial, metric)
    if values:
        style = run_style(trial.variant.number) | {"linestyle": ""}
        axes.plot([trial.rate] * len(values), values, **style, markersize=3.5, alpha=0.6)
        axes.plot([trial.rate], [fmean(values)], **style, markersize=8)


def _values(trial: Trial, metric: str) -> list[float]:
    """Of the runs that have one."""
    return [value for run in trial.variant.runs if (value := getattr(run, metric)) is not None]


def _otherwise_equal(trials: Sequence[Trial]) -> list[list[Trial]]:
    """The trials in groups whose specs differ in the learning rate alone."""
    groups: dict[bytes, list[Trial]] = {}
    for trial in trials:
        spec = trial.variant.spec
        rest = {**spec, "optimizer": {**spec["optimizer"], "learning_rate": None}, "tags": None}
        groups.setdefault(orjson.dumps(rest, option=orjson.OPT_SORT_KEYS), []).append(trial)
    return list(groups.values())


def _draw_over_epochs(material: Material, kind: PictureKind) -> bytes:
    groups = _alike([one for one in material.curves if one.points])[:MOST_TOGETHER]
    names = [_name(group) for group in groups]

    def fill(figure: Figure) -> None:
        if not groups:
            return say(figure, NOTHING)
        axes = figure.subplots()
        dress(axes, "epoch", "learning rate")
        fit_epochs(axes, max(one.points[-1].epoch for group in groups for one in group))
        for group in groups:
            _draw_rates(axes, group)
        rates = [point.learning_rate for group in groups for one in group for point in one.points]
        if not space_out(axes, "y", rates, WIDEST_LINEAR):
            axes.set_ylim(0, 1.1 * max(rates))
        legend_beside(axes, [line_of(group[0].number) for group in groups], names)
        return None

    return paint((WIDTH + beside(names), HEIGHT), kind, fill)


def _draw_rates(axes: Axes, group: Sequence[VariantCurves]) -> None:
    """One line for all of them."""
    points = max((one.points for one in group), key=len)
    axes.plot(
        [point.epoch for point in points],
        [point.learning_rate for point in points],
        **run_style(group[0].number),
        drawstyle="steps-post",
        markevery=mark_every(len(points), group[0].number),
    )


def _alike(curves: Sequence[VariantCurves]) -> list[list[VariantCurves]]:
    """Variants with one learning rate in every epoch that both have."""
    groups: list[list[VariantCurves]] = []
    for one in curves:
        for group in groups:
            if all(_same_rates(one, other) for other in group):
                group.append(one)
                break
        else:
            groups.append([one])
    return groups


def _same_rates(one: VariantCurves, other: VariantCurves) -> bool:
    rates = {point.epoch: point.learning_rate for point in one.points}
    return all(rates.get(point.epoch, point.learning_rate) == point.learning_rate for point in other.points)


def _name(group: Sequence[VariantCurves]) -> str:
    others = len(group) - 1
    return readable(group[0].name) + (f" and {others} other{'s' if others > 1 else ''}" if others else "")


def draw_time(material: Material, kind: PictureKind) -> bytes:
    """The objective's metric by the seconds that training had taken, means over seeds."""
    places = {row.number: place for place, row in enumerate(material.results.rows)}
    drawn = [one for one in material.curves if one.points]
    shown = sorted(sorted(drawn, key=lambda one: places[one.number])[:MOST_TOGETHER], key=lambda one: one.number)
    metric = material.figures.objective.metric
    style = VALIDATION if metric.startswith("val_") else {}

    def fill(figure: Figure) -> None:
        if not shown:
            return say(figure, NOTHING)
        axes = figure.subplots()
        dress(axes, "seconds of training and validation", metric)
        for one in shown:
            seconds, means = [point.seconds for point in one.points], [as_number(mean) for mean in one.means(metric)]
            axes.plot(seconds, means, **run_style(one.number) | style, markevery=mark_every(len(means), one.number))
        space_out(axes, "x", [one.points[-1].seconds for one in shown], WIDEST_LINEAR)
        _draw_target(axes, material.figures)
        if len(shown) < len(material.figures.variants):
            axes.set_title(f"The best {len(shown)} of {len(material.figures.variants)} variants")
        legend_beside(axes, [line_of(one.number, **style) for one in shown], names_of(shown))
        return None

    return paint((WIDTH + beside(names_of(shown)), HEIGHT), kind, fill)


def _draw_target(axes: Axes, figures: StudyFigures) -> None:
    if figures.target is not None:
        axes.axhline(figures.target, color=GREY, linestyle=":", zorder=1)
        place = axes.get_yaxis_transform()
        axes.text(
            1.0,
            figures.target,
            f"target {figures.target:g}",
            ha="right",
            va="bottom",
            fontsize=8,
            color="#666666",
            transform=place,
        )
