"""Memory, descriptors and WAL size while the soak runs, and whether they stayed flat."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from killing import WORKERS
from stack import Stack

WARM_SHARE = 0.1
"""of the samples, at the beginning, that do not count"""
MIB = 1 << 20


@dataclass(frozen=True)
class Tolerance:
    """The last third's median may exceed the first third's by this factor and this amount."""

    factor: float
    amount: float


TOLERANCES = {
    "API memory (MiB)": Tolerance(1.15, 16),
    "worker memory (MiB)": Tolerance(1.15, 16),
    "API descriptors": Tolerance(1.0, 16),
    "worker descriptors": Tolerance(1.0, 16),
    "WAL (MiB)": Tolerance(1.5, 8),
}


@dataclass
class Samples:
    stack: Stack
    series: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in TOLERANCES})

    def take(self) -> None:
        """Of the processes that run now; those that were just killed are left out."""
        for kind, names in (("API", ("api",)), ("worker", WORKERS)):
            for name in names:
                with contextlib.suppress(psutil.Error, KeyError):
                    process = psutil.Process(self.stack.pid(name))
                    self.series[f"{kind} memory (MiB)"].append(process.memory_info().rss / MIB)
                    self.series[f"{kind} descriptors"].append(process.num_fds())
        wal = Path(f"{self.stack.settings.data_dir / 'kerasd.sqlite3'}-wal")
        with contextlib.suppress(FileNotFoundError):
            self.series["WAL (MiB)"].append(wal.stat().st_size / MIB)

    def peaks(self) -> dict[str, float]:
        return {name: round(max(values), 1) for name, values in self.series.items() if values}

    def growth(self) -> list[str]:
        """What did not stay flat, in words."""
        return [text for name, values in self.series.items() if (text := _growth(name, values))]

    def thirds(self) -> dict[str, tuple[float, float]]:
        """Medians of the first and the last third, after the warm-up."""
        return {name: _thirds(values) for name, values in self.series.items() if len(values) >= 10}


def _growth(name: str, values: Sequence[float]) -> str | None:
    if len(values) < 10:
        return None
    first, last = _thirds(values)
    tolerance = TOLERANCES[name]
    if last <= first * tolerance.factor + tolerance.amount:
        return None
    return f"{name} grew from {first:.1f} to {last:.1f}"


def _thirds(values: Sequence[float]) -> tuple[float, float]:
    counted = values[int(len(values) * WARM_SHARE) :]
    third = max(1, len(counted) // 3)
    return statistics.median(counted[:third]), statistics.median(counted[-third:])
