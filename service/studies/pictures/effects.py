"""What each factor did: differences with their 95 % intervals, a line for each comparison."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from service.drawing import PictureKind
from service.palette import run_color
from service.studies.answers import Difference, Effect, Effects, Verdict
from service.studies.pictures.canvas import FAINT, INK, paint, readable, say
from service.studies.pictures.material import Material

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_COMPARISONS = 50
"""in one picture; those over all contexts come first"""

WIDEST = 4.0
"""how far the axis goes for an interval's sake, as a multiple of the largest difference"""

_COLORS = {Verdict.BETTER: run_color(1), Verdict.WORSE: run_color(2)}
_MEANING = "filled: distinguishable after Holm's correction; hollow: not; cross: too few seeds to tell"


@dataclass(frozen=True)
class Line:
    """Of the picture, from above: a factor's heading, or one of its comparisons."""

    text: str
    effect: Effect | None = None


def draw_effects(material: Material, kind: PictureKind) -> bytes:
    """The objective's difference, the level minus the baseline; right of the zero line it is larger."""
    effects = material.effects
    lines = list(lines_of(effects)) if effects else []
    if effects is None or not lines:
        return paint((8.0, 3.0), kind, lambda figure: say(figure, "no comparison yet"))
    width = 6.2 + 0.075 * max(len(line.text) for line in lines)
    return paint((width, 1.5 + 0.27 * len(lines)), kind, lambda figure: _fill(figure, effects, lines))


def lines_of(effects: Effects) -> Iterator[Line]:
    """Those that are drawn, by factor."""
    known = [effect for effect in effects.effects if effect.objective.difference is not None]
    chosen = sorted(known, key=lambda effect: effect.context is not None)[:MOST_COMPARISONS]
    for factor in effects.factors:
        of_factor = [effect for effect in chosen if effect.factor == factor.name]
        if of_factor:
            yield Line(readable(factor.label))
            yield from (Line(_words(effect), effect) for effect in of_factor)


def _words(effect: Effect) -> str:
    sides = f"{readable(effect.level, 28)} against {readable(effect.baseline, 28)}"
    if effect.context is None and effect.contexts > 1:
        return f"{sides}, over {effect.contexts} contexts"
    return f"{sides} ({readable(effect.where, 44)})" if effect.where else sides


def _fill(figure: Figure, effects: Effects, lines: Sequence[Line]) -> None:
    axes = figure.subplots()
    accuracy = effects.metric.endswith("accuracy")
    unit = 100.0 if accuracy else 1.0
    for height, line in enumerate(lines):
        if line.effect is not None:
            _draw(axes, height, line.effect, unit)
    cut = _cut(axes, [line.effect.objective for line in lines if line.effect], unit)
    axes.axvline(0, color=INK, linewidth=1, zorder=0)
    axes.set_ylim(len(lines) - 0.4, -0.8)
    axes.set_yticks(range(len(lines)), [line.text for line in lines])
    axes.tick_params(axis="y", length=0)
    for tick, line in zip(axes.get_yticklabels(), lines, strict=True):
        tick.set_fontweight("normal" if line.effect else "bold")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="x", alpha=0.25)
    axes.set_xlabel(_axis_words(effects, accuracy))
    shown, known = sum(line.effect is not None for line in lines), len(effects.effects)
    remarks = [f"{shown} of {known} comparisons"] if shown < known else []
    remarks += ["an interval at the edge goes on beyond it"] if cut else []
    axes.set_title("; ".join([*remarks, _MEANING]), fontsize=8.5, fontweight="normal", color=FAINT, loc="right")


def _cut(axes: Axes, differences: Sequence[Difference], unit: float) -> bool:
    """Keeps one interval that is far wider than all differences from hiding them. Returns whether it had to."""
    farthest = max(abs(one.difference) for one in differences if one.difference is not None)
    ends = [abs(end) for one in differences for end in (one.low, one.high) if end is not None]
    edge = WIDEST * farthest
    if edge == 0 or max(ends, default=0.0) <= edge:
        return False
    axes.set_xlim(-unit * edge, unit * edge)
    return True


def _axis_words(effects: Effects, accuracy: bool) -> str:
    unit = " in points" if accuracy else ""
    better = "right" if effects.direction == "max" else "left"
    return f"difference in {effects.metric}{unit}, with 95 % interval ({better} of zero is better)"


def _draw(axes: Axes, height: int, effect: Effect, unit: float) -> None:
    found = effect.objective
    if found.difference is None:
        return
    color = _COLORS.get(effect.verdict, FAINT)
    style: dict[str, Any] = {"color": color, "marker": "D" if effect.context is None and effect.contexts > 1 else "o"}
    if effect.verdict is Verdict.CANNOT_TELL:
        style["marker"] = "x"
    elif effect.verdict is Verdict.NOT_DISTINGUISHABLE:
        style["markerfacecolor"] = "white"
    if found.low is not None and found.high is not None:
        axes.plot([unit * found.low, unit * found.high], [height, height], color=color, linewidth=1.8, zorder=1)
    axes.plot([unit * found.difference], [height], **style, linestyle="", markersize=6, zorder=2)
