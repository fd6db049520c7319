"""Interactions: whether a factor's difference is another one at another factor's level."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from service.studies.answers import Difference, Interaction, StudyWarning
from service.studies.comparisons import MOST_LEVELS
from service.studies.factors import Factors
from service.studies.figures import StudyFigures
from service.studies.level_names import phrase
from service.studies.measures import Series, averaged, seeds_of
from service.studies.sentences import amount, certainty, is_accuracy
from service.studies.statistics import corrected, distinguishable, paired

MOST_INTERACTIONS = 300

Square = tuple[int, int, int, int]
"""places of four variants: level and baseline of a factor at the level of another, then at its baseline"""


@dataclass(frozen=True)
class _Crossing:
    """Two levels of each of two factors that meet in all four ways."""

    factor: int
    level: int
    other: int
    other_level: int
    squares: tuple[Square, ...]
    """one of each setting of all further factors"""


def interactions_of(
    figures: StudyFigures, factors: Factors, objective: Sequence[Series]
) -> tuple[list[Interaction], list[StudyWarning]]:
    """Each level of a factor against its baseline, crossed with each level of another against its own."""
    crossings: list[_Crossing] = []
    few = [place for place, factor in enumerate(factors.factors) if len(factor.levels) <= MOST_LEVELS]
    for factor, other in combinations(few, 2):
        # The architecture is what an effect depends on, rather than the other way round.
        pair = (other, factor) if factors.factors[factor].name == "architecture" else (factor, other)
        crossings += _crossings(factors, *pair)
    warnings = []
    if len(crossings) > MOST_INTERACTIONS:
        detail = f"of {len(crossings)} interactions the first {MOST_INTERACTIONS} are told"
        warnings.append(StudyWarning("too_many_levels", (), detail))
    crossings = crossings[:MOST_INTERACTIONS]
    differences = corrected([_difference(figures, crossing, objective) for crossing in crossings])
    found = [_interaction(factors, *pair) for pair in zip(crossings, differences, strict=True)]
    return found, warnings


def _crossings(factors: Factors, factor: int, other: int) -> Iterator[_Crossing]:
    cells: dict[Hashable, dict[tuple[int, int], int]] = defaultdict(dict)
    for variant, (setting, levels) in enumerate(zip(factors.settings(factor, other), factors.levels, strict=True)):
        here, there = levels[factor], levels[other]
        if here is not None and there is not None:
            cells[setting].setdefault((here, there), variant)
    found: dict[tuple[int, int], list[Square]] = defaultdict(list)
    for met in cells.values():
        if (0, 0) not in met:
            continue
        for (here, there), variant in met.items():
            if here and there and (0, there) in met and (here, 0) in met:
                found[here, there].append((variant, met[0, there], met[here, 0], met[0, 0]))
    for (here, there), squares in sorted(found.items()):
        yield _Crossing(factor, here, other, there, tuple(squares))


def _difference(figures: StudyFigures, crossing: _Crossing, objective: Sequence[Series]) -> Difference:
    seeds = seeds_of([figures.variants[place] for square in crossing.squares for place in square])
    squares = [[objective[place] for place in square] for square in crossing.squares]
    # A square without a seed that all four have says nothing, and would leave nothing of the others.
    squares = [square for square in squares if set.intersection(*(set(side) for side in square))] or squares
    corners = [averaged(corner, seeds) for corner in zip(*squares, strict=True)]
    return paired(figures.objective.metric, _minus(corners[0], corners[1]), _minus(corners[2], corners[3]))


def _minus(first: Sequence[float | None], second: Sequence[float | None]) -> list[float | None]:
    return [None if one is None or other is None else one - other for one, other in zip(first, second, strict=True)]


def _interaction(factors: Factors, crossing: _Crossing, difference: Difference) -> Interaction:
    factor, other = factors.factors[crossing.factor], factors.factors[crossing.other]
    level, baseline = factor.levels[crossing.level].text, factor.levels[0].text
    there, here = other.levels[crossing.other_level].text, other.levels[0].text
    clear = distinguishable(difference)
    what = f"{phrase(factor.name, level)} minus {phrase(factor.name, baseline)}"
    places = phrase(other.name, there), phrase(other.name, here)
    return Interaction(
        factor=factor.name,
        level=level,
        baseline=baseline,
        other=other.name,
        other_level=there,
        other_baseline=here,
        difference=difference,
        clear=clear,
        sentence=_sentence(what, *places, difference, clear=clear),
    )


def _sentence(what: str, there: str, here: str, difference: Difference, *, clear: bool) -> str:
    if difference.p is None or difference.difference is None:
        return f"whether {what} depends on {there} or {here} cannot be told: {difference.note}"
    unit = "" if is_accuracy(difference.metric) else f" in {difference.metric}"
    if clear:
        more = "more" if difference.difference > 0 else "less"
        by = amount(difference.difference, difference.metric, signed=False)
        return f"{what} is {by} {more}{unit} with {there} than with {here}, {certainty(difference, signed=False)}"
    by = amount(difference.difference, difference.metric)
    return f"{what} is not distinguishable between {there} and {here}: difference of differences {by}{unit}, {certainty(difference)}"
