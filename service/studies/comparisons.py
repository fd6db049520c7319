"""Which variants are compared: pairs of levels of a factor, in every context that has both."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from service.studies.factors import Factors
from service.studies.level_names import phrase

MOST_LEVELS = 30
"""A factor with more, as a search over a range has, is left out."""
MOST_PAIRED = 5
"""Of more levels, each is compared with the first only: every comparison makes the others harder to believe."""
MOST_CONTEXTS = 40
"""Two levels that meet in more contexts are compared over all of them only."""

Pair = tuple[int, int]
"""places of two variants: with the level, with the baseline"""


@dataclass(frozen=True)
class Comparison:
    """Two levels of a factor."""

    factor: int
    level: int
    baseline: int
    pairs: tuple[Pair, ...]
    """one, or one of each context"""
    context: dict[str, str] | None
    where: str


def comparisons_of(factors: Factors, factor: int) -> Iterator[Comparison]:
    """Of each two levels that meet, or of each with the first where there are many: in each context, then over all of them.

    The earlier level is the baseline everywhere, so that two levels meet one way round only.
    """
    met: dict[Pair, list[Pair]] = defaultdict(list)
    for members in factors.alike(factor):
        levels = sorted(members)
        baselines = levels if len(levels) <= MOST_PAIRED else levels[:1]
        for baseline in baselines:
            for level in levels:
                if level > baseline:
                    met[level, baseline].append((members[level], members[baseline]))
    telling = _telling(factors, factor, [pair[1] for pairs in met.values() for pair in pairs])
    for (level, baseline), pairs in sorted(met.items()):
        if len(pairs) <= MOST_CONTEXTS:
            for pair in pairs:
                yield Comparison(
                    factor,
                    level,
                    baseline,
                    (pair,),
                    context_of(factors, factor, pair[1]),
                    _where(factors, pair[1], telling),
                )
        if len(pairs) > 1:
            yield Comparison(factor, level, baseline, tuple(pairs), None, "")


def context_of(factors: Factors, factor: int, variant: int) -> dict[str, str]:
    """Levels of the other factors, by name."""
    return {
        other.name: other.levels[level].text
        for place, (other, level) in enumerate(zip(factors.factors, factors.levels[variant], strict=True))
        if place != factor and level is not None
    }


def _telling(factors: Factors, factor: int, variants: Sequence[int]) -> list[int]:
    """The first factors that tell the contexts apart, the architecture always: naming all of a long list would say nothing."""
    others = [place for place in range(len(factors.factors)) if place != factor]
    # The architecture first: "on alexnet, batch size 32".
    others.sort(key=lambda place: factors.factors[place].name != "architecture")
    telling: list[int] = []
    told = 1
    for place in others:
        apart = len({tuple(factors.levels[variant][each] for each in (*telling, place)) for variant in variants})
        if apart > told or factors.factors[place].name == "architecture":
            telling.append(place)
            told = apart
    return telling


def _where(factors: Factors, variant: int, telling: Sequence[int]) -> str:
    named = [(factors.factors[place], factors.levels[variant][place]) for place in telling]
    return ", ".join(phrase(factor.name, factor.levels[level].text) for factor, level in named if level is not None)
