"""A confusion matrix as a picture, readable from 2 to some hundred classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from service.drawing import PictureKind
from service.studies.confusion import Confusion
from service.studies.pictures.canvas import paint, readable, say
from service.studies.pictures.material import Material

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_NUMBERS = 30
"""classes up to which each cell has its number"""

MOST_LABELS = 120
"""classes up to which each has its label"""

LONGEST_LABEL = 24

DARK = 0.55
"""share of a class from which its cell's number is written in white"""


def draw_confusion(material: Material, kind: PictureKind) -> bytes:
    """Rows: truth. Coloured by the share of the row's images; the numbers are per cent of them."""
    confusion = material.confusion
    if confusion is None:
        return paint((8.0, 3.0), kind, lambda figure: say(figure, "no evaluation yet"))
    classes = len(confusion.labels)
    side = 2.6 + max(1.6, 0.42 * classes if classes <= MOST_NUMBERS else min(12.0, 0.14 * classes))
    return paint((side + 0.9, side), kind, lambda figure: _fill(figure, confusion))


def _fill(figure: Figure, confusion: Confusion) -> None:
    shares = shares_of(confusion)
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0, interpolation="nearest", aspect="equal")
    _name_classes(axes, confusion.labels)
    if len(confusion.labels) <= MOST_NUMBERS:
        _number_cells(axes, shares)
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.02, aspect=30, ticks=[0, 0.5, 1], format="{x:.0%}")
    bar.outline.set_visible(False)
    bar.set_label("share of the true class")
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    images = sum(map(sum, confusion.counts))
    summed = f", {confusion.jobs} jobs added up" if confusion.jobs > 1 else ""
    figure.suptitle(f"{readable(confusion.of)}\n{images:,} test images{summed}", fontsize=10)


def shares_of(confusion: Confusion) -> NDArray[np.float64]:
    """Of each class's test images (rows: truth), (classes, classes); a class without any is all 0."""
    counts = np.asarray(confusion.counts, np.float64)
    shares: NDArray[np.float64] = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    return shares


def _name_classes(axes: Axes, labels: tuple[str, ...]) -> None:
    classes = len(labels)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if classes > MOST_LABELS:
        axes.locator_params(integer=True)
        return
    size = 9.0 if classes <= 20 else 8.0 if classes <= MOST_NUMBERS else 7.5
    names = [readable(label, LONGEST_LABEL) for label in labels]
    axes.set_yticks(range(classes), names, fontsize=size)
    axes.set_xticks(range(classes), names, fontsize=size, rotation=90)


def _number_cells(axes: Axes, shares: NDArray[np.float64]) -> None:
    """Per cent; a cell that would say 0 says nothing."""
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.005:
            color = "white" if share >= DARK else "#222222"
            axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=8, color=color)
