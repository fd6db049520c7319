"""The comparison of architectures that papers print: computed from their layer specs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from core.bases import BASES, Base
from core.layers import (
    Activation,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    GlobalAveragePooling2D,
    LayerSpec,
    NetworkSummary,
    Pooling2D,
    Residual,
    Shape,
)

COLUMNS = (
    "architecture",
    "layers",
    "filter_sizes",
    "activation",
    "parameters",
    "trainable_parameters",
    "input_size",
    "pooling",
    "dropout",
    "batch_norm",
)


@dataclass(frozen=True)
class Compared:
    """One architecture of the table."""

    label: str
    layers: Sequence[LayerSpec]
    input_shape: Shape
    summary: NetworkSummary

    def row(self) -> dict[str, Any]:
        flat = list(_flat(self.layers))
        kernels = {layer.kernel for layer in flat if isinstance(layer, Conv2D)}
        bases = [BASES[layer.base].keras_name for layer in flat if isinstance(layer, Base)]
        return {
            "architecture": self.label,
            "layers": depth(self.layers),
            "filter_sizes": [f"{size}x{size}" for size in sorted(kernels, reverse=True)] + bases,
            "activation": _distinct(
                layer.activation
                for layer in flat
                if isinstance(layer, Conv2D | Dense | Activation) and layer.activation
            ),
            "parameters": self.summary.parameters,
            "trainable_parameters": self.summary.trainable_parameters,
            "input_size": "x".join(map(str, self.input_shape)),
            "pooling": _distinct(
                _pooling(layer) for layer in flat if isinstance(layer, Pooling2D | GlobalAveragePooling2D)
            ),
            "dropout": [layer.rate for layer in flat if isinstance(layer, Dropout)],
            "batch_norm": any(isinstance(layer, BatchNormalization) for layer in flat),
        }


def depth(layers: Iterable[LayerSpec]) -> int:
    """Layers with weights on the longest way through: convolutions and dense layers, as publications count them."""
    total = 0
    for layer in layers:
        if isinstance(layer, Residual):
            total += max(depth(layer.main), depth(layer.shortcut))
        elif isinstance(layer, Base):
            total += sum(not each.statistics for each in BASES[layer.base].layers)
        else:
            total += isinstance(layer, Conv2D | Dense)
    return total


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_cell(row[column]) for column in COLUMNS] for row in rows)
    return text.getvalue()


def as_markdown(rows: Sequence[dict[str, Any]]) -> str:
    lines = [COLUMNS, ("---",) * len(COLUMNS), *([_cell(row[column]) for column in COLUMNS] for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _pooling(layer: Pooling2D | GlobalAveragePooling2D) -> str:
    return f"{layer.kind} {layer.size}x{layer.size}" if isinstance(layer, Pooling2D) else "global average"


def _flat(layers: Iterable[LayerSpec]) -> Iterator[LayerSpec]:
    for layer in layers:
        if isinstance(layer, Residual):
            yield from _flat(layer.main)
            yield from _flat(layer.shortcut)
        else:
            yield layer


def _distinct(values: Iterable[str]) -> list[str]:
    """Each once, in order of appearance."""
    return list(dict.fromkeys(values))
