"""The table of a study: one row a variant, means over its seeds; as JSON, CSV and Markdown."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from core.objective import Direction
from core.states import State
from service.studies.answers import ResultRow, Results
from service.studies.figures import RunFigures, StudyFigures, VariantFigures
from service.studies.level_names import telling_options, text_with_options
from service.studies.measures import GAP, TEST, measure
from service.studies.statistics import finite, mean_of
from service.studies.winners import ranked

PRUNED = "PRUNED"


def results_of(figures: StudyFigures) -> Results:
    """Best first by the mean of the objective; variants without a finished run come last, in their own order."""
    ranks = {contender.variant.number: rank for rank, contender in enumerate(ranked(figures), 1)}
    told = telling_options([variant.spec["optimizer"] for variant in figures.variants])
    rows = [_row(variant, ranks.get(variant.number), figures, told) for variant in figures.variants]
    return Results(
        metric=figures.objective.metric,
        direction="max" if figures.objective.direction is Direction.MAX else "min",
        target=figures.target,
        rows=tuple(sorted(rows, key=lambda row: (row.rank is None, row.rank or row.number))),
    )


def _row(variant: VariantFigures, rank: int | None, figures: StudyFigures, told: dict[Any, set[str]]) -> ResultRow:
    spec, loss = variant.spec, variant.spec["loss"]
    finished = [run for run in variant.runs if run.state == State.SUCCEEDED]
    reached = [run.epochs_to_target for run in finished if run.epochs_to_target is not None]

    def mean(metric: str) -> float | None:
        return mean_of([measure(run, metric) for run in finished]).mean

    return ResultRow(
        rank=rank,
        number=variant.number,
        name=variant.name,
        architecture=variant.architecture,
        optimizer=text_with_options(spec["optimizer"], told),
        loss=loss if isinstance(loss, str) else loss["name"],
        batch_size=spec.get("batch_size"),
        epochs=spec.get("epochs"),
        train_accuracy=mean("train_accuracy"),
        val_accuracy=mean("val_accuracy"),
        test_accuracy=mean(TEST),
        seeds=len(variant.runs),
        finished=len(finished),
        objective=mean_of([measure(run, figures.objective.metric) for run in finished]),
        test=mean_of([measure(run, TEST) for run in finished]),
        gap=mean(GAP),
        epochs_to_target=float(statistics.median(reached)) if reached else None,
        reached_target=None if figures.target is None else len(reached),
        seconds=_plain_mean(run.seconds for run in finished),
        images_per_second=_plain_mean(run.images_per_second for run in finished),
        states=dict(Counter(map(_state, variant.runs))),
        reused=sum(run.reused for run in variant.runs),
        jobs=tuple(run.job for run in variant.runs if run.job is not None),
    )


def _plain_mean(values: Iterable[float | None]) -> float | None:
    there = [value for value in map(finite, values) if value is not None]
    return math.fsum(there) / len(there) if there else None


def _state(run: RunFigures) -> str:
    return PRUNED if run.reason == PRUNED else run.state


COLUMNS: dict[str, Callable[[ResultRow], Any]] = {
    "rank": lambda row: row.rank,
    "run": lambda row: row.name,
    "architecture": lambda row: row.architecture,
    "optimizer": lambda row: row.optimizer,
    "loss": lambda row: row.loss,
    "batch": lambda row: row.batch_size,
    "epochs": lambda row: row.epochs,
    "train": lambda row: row.train_accuracy,
    "val": lambda row: row.val_accuracy,
    "test": lambda row: row.test_accuracy,
    "seeds": lambda row: row.seeds,
    "finished": lambda row: row.finished,
    "mean": lambda row: row.objective.mean,
    "low": lambda row: row.objective.low,
    "high": lambda row: row.objective.high,
    "gap": lambda row: row.gap,
    "epochs_to_target": lambda row: row.epochs_to_target,
    "reached_target": lambda row: row.reached_target,
    "seconds": lambda row: row.seconds,
    "images_per_second": lambda row: row.images_per_second,
}
"""low and high: of the 95 % interval of the objective's mean"""


def as_csv(results: Results) -> str:
    """All digits; an empty cell where there is no figure."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([column(row) for column in COLUMNS.values()] for row in results.rows)
    return text.getvalue()


def as_markdown(results: Results) -> str:
    """For reading: accuracies to four places, as the objective's mean with its interval."""
    ours = ["rank", "run", "architecture", "optimizer", "loss", "batch", "epochs", "train", "val", "test", "seeds"]
    objective = f"{results.metric} (95 % interval)"
    lines = [[*ours, objective, "gap", "epochs to target", "seconds", "images/s"]]
    lines.append(["---"] * len(lines[0]))
    lines += [_cells(row) for row in results.rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _cells(row: ResultRow) -> list[str]:
    interval = "" if row.objective.low is None else f" ({_number(row.objective.low)} to {_number(row.objective.high)})"
    seeds = str(row.seeds) if row.finished == row.seeds else f"{row.finished} of {row.seeds}"
    named = [row.name, row.architecture, row.optimizer, row.loss]
    return [
        _number(row.rank),
        *(name.replace("|", "\\|").replace("\n", " ") for name in named),
        *map(_number, (row.batch_size, row.epochs, row.train_accuracy, row.val_accuracy, row.test_accuracy)),
        seeds,
        _number(row.objective.mean) + interval,
        _number(row.gap),
        *(_number(value, places=1) for value in (row.epochs_to_target, row.seconds, row.images_per_second)),
    ]


def _number(value: float | None, places: int = 4) -> str:
    if value is None:
        return "-"
    if isinstance(value, int):
        return str(value)
    return f"{value:.{places}f}" if abs(value) < 1e6 else f"{value:.{places}g}"
