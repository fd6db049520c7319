"""Learning curves: all variants of an architecture, the best of each in a grid, all bests in one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from core.repositories.study_curves import Spread
from service.drawing import PictureKind, dress
from service.palette import run_color, run_style
from service.studies.curves import MOST_SHOWN, VariantCurves
from service.studies.pictures.canvas import (
    VALIDATION,
    as_number,
    beside,
    fit_epochs,
    legend_below,
    legend_beside,
    line_of,
    mark_every,
    paint,
    readable,
    say,
    space_out,
    style_handles,
)
from service.studies.pictures.material import Material

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BAND = 0.15
"""how much of the ground a band covers"""

WIDEST_LINEAR = 50.0
"""largest over least loss, from which the scale is logarithmic"""

NOTHING, NO_BEST = "no finished epoch yet", "no finished run yet"


def draw_architectures(material: Material, kind: PictureKind) -> bytes:
    """For each architecture a row: accuracy and loss of its variants."""
    rows = [
        (architecture, curves)
        for architecture in material.architectures
        if (curves := [one for one in material.curves if one.architecture == architecture and one.points])
    ]

    def fill(figure: Figure) -> None:
        if not rows:
            return say(figure, NOTHING)
        grid = figure.subplots(len(rows), 2, squeeze=False)
        for (accuracy, loss), (architecture, curves) in zip(grid, rows, strict=True):
            for axes, metric in ((accuracy, "accuracy"), (loss, "loss")):
                dress(axes, "epoch", metric)
                draw_curves(axes, curves, metric)
                scale(axes, curves, metric)
            accuracy.set_title(_title(material, architecture, len(curves)))
            legend_beside(loss, [line_of(one.number) for one in curves], names_of(curves))
        legend_below(figure, *style_handles(most_seeds(material.curves)))
        return None

    width = 8.6 + beside(name for _, curves in rows for name in names_of(curves))
    return paint((width, 0.4 + 3.2 * max(1, len(rows))), kind, fill)


def names_of(curves: Iterable[VariantCurves]) -> list[str]:
    return [readable(one.name) for one in curves]


def _title(material: Material, architecture: str, shown: int) -> str:
    variants = sum(variant.architecture == architecture for variant in material.figures.variants)
    if variants > MOST_SHOWN:
        return f"{readable(architecture)}: the best {shown} of {variants} variants"
    return readable(architecture)


def draw_grid(material: Material, kind: PictureKind) -> bytes:
    """A panel for the best variant of each architecture, all on one scale."""
    bests = _bests(material)
    across = math.ceil(math.sqrt(len(bests)))
    down = math.ceil(len(bests) / across) if bests else 1
    metric = material.metric

    def fill(figure: Figure) -> None:
        if not bests:
            return say(figure, NO_BEST)
        panels = list(figure.subplots(down, across, squeeze=False, sharey=True).flat)
        for panel in panels[len(bests) :]:
            panel.set_axis_off()
        for panel, one in zip(panels, bests, strict=False):
            dress(panel, "epoch", metric)
            panel.tick_params(labelleft=True)
            draw_curves(panel, [one], metric)
            panel.set_title(readable(f"{one.architecture}: {one.name}", 38))
        scale(panels[0], bests, metric)
        legend_below(figure, *style_handles(most_seeds(bests)))
        return None

    return paint((max(6.0, 4.2 * across), 0.4 + 3.2 * down), kind, fill)


def draw_bests(material: Material, kind: PictureKind) -> bytes:
    """The best variant of each architecture, all in one."""
    bests = _bests(material)
    names = [readable(f"{one.architecture}: {one.name}") for one in bests]

    def fill(figure: Figure) -> None:
        if not bests:
            return say(figure, NO_BEST)
        axes = figure.subplots()
        dress(axes, "epoch", material.metric)
        draw_curves(axes, bests, material.metric)
        scale(axes, bests, material.metric)
        legend_beside(axes, [line_of(one.number) for one in bests], names)
        legend_below(figure, *style_handles(most_seeds(bests)))
        return None

    return paint((6.6 + beside(names), 4.6), kind, fill)


def _bests(material: Material) -> list[VariantCurves]:
    by_number = {one.number: one for one in material.curves}
    bests = (by_number.get(row.number) for row in material.bests)
    return [one for one in bests if one is not None and one.points]


def most_seeds(curves: Sequence[VariantCurves]) -> int:
    return max((point.seeds for one in curves for point in one.points), default=1)


def draw_curves(axes: Axes, curves: Sequence[VariantCurves], metric: str) -> None:
    """Training solid and validation dashed, each with its band."""
    for one in curves:
        _draw_one(axes, one, metric, {})
        _draw_one(axes, one, f"val_{metric}", VALIDATION)
    fit_epochs(axes, max(one.points[-1].epoch for one in curves))


def _draw_one(axes: Axes, one: VariantCurves, metric: str, style: dict[str, Any]) -> None:
    epochs = [point.epoch for point in one.points]
    spreads = [point.spreads[metric] for point in one.points]
    axes.plot(
        epochs,
        [as_number(spread.mean) for spread in spreads],
        **run_style(one.number) | style,
        linewidth=1.6,
        markevery=mark_every(len(epochs), one.number),
    )
    if any(_wide(spread) for spread in spreads):
        axes.fill_between(
            epochs,
            [as_number(spread.low) for spread in spreads],
            [as_number(spread.high) for spread in spreads],
            color=run_color(one.number),
            alpha=BAND,
            linewidth=0,
        )


def _wide(spread: Spread) -> bool:
    return spread.low is not None and spread.high is not None and spread.low < spread.high


def scale(axes: Axes, curves: Sequence[VariantCurves], metric: str) -> None:
    """For all that is drawn, on these axes and those that share them: an accuracy ends at 1; losses far apart need a logarithmic scale, or one that exploded hides all others."""
    if metric == "accuracy":
        axes.set_ylim(top=min(1.005, axes.get_ylim()[1]))
        return
    losses = (loss for one in curves for name in (metric, f"val_{metric}") for loss in one.means(name))
    space_out(axes, "y", (loss for loss in losses if loss is not None), WIDEST_LINEAR)
