"""A job's learning curves as a picture or as numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from core.tables import EpochRow, JobRow
from service.drawing import PictureKind, dress, encode, new_figure
from service.palette import GREY, run_color

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = (
    "epoch",
    "loss",
    "accuracy",
    "val_loss",
    "val_accuracy",
    "learning_rate",
    "seconds",
    "images_per_second",
    "phase",
)

_ACCURACY, _LOSS = run_color(1), run_color(2)


def curves_csv(epochs: Sequence[EpochRow]) -> str:
    """One line an epoch, with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in epochs:
        writer.writerow(["" if (value := getattr(row, column)) is None else value for column in COLUMNS])
    return text.getvalue()


def draw_curves(job: JobRow, epochs: Sequence[EpochRow], kind: PictureKind) -> bytes:
    """Accuracy and loss by epoch: training solid, validation dashed, the best epoch marked."""
    with new_figure(10, 4) as figure:
        accuracy, loss = figure.subplots(1, 2)
        _draw(accuracy, job, epochs, "accuracy", _ACCURACY)
        _draw(loss, job, epochs, "loss", _LOSS)
        if epochs:
            accuracy.set_ylim(top=min(1.005, accuracy.get_ylim()[1]))
        figure.suptitle(_title(job), fontsize=11)
        return encode(figure, kind)


def _draw(axes: Axes, job: JobRow, epochs: Sequence[EpochRow], metric: str, color: str) -> None:
    numbers = [row.epoch for row in epochs]
    dress(axes, "epoch", metric)
    if not epochs:
        axes.text(0.5, 0.5, "no finished epoch yet", ha="center", va="center", transform=axes.transAxes)
        return
    axes.locator_params(axis="x", integer=True)
    single: dict[str, Any] = {"marker": "o"} if len(epochs) == 1 else {}
    axes.plot(numbers, _values(epochs, metric), color=color, label="training", **single)
    axes.plot(numbers, _values(epochs, f"val_{metric}"), color=color, linestyle="--", label="validation", **single)
    for earlier, row in pairwise(epochs):
        if row.phase != earlier.phase:
            axes.axvline(row.epoch - 0.5, color=GREY, linestyle=":", linewidth=1)
            axes.text(
                row.epoch - 0.5,
                1.0,
                f" phase {row.phase}",
                fontsize=8,
                color="#666666",
                va="top",
                transform=axes.get_xaxis_transform(),
            )
    best = job.best_epoch
    if best is not None and best[f"val_{metric}"] is not None:
        axes.plot(
            [best["epoch"]],
            [best[f"val_{metric}"]],
            "o",
            color=color,
            fillstyle="none",
            label=f"best epoch ({best['epoch']})",
        )
    axes.legend(frameon=False)


def _values(epochs: Sequence[EpochRow], column: str) -> list[float]:
    return [float("nan") if (value := getattr(row, column)) is None else value for row in epochs]


def _title(job: JobRow) -> str:
    spec = job.spec
    optimizer = spec["optimizer"]
    return f"{job.architecture} on {job.view} · {optimizer['name']} {optimizer['learning_rate']:g} · batch {spec['batch_size']} · {job.state}"
