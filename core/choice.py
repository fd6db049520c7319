"""Which of a model's versions serves: rules that look at validation data and sizes, never at test metrics.

A new version is compared with the served one by the objective of the job that made the new one. It must be better by more
than the model's margin. Without a margin, of two that are equal by the objective the one with the lower validation loss is
better, then the higher validation accuracy, then fewer parameters, then fewer bytes of ONNX; what one of the two does not
know decides nothing. The earlier of two that are equal in all of that goes on serving.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.objective import Direction, Objective


@dataclass(frozen=True)
class Contender:
    """A published version, as far as the choice looks at it."""

    version: int
    objective: Objective
    metrics: Mapping[str, float | None]
    """of the published epoch on validation data; others are not looked at"""
    parameters: int | None
    """None of versions whose publishing did not record it"""
    bytes: int


@dataclass(frozen=True)
class Verdict:
    """Whether a challenger takes over, by what that was decided, and the two values of it."""

    better: bool
    decided_by: str
    challenger: float | None
    served: float | None

    def figures(self) -> dict[str, Any]:
        """As events tell it."""
        return {"decided_by": self.decided_by, "value": self.challenger, "served_value": self.served}


def judge(challenger: Contender, served: Contender, margin: float = 0.0) -> Verdict:
    """Whether `challenger`, the later one, takes over from `served`. `margin` is in units of the objective's metric."""
    objective = challenger.objective
    value, best = challenger.metrics.get(objective.metric), served.metrics.get(objective.metric)
    if margin > 0 or value is None:
        return Verdict(objective.improves(value, best, margin), objective.metric, value, best)
    for criterion, ours, theirs in _comparisons(challenger, served):
        if criterion.improves(ours, theirs):
            return Verdict(True, criterion.metric, ours, theirs)
        if criterion.improves(theirs, ours):
            return Verdict(False, criterion.metric, ours, theirs)
    return Verdict(False, "version", challenger.version, served.version)


def choose(versions: Sequence[Contender], margin: float = 0.0) -> int:
    """The version that serves had each of `versions`, oldest first, challenged the one before. At least one is needed."""
    best = versions[0]
    for challenger in versions[1:]:
        if judge(challenger, best, margin).better:
            best = challenger
    return best.version


_LOSS = Objective("val_loss", Direction.MIN)
_ACCURACY = Objective("val_accuracy", Direction.MAX)


def _comparisons(challenger: Contender, served: Contender) -> Iterator[tuple[Objective, float | None, float | None]]:
    """What is compared, the more important first, with the challenger's and the served one's value."""
    for metric in (challenger.objective, _LOSS, _ACCURACY):
        yield metric, challenger.metrics.get(metric.metric), served.metrics.get(metric.metric)
    if challenger.parameters is not None and served.parameters is not None:
        yield Objective("parameters", Direction.MIN), challenger.parameters, served.parameters
    yield Objective("bytes", Direction.MIN), challenger.bytes, served.bytes
