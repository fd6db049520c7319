"""What makes one result better than another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum


class Direction(StrEnum):
    MAX = "max"
    MIN = "min"


@dataclass(frozen=True)
class Objective:
    """A metric of the validation data and the direction in which it gets better."""

    metric: str
    direction: Direction

    def improves(self, candidate: float | None, best: float | None) -> bool:
        """Whether `candidate` is strictly better than `best`. A missing or NaN value never is."""
        if candidate is None or math.isnan(candidate):
            return False
        if best is None or math.isnan(best):
            return True
        return candidate > best if self.direction is Direction.MAX else candidate < best
