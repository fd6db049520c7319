"""Means and paired differences with 95 % intervals, and Holm's correction for many of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from service.studies.answers import Difference, Mean, Method

ALPHA = 0.05
BOOTSTRAP_FROM = 20
"""Values from which on an interval is a percentile bootstrap's: over 3 it covers 73 % instead of 95 %, over 20 about 93 %."""
RESAMPLES = 9_999
LARGEST = 1e100
"""A figure beyond it has diverged and counts as missing: its square would not be finite."""
SAME = 1e-12
"""Differences within this of each other, relative to the figures, are rounding."""

NO_VALUE = "no finished run has it"
NO_PAIR = "no seed finished on both sides"
ONE_VALUE = "one seed has no spread"
IDENTICAL = "the same on every seed: identical results"
CONSTANT = "the same difference on every seed: its spread cannot be told (figures come in steps of 1/images); p of the exact sign test"
SAME_VALUES = "the same on every seed: its spread cannot be told (accuracies come in steps of 1/images)"


@dataclass(frozen=True)
class _Spread:
    """What some values say of the mean that they are drawn around."""

    mean: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    """two-sided, of the mean being zero"""
    method: Method | None = None
    note: str | None = None


def finite(value: float | None) -> float | None:
    """The value, None where it has diverged or is none."""
    return value if value is not None and abs(value) <= LARGEST else None


def mean_of(values: Sequence[float | None]) -> Mean:
    """Mean of the values that are there, with Student's interval (from 20 on a percentile bootstrap's)."""
    there = _there(values)
    if not there:
        return Mean(0, None, None, None, None, NO_VALUE)
    spread = _spread(there, max(map(abs, there)))
    note = SAME_VALUES if spread.note in {IDENTICAL, CONSTANT} else spread.note
    return Mean(len(there), spread.mean, spread.low, spread.high, spread.method, note)


def paired(metric: str, first: Sequence[float | None], second: Sequence[float | None]) -> Difference:
    """The first minus the second, seed by seed; a seed that lacks either is left out and counted.

    p is that of the paired t-test, and the interval its own; from 20 pairs on the interval is a percentile bootstrap's.
    """
    pairs = [
        (one, other)
        for one, other in zip(map(finite, first), map(finite, second), strict=True)
        if one is not None and other is not None
    ]
    left_out = len(first) - len(pairs)
    if not pairs:
        return Difference(metric, 0, left_out, None, None, None, None, None, None, NO_PAIR)
    spread = _spread([one - other for one, other in pairs], max(max(abs(one), abs(other)) for one, other in pairs))
    return Difference(
        metric,
        pairs=len(pairs),
        left_out=left_out,
        difference=spread.mean,
        low=spread.low,
        high=spread.high,
        p=spread.p,
        p_holm=spread.p,
        method=spread.method,
        note=spread.note,
    )


def holm(values: Sequence[float | None], family: int | None = None) -> list[float | None]:
    """Adjusted p-values (Holm, "A simple sequentially rejective multiple test procedure", 1979); None stays None.

    `family`: of how many comparisons these are the ones that were looked at; all of them where None.
    """
    known = sorted((value, place) for place, value in enumerate(values) if value is not None)
    size = len(known) if family is None else family
    adjusted: list[float | None] = [None] * len(values)
    largest = 0.0
    for rank, (value, place) in enumerate(known):
        largest = max(largest, min(1.0, value * max(1, size - rank)))
        adjusted[place] = largest
    return adjusted


def corrected(differences: Sequence[Difference], family: int | None = None) -> list[Difference]:
    """The same, each with its p-value adjusted for all."""
    adjusted = holm([difference.p for difference in differences], family)
    return [replace(each, p_holm=p) for each, p in zip(differences, adjusted, strict=True)]


def leaves_out_zero(difference: Difference) -> bool:
    """Whether this comparison alone tells its sides apart: by its interval; where it has none, by its p-value."""
    if difference.low is not None and difference.high is not None:
        return difference.low > 0 or difference.high < 0
    return difference.p is not None and difference.p < ALPHA


def distinguishable(difference: Difference) -> bool:
    """Whether it still does among all comparisons."""
    return difference.p_holm is not None and difference.p_holm < ALPHA and leaves_out_zero(difference)


def _there(values: Sequence[float | None]) -> list[float]:
    return [value for value in map(finite, values) if value is not None]


def _spread(values: Sequence[float], scale: float) -> _Spread:
    """`scale`: of the figures that the values were computed from, for what rounding can do to them."""
    count = len(values)
    mean = math.fsum(values) / count
    if count == 1:
        return _Spread(mean, note=ONE_VALUE)
    # Python's hypot neither overflows nor underflows on the way.
    deviation = math.hypot(*(value - mean for value in values)) / math.sqrt(count - 1)
    if deviation <= max(SAME * scale, 1e-300):
        if abs(mean) <= SAME * scale:
            return _Spread(0.0, p=1.0, note=IDENTICAL)
        return _Spread(mean, p=2.0 ** (1 - count), note=CONSTANT)
    error = deviation / math.sqrt(count)
    p = _two_sided(mean / error, count - 1)
    if count >= BOOTSTRAP_FROM:
        low, high = _bootstrap(values)
        return _Spread(mean, low, high, p, "bootstrap")
    reach = _quantile(count - 1) * error
    return _Spread(mean, mean - reach, mean + reach, p, "t")


def _two_sided(t: float, freedom: int) -> float:
    from scipy.special import stdtr

    return min(1.0, 2 * float(stdtr(freedom, -abs(t))))


@lru_cache(maxsize=128)
def _quantile(freedom: int) -> float:
    """Of Student's t, with 2.5 % beyond it."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 1 - ALPHA / 2))


def _bootstrap(values: Sequence[float]) -> tuple[float, float]:
    import numpy as np

    means = _resamples(len(values)) @ np.asarray(values)
    low, high = np.quantile(means, [ALPHA / 2, 1 - ALPHA / 2])
    return float(low), float(high)


@lru_cache(maxsize=8)
def _resamples(count: int) -> Any:
    """(resamples, count) shares of each value: the same for every comparison, so that an answer repeats exactly."""
    import numpy as np

    return np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=RESAMPLES) / count
