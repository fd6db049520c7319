"""The tables of a report. What people wrote stays plain text, to be escaped where it is shown; numbers are ready for any page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from service.palette import run_color
from service.studies.answers import Difference, Effect, Mean, ResultRow, Results
from service.studies.figures import RunFigures, VariantFigures
from service.studies.report.subject import DataView, EnvironmentUse, ReportInput

MOST_RUNS = 500
"""that are listed one by one"""

MOST_NAMES = 5

NONE = Markup("–")  # noqa: RUF001 - a dash, where there is no figure


@dataclass(frozen=True)
class Row:
    cells: tuple[str, ...]
    color: str | None = None
    """of the run that it is about"""


@dataclass(frozen=True)
class Table:
    heading: tuple[str, ...]
    rows: tuple[Row, ...]
    words: int = 1
    """columns that hold words; the others, to the right of them, hold numbers"""


def number(value: float | None, digits: int = 4) -> Markup:
    """So many digits behind the point of a figure around 1; large ones whole, with thousands apart."""
    if value is None:
        return NONE
    if abs(value) >= 1000:
        return Markup(f"{value:,.0f}")  # noqa: S704 - digits
    return Markup(f"{value:.{digits}f}" if abs(value) < 100 else f"{value:.1f}")  # noqa: S704 - digits


def _whole(value: int | None) -> Markup:
    return NONE if value is None else Markup(f"{value:,}")  # noqa: S704 - digits


def _interval(low: float | None, high: float | None) -> Markup:
    return NONE if low is None or high is None else Markup(f"{number(low)} to {number(high)}")  # noqa: S704 - digits


def results_table(results: Results) -> Table:
    """The columns of the notebook's table, then what several seeds and clocks tell."""
    mean = () if results.metric == "val_accuracy" else (results.metric,)
    target = "epochs to target" if results.target is None else f"epochs to {results.target:g}"
    words = ("run", "architecture", "optimizer", "loss")
    settings, reached = ("rank", "batch", "epochs"), ("train", "val", "test", "seeds", *mean, "95 % interval", "gap")
    return Table(
        (*words, *settings, *reached, target, "seconds", "images/s"),
        tuple(Row(_result_cells(row, bool(mean)), run_color(row.number)) for row in results.rows),
        words=len(words),
    )


def _result_cells(row: ResultRow, with_mean: bool) -> tuple[str, ...]:
    finished = f"{row.finished}" if row.finished == row.seeds else f"{row.finished} of {row.seeds}"
    objective: Mean = row.objective
    return (
        *(row.name, row.architecture, row.optimizer, row.loss),
        *(_whole(row.rank), _whole(row.batch_size), _whole(row.epochs)),
        *(number(row.train_accuracy), number(row.val_accuracy), number(row.test_accuracy), finished),
        *((number(objective.mean),) if with_mean else ()),
        *(_interval(objective.low, objective.high), number(row.gap)),
        *(number(row.epochs_to_target, 1), number(row.seconds, 1), number(row.images_per_second, 1)),
    )


def effects_table(effects: Iterable[Effect]) -> Table:
    """Of one factor: each comparison with its difference in the objective, in test accuracy and in the gap."""
    words = ("compared", "where", "verdict")
    return Table(
        (*words, "difference", "95 % interval", "p", "p (Holm)", "pairs", "test", "gap"),
        tuple(Row(_effect_cells(effect)) for effect in effects),
        words=len(words),
    )


def _effect_cells(effect: Effect) -> tuple[str, ...]:
    found: Difference = effect.objective
    over_all = effect.context is None and effect.contexts > 1
    where = f"over {effect.contexts} contexts" if over_all else effect.where or "everywhere"
    return (
        *(f"{effect.level} against {effect.baseline}", where, str(effect.verdict)),
        *(signed(found.difference), _interval(found.low, found.high), _p(found.p), _p(found.p_holm)),
        *(_whole(found.pairs), signed(effect.test.difference), signed(effect.gap.difference)),
    )


def _p(value: float | None) -> str:
    return "< 0.0001" if value is not None and value < 0.0001 else number(value)


def signed(value: float | None) -> Markup:
    return NONE if value is None else Markup(f"{value:+.4f}")  # noqa: S704 - digits


def data_table(data: Iterable[DataView]) -> Table:
    """A row for each view."""
    rows = (
        Row((view.view, view.dataset, view.digest, _whole(len(view.labels)), *(_split(view, one) for one in SPLITS)))
        for view in data
    )
    return Table(("view", "dataset", "digest", "classes", *SPLITS), tuple(rows), words=3)


SPLITS = ("train", "validation", "test")


def _split(view: DataView, split: str) -> Markup:
    return _whole(view.images.get(split))


def warnings_table(report: ReportInput) -> Table:
    """What the study's jobs, and it itself, were warned of: a row for each kind."""
    met: dict[str, list[str]] = {}
    details: dict[str, str] = {}
    for variant, run in _runs(report):
        for warning in run.warnings:
            met.setdefault(warning["code"], []).append(variant.name)
            details.setdefault(warning["code"], str(warning.get("detail", "")))
    rows = [Row((code, details[code], _names(names), _whole(len(names)))) for code, names in met.items()]
    rows += [Row((str(one.get("code", "")), str(one.get("detail", "")), "the study", NONE)) for one in report.warnings]
    return Table(("warning", "for example", "met by", "runs"), tuple(rows), words=3)


def _names(names: list[str]) -> str:
    distinct = list(dict.fromkeys(names))
    more = len(distinct) - MOST_NAMES
    return ", ".join(distinct[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def endings_table(report: ReportInput) -> Table:
    """Runs that ended otherwise than with a model, or never began."""
    rows = (
        Row(
            (variant.name, run.state, run.reason or "", _detail(report, run), _whole(run.seed), _whole(run.epochs)),
            run_color(variant.number),
        )
        for variant, run in _runs(report)
        if run.state in {"FAILED", "CANCELLED", "SKIPPED"}
    )
    return Table(("run", "state", "reason", "detail", "seed", "epochs"), tuple(rows), words=4)


def _detail(report: ReportInput, run: RunFigures) -> str:
    record = report.jobs.get(run.job) if run.job else None
    return record.detail or "" if record else ""


def jobs_table(report: ReportInput) -> Table:
    """By which each run can be found and repeated: the first MOST_RUNS."""
    rows = [
        Row((variant.name, run.job, _hash(report, run.job), "yes" if run.reused else "no", _whole(run.seed)))
        for variant, run in _runs(report)
        if run.job
    ]
    return Table(("run", "job", "spec hash", "reused", "seed"), tuple(rows[:MOST_RUNS]), words=4)


def _hash(report: ReportInput, job: str) -> str:
    return report.jobs[job].spec_hash if job in report.jobs else ""


def environments_table(environments: Iterable[EnvironmentUse]) -> Table:
    """What runs were trained with, most used first."""
    rows = (
        Row(
            (
                _versions(one.environment),
                _machine(one.environment),
                str(one.environment.get("code_revision") or ""),
                _whole(one.runs),
            )
        )
        for one in sorted(environments, key=lambda one: -one.runs)
    )
    return Table(("versions", "machine", "code", "runs"), tuple(rows), words=3)


def _versions(environment: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in environment.get("versions", {}).items())


def _machine(environment: Mapping[str, Any]) -> str:
    devices = ", ".join(map(str, environment.get("devices", ())))
    threads = f"{environment['threads']} threads" if "threads" in environment else ""
    return "; ".join(filter(None, (str(environment.get("processor") or ""), devices, threads)))


def _runs(report: ReportInput) -> Iterator[tuple[VariantFigures, RunFigures]]:
    return ((variant, run) for variant in report.material.figures.variants for run in variant.runs)
