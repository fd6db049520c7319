"""A permutation that is computed, not stored: the order of a training epoch at no memory, from (seed, epoch) alone.

A Feistel network over the smallest even number of bits that holds the length is a bijection; positions that land
outside are sent through again until they land inside ("cycle walking"). Sources: M. Luby and C. Rackoff, "How to
construct pseudorandom permutations from pseudorandom functions", SIAM J. Comput. 17(2), 1988; J. Black and P. Rogaway,
"Ciphers with arbitrary finite domains", CT-RSA 2002. The round function is that of keyed_random.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from worker.datasets.keyed_random import GOLDEN, Words, mix

ROUNDS = 6


class Permutation:
    """A permutation of range(length) that depends on (seed, stream) alone, the same on every machine."""

    def __init__(self, seed: int, stream: int, length: int) -> None:
        self._length = length
        self._half = np.uint64(max(1, (max(length - 1, 1).bit_length() + 1) // 2))
        self._mask = np.uint64((1 << int(self._half)) - 1)
        start = mix(np.array([seed], np.uint64) * GOLDEN + np.uint64(stream))
        self._keys = mix(start + np.arange(1, ROUNDS + 1, dtype=np.uint64) * GOLDEN)

    def __call__(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where each position goes; same shape, int64. Positions must lie in range(length)."""
        found = self._scramble(positions.astype(np.uint64))
        outside = np.flatnonzero(found >= self._length)
        while len(outside):
            found[outside] = self._scramble(found[outside])
            outside = outside[found[outside] >= self._length]
        return found.astype(np.int64)

    def _scramble(self, values: Words) -> Words:
        left, right = values >> self._half, values & self._mask
        for key in self._keys:
            left, right = right, left ^ (mix(right + key) & self._mask)
        return (left << self._half) | right
