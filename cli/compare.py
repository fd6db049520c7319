"""`kerasd compare`: jobs side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from cli.dataset_view import printable
from cli.failures import CommandFailed
from cli.output import stdout
from cli.server import ServerUrl, server
from client.comparisons import ComparedJob, Comparison

ID_SHOWN = 8
"""characters from the end of an id: those of one hour begin alike"""

MOST_ABREAST = 4
"""jobs that fit side by side"""


def compare(
    *jobs: str,
    baseline: str | None = None,
    csv: bool = False,
    svg: Path | None = None,
    url: ServerUrl = None,
) -> None:
    """Set jobs side by side: the spec fields that differ, what each reached, and how far it is from the baseline.

    Args:
        jobs: the jobs' ids, up to 1,000.
        baseline: the job that the others are held against; default: the first.
        csv: print CSV with a line for each job instead of tables.
        svg: also write the curves to this file.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    with server(url) as client:
        if csv:
            print(client.comparison_file(jobs, "csv", baseline=baseline).decode(), end="")
        else:
            print_comparison(client.compare(jobs, baseline=baseline), stdout())
        if svg is not None:
            try:
                svg.write_bytes(client.comparison_file(jobs, "svg", baseline=baseline))
            except OSError as error:
                raise CommandFailed(f"cannot write {svg}: {(error.strerror or str(error)).lower()}") from None


def print_comparison(comparison: Comparison, console: Console) -> None:
    """What differs and what was reached, with the delta from the baseline behind each figure."""
    console.print(_table(_fields(comparison)) if comparison.fields else "the specs do not differ")
    console.print(_table(_metrics(comparison)))


def _fields(comparison: Comparison) -> list[list[str]]:
    """A heading, then a line for each job."""
    heading = ["job", *(printable(pointer.lstrip("/")) for pointer in comparison.fields)]
    own = [[_value(job.spec[at]) if at in job.spec else "" for at in comparison.fields] for job in comparison.jobs]
    return [heading, *([_name(comparison, job), *values] for job, values in zip(comparison.jobs, own, strict=True))]


def _metrics(comparison: Comparison) -> list[list[str]]:
    """The same; without the metrics that no job has."""
    first, *_ = comparison.jobs
    names = [name for name in first.metrics if any(job.metrics[name] is not None for job in comparison.jobs)]
    lines = [
        [_name(comparison, job), job.state, *(_figure(comparison, job, name) for name in names)]
        for job in comparison.jobs
    ]
    return [["job", "state", *(name.replace("_", " ") for name in names)], *lines]


def _table(lines: Sequence[Sequence[str]]) -> Table:
    """Few jobs stand side by side, a column each; many below one another."""
    heading, *rows = lines if len(lines) > 1 + MOST_ABREAST else list(zip(*lines, strict=True))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in heading:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _name(comparison: Comparison, job: ComparedJob) -> str:
    short = printable(job.id[-ID_SHOWN:])
    return f"{short} (baseline)" if job.id == comparison.baseline else short


def _figure(comparison: Comparison, job: ComparedJob, name: str) -> str:
    value, delta = job.metrics[name], job.deltas[name]
    if value is None:
        return "-"
    shown = f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
    if job.id == comparison.baseline or delta is None:
        return shown
    return f"{shown} ({delta:+,})" if isinstance(delta, int) else f"{shown} ({delta:+,.3g})"


def _value(value: object) -> str:
    return printable(value if isinstance(value, str) else json.dumps(value))
