"""A report as HTML and as Markdown, from one content: everything that people wrote is escaped by the templates."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from service.models.markdown import escaped
from service.studies.report.illustrations import illustrations_of
from service.studies.report.subject import ReportInput
from service.studies.report.tables import (
    MOST_RUNS,
    Table,
    data_table,
    effects_table,
    endings_table,
    environments_table,
    jobs_table,
    results_table,
    warnings_table,
)

if TYPE_CHECKING:
    from jinja2 import Environment


def html_report(report: ReportInput) -> str:
    """One page: pictures and styles are in it, nothing is fetched and nothing runs."""
    return _environment(markdown=False).get_template("report.html.jinja").render(_content(report))


def markdown_report(report: ReportInput) -> str:
    """The same, its pictures in it as data addresses at the end."""
    return _environment(markdown=True).get_template("report.md.jinja").render(_content(report))


@cache
def _environment(*, markdown: bool) -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("service.studies.report"),
        autoescape=not markdown,  # noqa: S701 - Markdown is escaped by its own rules, below
        finalize=_for_markdown if markdown else None,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _for_markdown(value: Any) -> Any:
    """What Jinja does by itself for HTML: all but Markup is escaped."""
    return value if isinstance(value, Markup) else escaped(str(value))


@dataclass(frozen=True)
class FactorSection:
    """What became of one factor."""

    label: str
    sentences: list[str]
    table: Table


def _content(report: ReportInput) -> dict[str, Any]:
    effects = report.material.effects
    return {
        "report": report,
        "facts": list(_facts(report)),
        "runs": sum(len(variant.runs) for variant in report.material.figures.variants),
        "results": results_table(report.material.results),
        "winners": report.winners,
        "effects": effects,
        "notes": effects.warnings if effects else (),
        "factors": list(_factors(report)),
        "data": data_table(report.data),
        "classes": [(view.view, ", ".join(view.labels)) for view in report.data],
        "illustrations": list(illustrations_of(report.material)),
        "warnings": warnings_table(report),
        "endings": endings_table(report),
        "environments": environments_table(report.environments),
        "jobs": jobs_table(report),
        "most_jobs": MOST_RUNS,
        "spec": json.dumps(report.spec, indent=2, ensure_ascii=False),
        "raw": Markup,
        "breakable": Markup("_<wbr>"),
    }


def _facts(report: ReportInput) -> Iterator[tuple[str, str]]:
    figures = report.material.figures
    runs = [run for variant in figures.variants for run in variant.runs]
    finished = sum(run.state == "SUCCEEDED" for run in runs)
    yield "study", report.id
    yield "state", f"{report.state}: {report.detail}" if report.detail else report.state
    yield "runs", f"{finished} of {len(runs)} finished, {len(figures.variants)} variants"
    yield (
        "objective",
        f"{figures.objective.metric}, {'larger' if figures.objective.direction == 'max' else 'smaller'} is better",
    )
    if figures.target is not None:
        yield "target", f"{figures.target:g}"
    yield "created", _moment(report.created_at)
    if report.started_at:
        yield "started", _moment(report.started_at)
    if report.finished_at:
        yield "finished", _moment(report.finished_at)
    yield "written", _moment(report.written_at)


def _moment(moment: datetime) -> Markup:
    return Markup(f"{moment:%Y-%m-%d %H:%M} UTC")  # noqa: S704 - digits


def _factors(report: ReportInput) -> Iterator[FactorSection]:
    effects = report.material.effects
    for factor in effects.factors if effects else ():
        own = [effect for effect in effects.effects if effect.factor == factor.name] if effects else []
        own.sort(key=lambda effect: effect.context is not None)  # what holds over all contexts comes first
        if own:
            yield FactorSection(factor.label, [effect.sentence for effect in own], effects_table(own))
