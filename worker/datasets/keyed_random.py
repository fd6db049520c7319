"""Random numbers that depend on nothing but a key: the same whoever draws them, and in whatever order.

The mixing function is the finaliser of SplitMix64 (G. Steele, D. Lea and C. Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def mix(values: Words) -> Words:
    """Well-mixed words, one for each of `values`; same shape."""
    values = (values ^ (values >> np.uint64(30))) * _FIRST
    values = (values ^ (values >> np.uint64(27))) * _SECOND
    return values ^ (values >> np.uint64(31))


def uniforms(seed: int, epoch: int, items: NDArray[np.int64], columns: int) -> NDArray[np.float64]:
    """Numbers from [0, 1), shape (items, columns), each row decided by (seed, epoch, item)."""
    start = mix(mix(np.array([seed], np.uint64) * GOLDEN + np.uint64(epoch)) ^ GOLDEN)
    rows = mix(start + items.astype(np.uint64) * GOLDEN)
    words = mix(rows[:, np.newaxis] + np.arange(1, columns + 1, dtype=np.uint64) * GOLDEN)
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
