"""Counting into buckets, cheap enough for each request."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

_FINE = (1, 1.25, 1.6, 2, 2.5, 3.2, 4, 5, 6.3, 8)
_COARSE = (1, 2, 5)
_DECADES = range(-4, 1)

SECONDS = (*(float(f"{step}e{decade}") for decade in _DECADES for step in _FINE), 10.0)
"""bounds of buckets from 0.1 ms to 10 s, a tenth of a decade each (Renard's series)"""

COARSE_SECONDS = (*(float(f"{step}e{decade}") for decade in _DECADES for step in _COARSE), 10.0)
"""those of them that metrics tell"""

IMAGES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)


class Histogram:
    """How many values lay up to each bound, and above the last; and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def copy(self) -> Histogram:
        copied = Histogram(self.bounds)
        copied.counts, copied.total = list(self.counts), self.total
        return copied


def cumulative(histogram: Histogram, bounds: Sequence[float]) -> list[tuple[str, float]]:
    """As Prometheus has it: for each of `bounds`, which are among the histogram's, how many values lay up to it; and all."""
    result: list[tuple[str, float]] = []
    wanted = set(bounds)
    so_far = 0
    for bound, count in zip(histogram.bounds, histogram.counts, strict=False):
        so_far += count
        if bound in wanted:
            result.append((f"{bound:g}", so_far))
    return [*result, ("+Inf", so_far + histogram.counts[-1])]


def quantile(counts: Sequence[int], bounds: Sequence[float], fraction: float) -> float | None:
    """Where that fraction of the values lies below, even within a bucket; the last bound for those above it. None of none."""
    rank = fraction * sum(counts)
    if rank == 0:
        return None
    below = 0.0
    for count, low, high in zip(counts, (0.0, *bounds), bounds, strict=False):
        if below + count >= rank:
            return low + (high - low) * (rank - below) / count
        below += count
    return bounds[-1]
