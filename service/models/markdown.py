"""A version's card as a Markdown document. Labels come out of uploads: what Markdown would take for its own is escaped."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from service.models.cards import CardView, ClassFiguresView, LatencyView, VersionDetailView

LARGEST_MATRIX = 20
"""classes of a confusion matrix that is still readable"""

MOST_CONFUSIONS = 10

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~&-])")


def card_markdown(version: VersionDetailView) -> str:
    card = version.card
    parts = (
        f"# {escaped(version.name)}, version {version.version}",
        *_data(version),
        *_results(card),
        *_classes(card),
        *_serving(card),
        *_lineage(card),
        *_spec(card),
    )
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """As Markdown shows it letter for letter, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _data(version: VersionDetailView) -> Iterator[str]:
    data, shape = version.card.data, version.input_shape
    size = "x".join(str(shape[side]) for side in ("height", "width", "channels"))
    yield f"{escaped(version.architecture)}, trained on {escaped(data.view)}, published {version.created_at:%Y-%m-%d %H:%M} UTC."
    yield "## Data"
    yield _table(
        ("", ""),
        [
            ("dataset", escaped(data.dataset)),
            ("view", escaped(data.view)),
            ("digest", f"`{data.digest}`"),
            ("classes", str(len(version.labels))),
            ("input", f"{size}, pixels 0-255"),
        ],
    )


def _results(card: CardView) -> Iterator[str]:
    yield "## Results"
    rows = [(name, _number(card.metrics.get(name))) for name in _METRICS]
    yield _table(("metric", "value"), rows)
    yield f"The published epoch is number {card.metrics.get('epoch', '-')}; the objective was {card.objective['metric']} ({card.objective['direction']})."


_METRICS = ("loss", "accuracy", "val_loss", "val_accuracy", "test_loss", "test_accuracy")


def _classes(card: CardView) -> Iterator[str]:
    yield "## Classes"
    yield _table(
        ("label", "precision", "recall", "F1", "test images"), [_class_row(figures) for figures in card.per_class]
    )
    confusions = sorted(_confusions(card.labels, card.confusion_matrix), reverse=True)[:MOST_CONFUSIONS]
    if confusions:
        yield "Taken for another most often:"
        yield "\n".join(f"- {escaped(truth)} for {escaped(said)}: {count}" for count, truth, said in confusions)
    if len(card.labels) <= LARGEST_MATRIX:
        yield "Confusion matrix of the test images (rows: truth, columns: predicted):"
        labels = [escaped(label) for label in card.labels]
        rows = zip(labels, card.confusion_matrix, strict=True)
        yield _table(("", *labels), [(label, *map(str, counts)) for label, counts in rows])


def _class_row(figures: ClassFiguresView) -> tuple[str, ...]:
    shares = (f"{value:.3f}" for value in (figures.precision, figures.recall, figures.f1))
    return (escaped(figures.label), *shares, str(figures.support))


def _confusions(labels: Sequence[str], matrix: Sequence[Sequence[int]]) -> Iterator[tuple[int, str, str]]:
    for truth, counts in zip(labels, matrix, strict=True):
        for said, count in zip(labels, counts, strict=True):
            if count and said != truth:
                yield count, truth, said


def _serving(card: CardView) -> Iterator[str]:
    yield "## Size and speed"
    parameters = card.sizes.parameters
    yield _table(
        ("", ""),
        [
            ("parameters", "not recorded" if parameters is None else f"{parameters:,}"),
            ("ONNX", f"{card.sizes.onnx_bytes:,} bytes"),
            ("weights", f"{card.sizes.weights_bytes:,} bytes"),
            *_speeds(card.latency),
            ("difference from Keras", _difference(card.parity)),
        ],
    )


def _speeds(latency: LatencyView | None) -> Iterator[tuple[str, str]]:
    if latency is None:
        yield "ONNX Runtime", "not measured"
        return
    threads = f"{latency.threads} thread{'s' if latency.threads != 1 else ''}"
    yield f"one image, {threads}", f"{latency.batch_1_ms:.3g} ms"
    yield f"32 images, {threads}", "-" if latency.batch_32_ms is None else f"{latency.batch_32_ms:.3g} ms"


def _difference(parity: dict[str, Any]) -> str:
    """Largest of the logits; the tolerance is what publishing allows."""
    found, allowed = parity.get("max_difference"), parity.get("tolerance")
    return f"{_number(found)} in logits, {_number(allowed)} allowed, on {parity.get('images', '-')} images"


def _lineage(card: CardView) -> Iterator[str]:
    lineage = card.lineage
    environment = lineage.environment or {}
    rows = [
        ("job", f"`{lineage.job}`"),
        ("spec", f"`{lineage.spec_hash}`"),
        ("attempts", str(lineage.attempts)),
        ("started from", _start(card)),
        ("processor", escaped(str(environment.get("processor", "-")))),
        ("devices", escaped(", ".join(environment.get("devices", ())) or "-")),
        ("threads", str(environment.get("threads", "-"))),
        ("code", f"`{environment.get('code_revision') or '-'}`"),
    ]
    rows += [(escaped(name), escaped(version)) for name, version in environment.get("versions", {}).items()]
    yield "## Lineage"
    yield _table(("", ""), rows)


def _start(card: CardView) -> str:
    donor = card.lineage.donor
    if donor is not None:
        return f"{escaped(donor.model)}, version {donor.version} (job `{donor.job}`)"
    weights = card.spec["architecture"].get("weights")
    return f"published weights ({weights})" if weights == "imagenet" else "random weights"


def _spec(card: CardView) -> Iterator[str]:
    yield "## Spec"
    yield "```json\n" + json.dumps(card.spec, indent=2, ensure_ascii=False) + "\n```"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = (heading, ["---"] * len(heading), *rows)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
