"""Comparisons in plain words, from their numbers alone."""

from __future__ import annotations

from collections.abc import Sequence

from core.objective import Direction, Objective
from service.studies.answers import Difference, Verdict
from service.studies.statistics import ALPHA, leaves_out_zero

ENOUGH_SEEDS = 3


def verdict_of(difference: Difference, objective: Objective, *, told_apart: bool) -> Verdict:
    if difference.difference is None or difference.p is None:
        return Verdict.CANNOT_TELL
    if not told_apart:
        return Verdict.NOT_DISTINGUISHABLE
    rises = difference.difference > 0
    return Verdict.BETTER if rises == (objective.direction is Direction.MAX) else Verdict.WORSE


def compared(level: str, baseline: str, where: str, difference: Difference, verdict: Verdict) -> str:
    """One effect. The interval of "better" and "worse" counts in that direction; any other is of the metric itself."""
    match verdict:
        case Verdict.BETTER | Verdict.WORSE:
            by = amount(difference.difference, difference.metric, signed=False)
            said = (
                f"{level} is {by} {verdict} than {baseline}{where}"
                if is_accuracy(difference.metric)
                else f"{level} is {verdict} than {baseline} by {by} in {difference.metric}{where}"
            )
            return f"{said}, {certainty(difference, signed=False)}"
        case Verdict.NOT_DISTINGUISHABLE:
            said = f"{level} and {baseline} are not distinguishable{where}: "
            alone = (
                "; its own interval leaves out zero, but not among so many comparisons"
                if leaves_out_zero(difference)
                else ""
            )
            return f"{said}{_mean(difference)}, {certainty(difference)}{alone}"
    if difference.pairs == 0:
        return f"no seed has finished with both {level} and {baseline}{where}"
    return f"one seed cannot tell {level} from {baseline}{where}: {_mean(difference)}"


def certainty(difference: Difference, *, signed: bool = True) -> str:
    """Interval, seeds, and how many were left out."""
    parts = []
    if difference.low is not None and difference.high is not None:
        ends = [difference.low, difference.high]
        if not signed and (difference.difference or 0) < 0:
            ends = [-difference.high, -difference.low]
        low, high = (bare(end, difference.metric) for end in ends)
        parts.append(f"95 % interval {low} to {high}")
    parts.append(seeds(difference.pairs))
    if difference.left_out:
        parts.append(f"{difference.left_out} left out")
    if difference.low is None and difference.note:
        parts.append(f"no interval: {difference.note}")
    return ", ".join(parts)


def amount(value: float | None, metric: str, *, signed: bool = True) -> str:
    """A difference with its unit: points of an accuracy; a loss has none."""
    value = value or 0.0
    number = bare(value if signed else abs(value), metric)
    if not is_accuracy(metric):
        return number
    return f"{number} point" if number in {"1.0", "-1.0"} else f"{number} points"


def bare(value: float, metric: str) -> str:
    """Tenths of a point; hundredths where it is less than one of them. A loss in three digits."""
    if not is_accuracy(metric):
        return f"{value:.3g}"
    points = 100 * value
    text = f"{points:.1f}" if abs(points) >= 0.1 or points == 0 else f"{points:.2f}"
    return text.removeprefix("-") if float(text) == 0 else text


def is_accuracy(metric: str) -> bool:
    """Losses have no points."""
    return not metric.endswith("loss")


def seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"


def listed(names: Sequence[str], most: int = 5) -> str:
    """a, b and c; of many, the first and how many more."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else ""


def statement(comparisons: int, outside: int, by_chance: float, left: int) -> str:
    """How far the comparisons can be believed together."""
    if not comparisons:
        return "No two settings could be compared over at least two seeds."
    made = "1 comparison was made" if comparisons == 1 else f"{comparisons} comparisons were made"
    return (
        f"{made}. {outside} {'has' if outside == 1 else 'have'} an interval that leaves out zero by itself;"
        f" were there no differences at all, about {by_chance:.2g} would have by chance alone (one in {1 / ALPHA:.0f})."
        f" After Holm's correction for all of them, {left} {'is' if left == 1 else 'are'} distinguishable."
    )


def _mean(difference: Difference) -> str:
    return f"difference {amount(difference.difference, difference.metric)}" + (
        "" if is_accuracy(difference.metric) else f" in {difference.metric}"
    )
