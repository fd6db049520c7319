"""What the pictures of a study have in common: their look, their legends, and names that people chose."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from service.drawing import PictureKind, encode, new_figure
from service.palette import run_style

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VALIDATION: dict[str, Any] = {"linestyle": "--", "markerfacecolor": "white"}
"""how a line is drawn that is of validation data"""

INK, FAINT = "#222222", "#767676"

_LOOK: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text: to be searched, read aloud, and a third of the size
    "text.parse_math": False,  # a dollar in a name is a dollar
    "font.size": 10.0,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.edgecolor": FAINT,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "lines.markersize": 4.0,
}


def paint(size: tuple[float, float], kind: PictureKind, fill: Callable[[Figure], None]) -> bytes:
    """A picture of that width and height (inches), filled by `fill`."""
    with new_figure(*size) as figure:
        from matplotlib import RcParams, rc_context

        with rc_context(RcParams(_LOOK)), warnings.catch_warnings():
            # A name in a script that the font lacks: an SVG's reader has another font, a PNG shows boxes.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
            fill(figure)
            return encode(figure, kind)


def say(figure: Figure, text: str) -> None:
    """Words instead of a picture."""
    figure.text(0.5, 0.5, text, ha="center", va="center", color=FAINT, fontsize=12)


def readable(text: str, most: int = 52) -> str:
    """A name on one line, without what XML cannot hold; the middle of a long one is left out, for names differ at their ends."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    if len(line) <= most:
        return line
    tail = (most - 1) // 2
    return f"{line[: most - 1 - tail]}…{line[-tail:]}"


def as_number(value: float | None) -> float:
    """As Matplotlib leaves a gap."""
    return math.nan if value is None else value


def mark_every(points: int, number: int) -> tuple[int, int]:
    """Where a line of so many points has its markers: about six, those of other runs elsewhere."""
    step = max(1, points // 6)
    return (number % step, step)


def fit_epochs(axes: Axes, last: int) -> None:
    """An axis from the first epoch to the last, whole numbers on it."""
    if last == 1:
        axes.set_xticks([1])
        return
    axes.locator_params(axis="x", integer=True)
    margin = 0.02 * (last - 1)
    axes.set_xlim(1 - margin, last + margin)


def space_out(axes: Axes, axis: Literal["x", "y"], values: Iterable[float], widest: float) -> bool:
    """Makes the scale logarithmic, with plain numbers on it, where the largest value is over `widest` times the least.

    Returns whether it did.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    known = [value for value in values if value > 0]
    if not known or max(known) / min(known) <= widest:
        return False
    axes.set(**{f"{axis}scale": "log"})
    scale = axes.xaxis if axis == "x" else axes.yaxis
    scale.set_major_locator(LogLocator(subs=(1,) if max(known) / min(known) > 1000 else (1, 2, 5)))
    scale.set_major_formatter("{x:g}")
    scale.set_minor_formatter(NullFormatter())
    return True


def line_of(number: int, **changes: Any) -> Artist:
    """What stands for a run in a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], **run_style(number), **changes)


def style_handles(seeds: int) -> tuple[list[Artist], list[str]]:
    """What lines and bands mean, in ink, with their words."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Artist] = [
        Line2D([], [], color=INK, marker="o"),
        Line2D([], [], color=INK, marker="o", **VALIDATION),
    ]
    words = ["training", "validation"]
    if seeds > 1:
        handles.append(Patch(color=INK, alpha=0.15, linewidth=0))
        words.append(f"lines: mean of {seeds} seeds; bands: least to largest")
    return handles, words


def legend_beside(axes: Axes, handles: Sequence[Artist], names: Sequence[str]) -> None:
    """To the right of the axes, where it hides nothing."""
    axes.legend(handles, names, loc="upper left", bbox_to_anchor=(1.0, 1.02), borderaxespad=0.3)


def beside(names: Iterable[str]) -> float:
    """How many inches a legend with these names takes there."""
    return 0.7 + 0.078 * max(map(len, names), default=0)


def legend_below(figure: Figure, handles: Sequence[Artist], words: Sequence[str]) -> None:
    figure.legend(handles, words, loc="outside lower left", ncols=len(words))
