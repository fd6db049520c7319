"""Following a job: live bars and curves in a terminal, one line an epoch elsewhere."""

from __future__ import annotations

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cli.charts import sparkline
from cli.configuration import hint
from cli.failures import FAILED, INTERRUPTED
from cli.history import History
from cli.output import STATE_STYLES, accuracy, curves_url, duration, is_ascii, predict_command
from client import Client, Job

BAR_WIDTH = 40
REDRAWS_A_SECOND = 8
SPARKS = ("val_accuracy", "val_loss")


def watch_job(client: Client, job_id: str, console: Console) -> int:
    """Shows the job until it ends. Returns the exit code: 0 for SUCCEEDED, 130 when the watching was interrupted."""
    try:
        job, _ = follow(client, job_id, console)
    except KeyboardInterrupt:
        console.print(
            f"stopped watching; the job goes on. See it again with: {hint(f'kerasd watch {job_id}', client.url)}",
            soft_wrap=True,
        )
        return INTERRUPTED
    for line in summary(job, client.url):
        console.print(line, soft_wrap=True)
    return 0 if job.state == "SUCCEEDED" else FAILED


def follow(client: Client, job_id: str, console: Console) -> tuple[Job, History]:
    """Shows the job until it ends. Returns how it ended and what was seen."""
    job = client.job(job_id)
    for warning in job.warnings:
        console.print(f"warning: {warning.detail}", style="yellow", soft_wrap=True)
    history = _follow_live(client, job, console) if console.is_terminal else _follow_lines(client, job, console)
    return client.job(job_id), history


def summary(job: Job, url: str, *, predict: bool = True) -> list[Text]:
    """How a job ended, and what can be done with it now."""
    took = ""
    if job.started_at and job.finished_at:
        took = f" after {duration((job.finished_at - job.started_at).total_seconds())}"
    lines = [Text.assemble((job.state, f"bold {STATE_STYLES.get(job.state, '')}"), took)]
    why = ": ".join(part for part in (job.reason, job.detail) if part)
    if why:
        lines.append(Text(f"  {why}"))
    if job.evaluation is not None:
        lines.append(Text(f"  test accuracy  {job.evaluation.test_accuracy:.4f}"))
    if job.model is not None:
        lines.append(Text(f"  model          {job.model.name} version {job.model.version}"))
    if job.best_epoch is not None:
        lines.append(Text(f"  curves         {curves_url(url, job.id)}"))
    if predict and (command := predict_command(url, job)):
        lines.append(Text(f"  predict        {command}"))
    return lines


def epoch_line(history: History, epochs: int) -> str:
    """The last finished epoch in one line."""
    last = history.last
    if last is None:
        return ""
    width = len(str(epochs))
    return (
        f"epoch {last.epoch:>{width}}/{epochs}  loss {accuracy(last.loss)}  accuracy {accuracy(last.accuracy)}"
        f"  val_loss {accuracy(last.val_loss)}  val_accuracy {accuracy(last.val_accuracy)}"
        f"  {last.images_per_second:,.0f} images/s  ETA {duration(history.eta_seconds(epochs))}"
    )


def _follow_lines(client: Client, job: Job, console: Console) -> History:
    history, epochs = History(), job.progress.epochs
    for event in client.events(job.id):
        before, history = history, history.after(event)
        if history.state != before.state and event.kind == "state":
            console.print(f"job {job.id} {history.state}", soft_wrap=True)
        if event.kind == "epoch":
            console.print(epoch_line(history, epochs), soft_wrap=True)
        if event.kind == "warning":
            console.print(f"warning: {history.notices[-1]}", soft_wrap=True)
    return history


def _follow_live(client: Client, job: Job, console: Console) -> History:
    history = History(state=job.state)
    ascii_only = is_ascii(console)

    def now() -> Group:
        return picture(job, history, ascii_only=ascii_only)

    with Live(get_renderable=now, console=console, refresh_per_second=REDRAWS_A_SECOND):
        for event in client.events(job.id):
            history = history.after(event)
    return history


def picture(job: Job, history: History, *, ascii_only: bool) -> Group:
    spec = job.spec
    heading = Text.assemble(
        (f"{spec['architecture']['name']} on {spec['dataset']['name']}", "bold"),
        f"  {job.id}  ",
        (history.state, STATE_STYLES.get(history.state, "")),
    )
    notices = [Text(f"warning: {notice}", style="yellow") for notice in history.notices]
    return Group(heading, _bar(job, history), *notices, _curves(history, ascii_only=ascii_only))


def _bar(job: Job, history: History) -> Table:
    progress = history.progress or job.progress
    epoch, step = progress.epoch, progress.step
    if history.last is not None and history.last.epoch >= epoch:
        epoch, step = history.last.epoch, progress.steps
    steps = max(progress.steps, 1)
    done = max(epoch - 1, 0) * steps + step
    row = Table.grid(padding=(0, 2))
    row.add_row(
        f"epoch {epoch}/{progress.epochs}",
        ProgressBar(total=progress.epochs * steps, completed=done, width=BAR_WIDTH),
        f"step {step}/{progress.steps}",
        "" if history.last is None else f"{history.last.images_per_second:,.0f} images/s",
        f"ETA {duration(history.eta_seconds(progress.epochs))}",
    )
    return row


def _curves(history: History, *, ascii_only: bool) -> Table:
    rows = Table.grid(padding=(0, 2))
    if history.last is None:
        return rows
    rows.add_row(
        "accuracy", Text(sparkline(history.curve("accuracy"), ascii_only=ascii_only)), accuracy(history.last.accuracy)
    )
    for metric in SPARKS:
        line = Text(sparkline(history.curve(metric), ascii_only=ascii_only), style="cyan")
        rows.add_row(metric, line, accuracy(getattr(history.last, metric)))
    best = history.best()
    if best is not None:
        rows.add_row("best", Text(f"val_accuracy {accuracy(best.val_accuracy)} in epoch {best.epoch}"), "")
    return rows
