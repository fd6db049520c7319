"""`kerasd jobs`, `watch`, `cancel`, `pause`, `resume` and `retry`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

from cyclopts import Parameter, validators
from rich import box
from rich.table import Table
from rich.text import Text

from cli.output import STATE_STYLES, accuracy, age, stdout
from cli.server import ServerUrl, server
from cli.watch import watch_job
from client import Job

StateName = Literal["QUEUED", "RUNNING", "PAUSING", "PAUSED", "CANCELLING", "SUCCEEDED", "FAILED", "CANCELLED"]


def jobs(
    *,
    state: StateName | None = None,
    architecture: str | None = None,
    dataset: str | None = None,
    study: str | None = None,
    tag: str | None = None,
    limit: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 20,
    json: bool = False,
    url: ServerUrl = None,
) -> None:
    """List jobs, newest first.

    Args:
        state: only jobs in this state.
        architecture: only jobs of this architecture.
        dataset: only jobs on this dataset.
        study: only jobs of this study.
        tag: only jobs with this tag, as key or key=value.
        limit: at most so many.
        json: print JSON instead of a table.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    with server(url) as client:
        found = list(
            client.jobs(state=state, architecture=architecture, dataset=dataset, study=study, tag=tag, limit=limit)
        )
    console = stdout()
    if json:
        console.print_json(data=[asdict(job) for job in found], default=str)
    elif found:
        console.print(_table(found))
    else:
        console.print("no jobs")


def watch(job: str, /, *, url: ServerUrl = None) -> int:
    """Follow a job live until it ends. Ctrl-C stops the watching, not the job.

    Args:
        job: the job's id.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    with server(url) as client:
        return watch_job(client, job, stdout())


def cancel(job: str, /, *, keep_best: bool = False, url: ServerUrl = None) -> None:
    """Cancel a job; what it has trained so far is kept as epochs.

    Args:
        job: the job's id.
        keep_best: publish the best epoch so far as a model first.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    with server(url) as client:
        print(f"{job} {client.cancel(job, keep_best=keep_best).state}")


def pause(job: str, /, *, url: ServerUrl = None) -> None:
    """Pause a job: at once while it waits, after its present epoch while it runs.

    Args:
        job: the job's id.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    with server(url) as client:
        print(f"{job} {client.pause(job).state}")


def resume(job: str, /, *, url: ServerUrl = None) -> None:
    """Queue a paused job again; it goes on from its checkpoint.

    Args:
        job: the job's id.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    with server(url) as client:
        print(f"{job} {client.resume(job).state}")


def retry(job: str, /, *, scratch: bool = False, url: ServerUrl = None) -> None:
    """Queue a job that failed or was cancelled again, from its last checkpoint.

    Args:
        job: the job's id.
        scratch: start again at the first epoch.
        url: address of the server; default: where KERASD_HOST and KERASD_PORT say.
    """
    with server(url) as client:
        print(f"{job} {client.retry(job, scratch=scratch).state}")


def _table(found: list[Job]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("id", no_wrap=True)
    for heading in ("state", "architecture", "dataset", "epochs", "val accuracy", "test accuracy", "model", "created"):
        table.add_column(heading)
    for job in found:
        table.add_row(
            job.id,
            Text(
                f"{job.state} {job.reason}" if job.state == "FAILED" else job.state,
                style=STATE_STYLES.get(job.state, ""),
            ),
            job.spec["architecture"]["name"],
            job.spec["dataset"]["name"],
            f"{job.progress.epoch}/{job.progress.epochs}",
            accuracy(job.best_epoch.val_accuracy if job.best_epoch else None),
            accuracy(job.evaluation.test_accuracy if job.evaluation else None),
            f"{job.model.name} {job.model.version}" if job.model else "",
            age(job.created_at),
        )
    return table
