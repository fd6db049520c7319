"""`kerasd compare`: jobs side by side."""

from __future__ import annotations

import json
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
    """A row for each job: its own values first, then its metrics, with the delta from the baseline behind each."""
    console.print(_field_table(comparison) if comparison.fields else "the specs do not differ")
    console.print(_metric_table(comparison))


def _field_table(comparison: Comparison) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("job", no_wrap=True)
    for pointer in comparison.fields:
        table.add_column(printable(pointer.lstrip("/")), overflow="fold")
    for job in comparison.jobs:
        own = [_value(values[job.id]) if job.id in values else "" for values in comparison.fields.values()]
        table.add_row(_name(comparison, job), *own)
    return table


def _metric_table(comparison: Comparison) -> Table:
    """Without the metrics that no job has."""
    names = [
        name for name in comparison.jobs[0].metrics if any(job.metrics[name] is not None for job in comparison.jobs)
    ]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("job", no_wrap=True)
    table.add_column("state")
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    for job in comparison.jobs:
        table.add_row(_name(comparison, job), job.state, *(_figure(comparison, job, name) for name in names))
    return table


def _name(comparison: Comparison, job: ComparedJob) -> str:
    short = job.id[-ID_SHOWN:]
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
