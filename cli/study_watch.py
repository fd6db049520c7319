"""Following a study: its running jobs, leader board and end, live in a terminal, by single lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cli.configuration import hint
from cli.dataset_view import printable
from cli.failures import FAILED, INTERRUPTED
from cli.output import accuracy, duration
from cli.study_view import leaders_table, state_text, why
from client import ApiError, Client, Epoch, Study, StudyProgress, StudyResults, StudyRun, Unreachable

LOOK_SECONDS = 1.0
MOST_JOBS = 12
"""lines of running jobs"""
LEADERS = 8
MOST_FAILURES = 8
"""named at the end"""
LINES = 10
"""of the whole progress, at most, where there is no terminal"""
MOST_FRUITLESS_LOOKS = 20
"""in a row before giving up, each of some seconds: longer than a server takes to start again"""
BAR_WIDTH = 24

Pause = Callable[[float], None]


@dataclass(frozen=True)
class Seen:
    """The study as of the last look."""

    study: Study
    running: tuple[StudyRun, ...] = ()
    latest: Mapping[str, Epoch] = field(default_factory=dict)
    """the last finished epoch of each running job"""
    results: StudyResults | None = None
    away: bool = False
    """whether the server did not answer since"""


def watch_study(client: Client, study_id: str, console: Console, pause: Pause = time.sleep) -> int:
    """Shows the study until it ends. Returns the exit code: 0 for SUCCEEDED, 130 when the watching was interrupted."""
    try:
        study = client.study(study_id)
        for warning in study.warnings:
            console.print(f"warning: {printable(warning.detail)}", style="yellow", soft_wrap=True)
        if console.is_terminal:
            _follow_live(client, study, console, pause)
        else:
            _follow_lines(client, study, console)
        return _tell_end(client, client.study(study_id), console)
    except KeyboardInterrupt:
        again = hint(f"kerasd study watch {study_id}", client.url)
        console.print(f"stopped watching; the study goes on. See it again with: {again}", soft_wrap=True)
        return INTERRUPTED


def picture(seen: Seen) -> Group:
    study = seen.study
    heading = Text.assemble((printable(study.name), "bold"), f"  {study.id}  ", state_text(study.state))
    parts: list[Text | Table] = [heading]
    if seen.away:
        parts.append(Text("the server does not answer; trying again", style="yellow"))
    parts += [_overall(study.progress), _jobs(seen)]
    if seen.results is not None and any(row.rank is not None for row in seen.results.rows):
        parts.append(leaders_table(seen.results, LEADERS))
    return Group(*parts)


def progress_line(progress: StudyProgress) -> str:
    """How far the whole study is."""
    counts = [
        f"{getattr(progress, name)} {name}"
        for name in ("running", "paused", "pruned", "failed", "cancelled", "skipped", "reused")
        if getattr(progress, name)
    ]
    return "  ".join(
        [
            f"{progress.finished}/{progress.runs} runs",
            f"{progress.epochs}/{progress.epochs_planned} epochs",
            *counts,
            f"ETA {duration(progress.eta_seconds)}",
        ]
    )


def look(client: Client, before: Seen) -> Seen:
    """The study, its running jobs and, where runs have ended since, its results."""
    study = client.study(before.study.id)
    running = tuple(client.study_runs(study.id, state="RUNNING", limit=MOST_JOBS))
    latest = {run.job: epoch for run in running if run.job and (epoch := _last_epoch(client, run, before.latest))}
    results = before.results
    if results is None or study.progress.finished != before.study.progress.finished:
        results = client.study_results(study.id)
    return Seen(study, running, latest, results)


def _last_epoch(client: Client, run: StudyRun, known: Mapping[str, Epoch]) -> Epoch | None:
    """Asks for epochs only where there is a new one."""
    job, progress = run.job, run.progress
    if job is None or progress is None:
        return None
    last = known.get(job)
    # While epoch 3 runs, epoch 2 is the last; one that a crash took back is asked for again.
    if last is not None and last.epoch == progress.epoch - 1:
        return last
    return max(client.epochs(job, after=max(progress.epoch - 2, 0)), key=lambda epoch: epoch.epoch, default=last)


def _follow_live(client: Client, study: Study, console: Console, pause: Pause) -> None:
    """Looks once a second, also over the server's restarts. Raises Unreachable when it stays away."""
    seen, fruitless = Seen(study), 0
    with Live(get_renderable=lambda: picture(seen), console=console, refresh_per_second=4):
        while True:
            try:
                seen, fruitless = look(client, seen), 0
            except (Unreachable, ApiError) as error:
                fruitless += 1
                if fruitless == MOST_FRUITLESS_LOOKS or (isinstance(error, ApiError) and error.status < 500):
                    raise
                seen = Seen(seen.study, seen.running, seen.latest, seen.results, away=True)
            else:
                if seen.study.ended:
                    return
            pause(LOOK_SECONDS)


def _follow_lines(client: Client, study: Study, console: Console) -> None:
    """A line for each run that ends, and for each tenth of the whole."""
    names: dict[int, str] = {}
    shown: tuple[int, int] | None = None
    for event in client.study_events(study.id):
        data = event.data
        if event.kind == "state":
            console.print(f"study {study.id} {data['state']}", soft_wrap=True)
        elif event.kind == "run" and data["state"] != "QUEUED":
            if data["variant"] not in names:  # a search makes variants as it goes
                names = {run.variant: run.name for run in client.study_runs(study.id)}
            told = ": ".join(part for part in (data.get("reason"), data.get("detail")) if part)
            name = printable(names.get(data["variant"], f"variant {data['variant']}"))
            console.print(f"{name}, seed {data['seed']}: {data['state']} {printable(told)}".rstrip(), soft_wrap=True)
        elif event.kind == "progress":
            progress = StudyProgress.parse(data)
            step = (progress.runs, progress.epochs * LINES // max(progress.epochs_planned, 1))
            if step != shown:
                shown = step
                console.print(progress_line(progress), soft_wrap=True)


def _overall(progress: StudyProgress) -> Table:
    row = Table.grid(padding=(0, 2))
    bar = ProgressBar(total=max(progress.epochs_planned, 1), completed=progress.epochs, width=BAR_WIDTH)
    row.add_row(bar, Text(progress_line(progress)))
    return row


def _jobs(seen: Seen) -> Table:
    """One line for each running job."""
    metric = seen.study.objective.metric
    rows = Table.grid(padding=(0, 2))
    for run in seen.running:
        if run.progress is None:
            continue
        progress, steps = run.progress, max(run.progress.steps, 1)
        last = seen.latest.get(run.job or "")
        done = max(progress.epoch - 1, 0) * steps + progress.step
        rows.add_row(
            Text(printable(run.name)),
            f"seed {run.seed}",
            f"epoch {progress.epoch}/{progress.epochs}",
            ProgressBar(total=max(progress.epochs, 1) * steps, completed=done, width=BAR_WIDTH),
            f"step {progress.step}/{progress.steps}",
            "" if last is None else f"{metric} {accuracy(getattr(last, metric, None))}",
        )
    hidden = seen.study.progress.running - len(seen.running)
    if hidden > 0:
        rows.add_row(f"and {hidden} more")
    return rows


def _tell_end(client: Client, study: Study, console: Console) -> int:
    """How the study ended, what it found, and where to read on. Returns the exit code."""
    took = ""
    if study.started_at and study.finished_at:
        took = f" after {duration((study.finished_at - study.started_at).total_seconds())}"
    console.print(Text.assemble(state_text(study.state), took), soft_wrap=True)
    if study.detail:
        console.print(f"  {printable(study.detail)}", soft_wrap=True)
    failed = [
        run for state in ("FAILED", "SKIPPED") for run in client.study_runs(study.id, state=state, limit=MOST_FAILURES)
    ]
    for run in failed[:MOST_FAILURES]:
        console.print(f"  {printable(run.name)}, seed {run.seed}: {run.state} {why(run)}", soft_wrap=True)
    results = client.study_results(study.id)
    if any(row.rank is not None for row in results.rows):
        console.print(leaders_table(results, LEADERS))
    for winner in results.winners:
        console.print(printable(winner.sentence), soft_wrap=True)
    console.print(f"report   {client.url}/api/v1/studies/{study.id}/report", soft_wrap=True)
    console.print(f"         {hint(f'kerasd study report {study.id}', client.url)}", soft_wrap=True)
    console.print(f"effects  {hint(f'kerasd study effects {study.id}', client.url)}", soft_wrap=True)
    return 0 if study.state == "SUCCEEDED" else FAILED
