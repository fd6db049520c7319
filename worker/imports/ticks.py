"""Telling the share of a long work that is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise

Tell = Callable[[float], None]
"""Takes the share that is done, from 0 to 1, and never less than before."""


class Ticks:
    """Tells by counting up to `total`."""

    def __init__(self, total: int, tell: Tell) -> None:
        self._total = total
        self._done = 0
        self._tell = tell

    def one(self) -> None:
        self.more(1)

    def more(self, done: int) -> None:
        self._done += done
        if self._total:
            self._tell(min(self._done / self._total, 1.0))


def parts(tell: Tell, sizes: Sequence[float]) -> list[Tell]:
    """For works done one after the other that take about as long as `sizes` say: each tells its own share."""
    total = sum(sizes) or 1.0
    return [_part(tell, start / total, stop / total) for start, stop in pairwise(accumulate(sizes, initial=0.0))]


def _part(tell: Tell, start: float, stop: float) -> Tell:
    return lambda share: tell(min(start + (stop - start) * share, stop))
