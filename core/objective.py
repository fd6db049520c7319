"""What makes one result better than another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Direction(StrEnum):
    MAX = "max"
    MIN = "min"


@dataclass(frozen=True)
class Objective:
    """A metric of the validation data and the direction in which it gets better."""

    metric: str
    direction: Direction

    def improves(self, candidate: float | None, best: float | None, by: float = 0.0) -> bool:
        """Whether `candidate` is better than `best` by more than `by`. A missing or NaN value never is."""
        if candidate is None or math.isnan(candidate):
            return False
        if best is None or math.isnan(best):
            return True
        return candidate - best > by if self.direction is Direction.MAX else best - candidate > by


def objective_of_metric(metric: str) -> Objective:
    """In the direction that its name tells: a loss gets better downwards, an accuracy upwards."""
    return Objective(metric, Direction.MIN if metric.endswith("loss") else Direction.MAX)


def objective_of(document: dict[str, Any]) -> Objective:
    """The objective of a normalised spec or a published version."""
    return Objective(document["metric"], Direction(document["direction"]))
