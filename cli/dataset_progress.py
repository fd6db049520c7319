"""How far an upload and an import are: bars in a terminal, single lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from cli.output import duration
from client import Client, Dataset, ImportProgress

TITLE_WIDTH = 10
LINES = 10
"""at most so many tell of one phase where there is no terminal"""

OnProgress = Callable[[int, int], None]


@contextmanager
def bytes_bar(title: str, done_title: str, console: Console) -> Iterator[OnProgress]:
    """Gives what to tell (bytes done, bytes in all): a bar with speed and ETA, or one line at the end."""
    total, started = 0, time.monotonic()
    bar = Progress(
        TextColumn(f"{title:<{TITLE_WIDTH}}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    task = bar.add_task(title)

    def tell(done: int, of: int) -> None:
        nonlocal total
        total = of
        bar.update(task, completed=done, total=of)

    with bar:
        yield tell
    if not console.is_terminal:
        console.print(f"{done_title} {decimal(total)} in {duration(time.monotonic() - started)}")


def follow_import(client: Client, dataset: Dataset, console: Console) -> Dataset:
    """Shows the import until it has ended. Returns the dataset as it is then."""
    if dataset.ended:
        return dataset
    if console.is_terminal:
        _follow_bar(client, dataset, console)
    else:
        _follow_lines(client, dataset, console)
    return client.dataset(dataset.name)


def amount(progress: ImportProgress) -> str:
    """How much is done: files, or bytes as long as no files are known, such as while a built-in set is downloaded."""
    if progress.files_total is not None:
        return f"{progress.files_done:,} of {progress.files_total:,} files"
    if progress.files_done:
        return f"{progress.files_done:,} files"
    if progress.bytes_total is not None:
        return f"{decimal(progress.bytes_done)} of {decimal(progress.bytes_total)}"
    return decimal(progress.bytes_done) if progress.bytes_done else ""


def share(progress: ImportProgress) -> float | None:
    """From 0 to 1, by the same measure; None where the end is not known."""
    if progress.files_total is not None or progress.files_done:
        done, total = progress.files_done, progress.files_total
    else:
        done, total = progress.bytes_done, progress.bytes_total
    return min(done / total, 1.0) if total else None


def _follow_bar(client: Client, dataset: Dataset, console: Console) -> None:
    bar = Progress(
        TextColumn(f"{{task.description:<{TITLE_WIDTH}}}"),
        BarColumn(),
        TextColumn("{task.fields[amount]}"),
        TextColumn("ETA {task.fields[eta]}"),
        console=console,
    )
    with bar:
        task = bar.add_task(dataset.progress.phase, total=None, amount="", eta="-")
        _draw(bar, task, dataset.progress)
        for event in client.dataset_events(dataset.name):
            if event.kind == "progress":
                _draw(bar, task, ImportProgress.parse(event.data))


def _draw(bar: Progress, task: TaskID, progress: ImportProgress) -> None:
    done = share(progress)
    bar.update(
        task,
        description=progress.phase,
        total=None if done is None else 1.0,
        completed=done or 0.0,
        amount=amount(progress),
        eta=duration(progress.eta_seconds),
    )


def _follow_lines(client: Client, dataset: Dataset, console: Console) -> None:
    """A line for each phase, and for each tenth of it."""
    shown: tuple[str, int] | None = None
    for event in client.dataset_events(dataset.name):
        if event.kind != "progress":
            continue
        progress = ImportProgress.parse(event.data)
        step = (progress.phase, int((share(progress) or 0.0) * LINES))
        if step != shown:
            shown = step
            console.print(f"{progress.phase}  {amount(progress)}  ETA {duration(progress.eta_seconds)}", soft_wrap=True)
