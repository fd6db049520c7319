"""Which epochs of long histories are told."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from core.repositories.comparisons import CURVES, EpochTotals, Point, Sampling
from service.comparisons.comparison import Curves, Downsampling

POINTS_OF_A_JOB = 1_000
POINTS_IN_ALL = 50_000


def sampling_of(jobs: int) -> Sampling:
    """How densely so many jobs are told."""
    return Sampling(min(POINTS_OF_A_JOB, POINTS_IN_ALL // jobs))


def curves_of(points: Sequence[Point], best_epoch: Mapping[str, Any] | None) -> Curves:
    """The chosen epochs and the best one, which the job has with its values."""
    if best_epoch and points:
        best = tuple(best_epoch[name] for name in ("epoch", *CURVES))
        place = bisect(points, best[0], key=lambda point: point[0])
        if points[place - 1][0] != best[0]:
            points = [*points[:place], best, *points[place:]]
    return Curves(*zip(*points, strict=True))


def describe(totals: Collection[EpochTotals], sampling: Sampling, points: int) -> Downsampling | None:
    """What is said of it; None where nothing is left out."""
    strides = {sampling.stride(each.last) for each in totals} - {1}
    if not strides:
        return None
    few, many = min(strides), max(strides)
    divisor = f"{few}" if few == many else f"a power of two ({few} to {many}, the longer the job the greater)"
    method = f"stride: of a job with more than {sampling.most:,} epochs those that {divisor} divides, the first, last and best"
    return Downsampling(sum(each.epochs for each in totals), points, method)
