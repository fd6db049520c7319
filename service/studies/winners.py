"""The best variant of each architecture and of all, and which others the seeds do not tell from it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from core.objective import Direction, Objective
from service.studies.answers import Mean, Standing, Winner, Winners
from service.studies.figures import StudyFigures, VariantFigures
from service.studies.measures import Series, averaged, seeds_of, series
from service.studies.sentences import is_accuracy, listed, seeds
from service.studies.statistics import corrected, distinguishable, mean_of, paired


@dataclass(frozen=True)
class Contender:
    """A variant with at least one finished run."""

    variant: VariantFigures
    values: Series
    objective: Mean


def winners_of(figures: StudyFigures) -> Winners:
    """By the mean of the objective over the seeds that finished."""
    contenders = ranked(figures)
    groups: dict[str, list[Contender]] = defaultdict(list)
    for contender in contenders:
        groups[contender.variant.architecture].append(contender)
    return Winners(
        metric=figures.objective.metric,
        direction="max" if figures.objective.direction is Direction.MAX else "min",
        overall=_winner(None, contenders, figures.objective) if contenders else None,
        by_architecture=tuple(_winner(name, group, figures.objective) for name, group in sorted(groups.items())),
    )


def ranked(figures: StudyFigures) -> list[Contender]:
    """Best first; of equals the one that came first."""
    found = []
    for variant in figures.variants:
        values = series(variant, figures.objective.metric)
        if values:
            found.append(Contender(variant, values, mean_of(list(values.values()))))
    sign = -1 if figures.objective.direction is Direction.MAX else 1
    return sorted(found, key=lambda contender: sign * (contender.objective.mean or 0.0))


def _winner(architecture: str | None, group: Sequence[Contender], objective: Objective) -> Winner:
    """The winner was chosen by looking at all, so the family is every pair of the group, not only the pairs with the winner."""
    best, *others = group
    pairs = len(group) * (len(group) - 1) // 2
    differences = []
    for other in others:
        planned = seeds_of([best.variant, other.variant])
        sides = (averaged([side.values], planned) for side in (best, other))
        differences.append(paired(objective.metric, *sides))
    standings = tuple(
        Standing(other.variant.number, other.variant.name, difference, distinguishable(difference))
        for other, difference in zip(others, corrected(differences, pairs), strict=True)
    )
    tied = tuple(standing.name for standing in standings if not standing.distinguishable)
    return Winner(
        architecture=architecture,
        number=best.variant.number,
        name=best.variant.name,
        objective=best.objective,
        others=standings,
        tied=tied,
        sentence=_sentence(architecture, best, standings, tied, objective.metric),
    )


def _sentence(
    architecture: str | None, best: Contender, others: Sequence[Standing], tied: Sequence[str], metric: str
) -> str:
    place = f" on {architecture}" if architecture else " of all"
    name, mean = best.variant.name, _mean(best.objective, metric)
    if not others:
        return f"{name} is the only one{place} with a finished run: {mean}"
    if all(standing.difference.pairs < 2 for standing in others):
        return f"{name} is first{place}: {mean}; one seed cannot tell it from {listed(tied)}"
    if not tied:
        return f"{name} is the best{place}: {mean}; {'the other is' if len(others) == 1 else 'all others are'} distinguishable from it"
    return f"{name} is the best{place}: {mean}; not distinguishable from {listed(tied)}"


def _mean(mean: Mean, metric: str) -> str:
    """An accuracy in percent."""
    one, *ends = (
        f"{100 * value:.1f}" if is_accuracy(metric) else f"{value:.3g}"
        for value in (mean.mean, mean.low, mean.high)
        if value is not None
    )
    interval = f", 95 % interval {ends[0]} to {ends[1]}" if ends else ""
    return f"{metric} {one}{' %' if is_accuracy(metric) else ''}{interval}, {seeds(mean.n)}"
