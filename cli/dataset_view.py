"""Datasets in words and tables. Labels and file names come out of uploads: what could steer a terminal is escaped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from cli.configuration import hint
from cli.output import age, duration, is_ascii
from client import ClassCounts, Dataset, Fault, FileFault, ImageCounts

STATE_STYLES = {"READY": "green", "REJECTED": "red", "IMPORTING": "cyan"}
ERRORS_SHOWN = 20
LABELS_SHOWN = 10
BAR_WIDTH = 30
UPLOAD_POINTER = "/file/"


def printable(text: str) -> str:
    """The text with all characters escaped that are no ordinary ones: control codes, reversals of direction."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def dataset_table(found: Sequence[Dataset]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("name", no_wrap=True)
    for heading in ("state", "classes", "images", "size", "created"):
        table.add_column(heading, justify="left" if heading in ("state", "created") else "right")
    for dataset in found:
        ready = dataset.state == "READY"
        table.add_row(
            dataset.name,
            Text(dataset.state, style=STATE_STYLES.get(dataset.state, "")),
            f"{len(dataset.classes):,}" if ready else "-",
            f"{dataset.images.total:,}" if ready and dataset.images else "-",
            "-" if dataset.bytes is None else decimal(dataset.bytes),
            age(dataset.created_at),
        )
    return table


def print_outcome(dataset: Dataset, url: str, console: Console) -> None:
    """How an import ended, and what can be done with the dataset now."""
    console.print(_heading(dataset))
    if dataset.state == "REJECTED":
        print_errors(dataset.errors, dataset.errors_total, console)
        return
    for name, value in _contents(dataset):
        _print_field(name, value, console)
    _print_warnings(dataset, console)
    _print_field("train", hint(f"kerasd train --architecture lenet --dataset {dataset.name} --watch", url), console)


def print_dataset(dataset: Dataset, console: Console) -> None:
    """Everything that is known of it."""
    console.print(_heading(dataset))
    for name, value in (*_origin(dataset), *_contents(dataset), *_figures(dataset)):
        _print_field(name, value, console)
    _print_warnings(dataset, console)
    if dataset.classes:
        console.print(_class_table(dataset.classes, ascii_only=is_ascii(console)))
    print_errors(dataset.errors, dataset.errors_total, console)
    if dataset.report is not None:
        print_errors(dataset.report.skipped_files, dataset.report.skipped, console, title="skipped")


def print_errors(faults: Sequence[FileFault], total: int, console: Console, *, title: str = "file") -> None:
    """The first of the faults as a table, and how many more there are."""
    if not faults:
        return
    shown = faults[:ERRORS_SHOWN]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in (title, "what is wrong", "code"):
        table.add_column(heading, overflow="fold")
    for fault in shown:
        table.add_row(printable(fault.file), printable(fault.detail), fault.code)
    console.print(table)
    if total > len(shown):
        console.print(f"and {total - len(shown):,} more")


def file_faults(faults: Sequence[Fault]) -> list[FileFault]:
    """Faults of a refused upload, whose pointers are `/file/` and the path in there."""
    return [
        FileFault(
            fault.pointer.removeprefix(UPLOAD_POINTER).replace("~1", "/").replace("~0", "~"), fault.code, fault.detail
        )
        for fault in faults
    ]


def _heading(dataset: Dataset) -> Text:
    after = ""
    if dataset.finished_at is not None:
        after = f" after {duration((dataset.finished_at - dataset.created_at).total_seconds())}"
    heading = Text.assemble(
        (dataset.name, "bold"), "  ", (dataset.state, f"bold {STATE_STYLES.get(dataset.state, '')}"), after
    )
    return heading if not dataset.detail else Text.assemble(heading, "\n  ", printable(dataset.detail))


def _origin(dataset: Dataset) -> Iterator[tuple[str, str]]:
    source = dataset.source
    if "builtin" in source:
        yield "source", f"built-in {source['builtin']}"
    else:
        files = ", ".join(printable(str(file)) for file in source.get("files", ()))
        yield "source", f"{files} ({decimal(source['bytes'])})" if "bytes" in source else files
    yield "created", age(dataset.created_at)


def _contents(dataset: Dataset) -> Iterator[tuple[str, str]]:
    if dataset.state != "READY":
        return
    if dataset.images is not None:
        yield "images", _in_splits(dataset.images)
    labels = [printable(entry.label) for entry in dataset.classes]
    more = ", …" if len(labels) > LABELS_SHOWN else ""
    yield "classes", f"{len(labels):,}: {', '.join(labels[:LABELS_SHOWN])}{more}"
    if dataset.report is not None and dataset.report.skipped:
        yield "skipped", f"{dataset.report.skipped:,} damaged files"


def _figures(dataset: Dataset) -> Iterator[tuple[str, str]]:
    sizes = dataset.image_sizes
    if sizes is not None:
        smallest, largest = ("{} x {}".format(*size) for size in (sizes.smallest, sizes.largest))
        mixed = f"{smallest} to {largest}, {sizes.distinct:,} different (height x width)"
        yield "sizes", f"{smallest} (height x width)" if sizes.uniform else mixed
    if dataset.channels is not None:
        yield "colour", "grayscale" if dataset.channels == 1 else "RGB"
    for name, values in (dataset.channel_statistics or {}).items():
        yield name, "  ".join(f"{value:.2f}" for value in values)
    if dataset.digest is not None:
        yield "digest", dataset.digest
    if dataset.bytes is not None:
        yield "stored", decimal(dataset.bytes)


def _in_splits(counts: ImageCounts) -> str:
    splits = {"train": counts.train, "validation": counts.validation, "test": counts.test}
    return ", ".join(f"{number:,} {name}" for name, number in splits.items() if number is not None)


def _class_table(classes: Sequence[ClassCounts], *, ascii_only: bool) -> Table:
    """One row a class, with a bar as long as its images are many."""
    most = max(1, *(entry.total for entry in classes))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("class", overflow="fold")
    for heading in ("train", "validation", "test"):
        table.add_column(heading, justify="right")
    table.add_column("", no_wrap=True)
    for entry in classes:
        counts = (entry.train, entry.validation, entry.test)
        length = max(round(entry.total / most * BAR_WIDTH), 1 if entry.total else 0)
        bar = ("#" if ascii_only else "█") * length
        table.add_row(
            printable(entry.label), *("-" if n is None else f"{n:,}" for n in counts), Text(bar, style="cyan")
        )
    return table


def _print_warnings(dataset: Dataset, console: Console) -> None:
    for warning in dataset.warnings:
        console.print(f"  warning   {printable(warning.detail)}", style="yellow", soft_wrap=True)


def _print_field(name: str, value: str, console: Console) -> None:
    console.print(f"  {name:<8}  {value}", soft_wrap=True)
