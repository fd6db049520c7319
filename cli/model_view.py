"""Models in words and tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from cli.dataset_view import printable
from cli.output import accuracy, age
from client import Model, ModelSummary, VersionDetail

LABELS_SHOWN = 10


def model_table(found: Sequence[ModelSummary]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("name", no_wrap=True)
    for heading in ("best", "pinned", "metric", "value", "test accuracy", "versions", "published"):
        table.add_column(heading, justify="right" if heading in ("best", "value", "versions") else "left")
    for each in found:
        metric = each.objective["metric"]
        table.add_row(
            printable(each.name),
            str(each.version),
            "pinned" if each.pinned else "",
            metric,
            accuracy(each.metrics.get(metric)),
            accuracy(each.metrics.get("test_accuracy")),
            str(each.versions),
            age(each.created_at),
        )
    return table


def print_model(model: Model, best: VersionDetail, console: Console) -> None:
    """How it stands, its versions, and the card of the best in short."""
    chosen = "pinned" if model.pinned else "chosen by the rules"
    gate = f"; a new one must beat it by more than {model.margin:g}" if model.margin else ""
    console.print(f"{printable(model.name)}  version {model.best} serves, {chosen}{gate}", soft_wrap=True)
    console.print(_version_table(model))
    console.print(f"card of version {best.version}")
    for name, value in _card(best):
        console.print(f"  {name:12} {value}", soft_wrap=True)


def _version_table(model: Model) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("version", "", "val accuracy", "val loss", "test accuracy", "job", "published"):
        table.add_column(heading, justify="right" if heading == "version" else "left", no_wrap=heading == "job")
    for each in model.versions:
        table.add_row(
            str(each.version),
            "serves" if each.version == model.best else "",
            *(accuracy(each.metrics.get(metric)) for metric in ("val_accuracy", "val_loss", "test_accuracy")),
            each.job,
            age(each.created_at),
        )
    return table


def _card(version: VersionDetail) -> Iterator[tuple[str, str]]:
    card = version.card
    labels = [printable(label) for label in version.labels]
    more = f", and {len(labels) - LABELS_SHOWN:,} more" if len(labels) > LABELS_SHOWN else ""
    yield "data", f"{printable(card['data']['dataset'])}, {card['data']['digest'][:12]}"
    yield "classes", f"{len(labels)}: {', '.join(labels[:LABELS_SHOWN])}{more}"
    yield "size", _size(card["sizes"])
    yield "latency", _latency(card["latency"])
    yield (
        "trained",
        f"job {card['lineage']['job']}, attempt {card['lineage']['attempts']}, spec {card['lineage']['spec_hash'][:12]}",
    )
    if donor := card["lineage"]["donor"]:
        yield "started from", f"{printable(donor['model'])} version {donor['version']}"


def _size(sizes: Mapping[str, Any]) -> str:
    parameters = sizes["parameters"]
    known = "" if parameters is None else f"{parameters:,} parameters, "
    return f"{known}{decimal(sizes['onnx_bytes'])} as ONNX"


def _latency(latency: Mapping[str, Any] | None) -> str:
    if latency is None:
        return "not measured"
    many = latency["batch_32_ms"]
    together = "" if many is None else f", {many:.3g} ms for 32"
    return f"{latency['batch_1_ms']:.3g} ms for one image{together} ({latency['threads']} threads)"
