"""Factors that changed together, so that the study cannot tell their effects apart."""

from __future__ import annotations

from collections.abc import Sequence

from service.studies.answers import StudyWarning
from service.studies.comparisons import Comparison
from service.studies.factors import Factors, comes_with
from service.studies.level_names import phrase
from service.studies.sentences import listed

MOST_TOLD = 5
"""levels without a comparison, of one factor"""


def confounded(factors: Factors, factor: int, made: Sequence[Comparison]) -> list[StudyWarning]:
    """For each level that was compared with no other: what else differs in the variants that come nearest."""
    compared = {level for comparison in made for level in (comparison.level, comparison.baseline)}
    mine = factors.factors[factor]
    levels = [level for level in range(len(mine.levels)) if level not in compared]
    if len(levels) == len(mine.levels):
        levels = levels[1:]  # the baseline's own side of each
    warnings: dict[tuple[str, ...], StudyWarning] = {}
    for level in levels[:MOST_TOLD]:
        nearest = _nearest(factors, factor, level)
        if nearest is None:
            continue
        one, other = nearest
        apart = _apart(factors, factor, one, other)
        if not apart:
            continue
        names = (mine.name, *(factors.factors[place].name for place in apart))
        warnings.setdefault(names, StudyWarning("confounded", names, _detail(factors, factor, apart, one, other)))
    return list(warnings.values())


def _nearest(factors: Factors, factor: int, level: int) -> tuple[int, int] | None:
    """The variant with the level and one with another level of it that differ in the fewest other factors."""
    import numpy as np

    settings = np.array([[-1 if place is None else place for place in row] for row in factors.settings(factor)])
    column = np.array([-1 if row[factor] is None else row[factor] for row in factors.levels])
    here, there = np.flatnonzero(column == level), np.flatnonzero((column != level) & (column >= 0))
    if not len(there):
        return None
    apart = np.stack([(settings[there] != settings[one]).sum(axis=1) for one in here])
    one, other = np.unravel_index(apart.argmin(), apart.shape)
    return int(here[one]), int(there[other])


def _apart(factors: Factors, factor: int, one: int, other: int) -> list[int]:
    """The other factors in which two variants differ; an option that only one's architecture has is no further difference."""
    settings = factors.settings(factor)
    names = [each.name for each in factors.factors]
    apart = [
        place for place, (here, there) in enumerate(zip(settings[one], settings[other], strict=True)) if here != there
    ]
    return [
        place
        for place in apart
        if (factors.levels[one][place] is not None and factors.levels[other][place] is not None)
        or not any(comes_with(names[place], names[decider]) for decider in apart if decider != place)
    ]


def _detail(factors: Factors, factor: int, apart: Sequence[int], one: int, other: int) -> str:
    mine = factors.factors[factor]
    others = listed([factors.factors[place].label for place in apart])
    with_it, without = (
        listed([_said(factors, place, variant) for place in [factor, *apart]]) for variant in (one, other)
    )
    return (
        f"{mine.label} changed together with {others}: {with_it} in {factors.variants[one].name!r},"
        f" {without} in {factors.variants[other].name!r}; their effects cannot be told apart"
    )


def _said(factors: Factors, place: int, variant: int) -> str:
    factor, level = factors.factors[place], factors.levels[variant][place]
    return f"without {factor.label}" if level is None else phrase(factor.name, factor.levels[level].text)
