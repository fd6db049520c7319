"""The effect of each factor: two levels of it compared where everything else is equal, paired over seeds."""

from __future__ import annotations

from collections.abc import Sequence

from core.objective import Direction
from service.studies.answers import Difference, Effect, Effects, Factor, StudyWarning
from service.studies.comparisons import MOST_CONTEXTS, MOST_LEVELS, Comparison, comparisons_of
from service.studies.confounding import confounded
from service.studies.factors import Factors, factors_of
from service.studies.figures import StudyFigures
from service.studies.interactions import interactions_of
from service.studies.level_names import phrase
from service.studies.measures import GAP, TEST, Series, averaged, seeds_of, series
from service.studies.sentences import ENOUGH_SEEDS, compared, statement, verdict_of
from service.studies.statistics import ALPHA, corrected, distinguishable, leaves_out_zero, paired


def effects_of(figures: StudyFigures) -> Effects:
    """Every comparison that the study's finished runs allow."""
    metric = figures.objective.metric
    factors = factors_of(figures.variants)
    made = []
    warnings = []
    for place, factor in enumerate(factors.factors):
        reason = _left_out(factor, metric)
        if reason is not None:
            warnings.append(reason)
            continue
        found = list(comparisons_of(factors, place))
        made += found
        most = max((len(comparison.pairs) for comparison in found), default=0)
        if most > MOST_CONTEXTS:
            warnings.append(_crowded(factor, most))
        warnings += confounded(factors, place, found)
    by_metric = {name: [series(variant, name) for variant in figures.variants] for name in (metric, TEST, GAP)}
    answers = [
        corrected([_difference(figures, comparison, name, all_series) for comparison in made])
        for name, all_series in by_metric.items()
    ]
    effects = [_effect(figures, factors, comparison, *found) for comparison, *found in zip(made, *answers, strict=True)]
    objectives = [effect.objective for effect in effects if effect.objective.p is not None]
    outside, left = sum(map(leaves_out_zero, objectives)), sum(map(distinguishable, objectives))
    by_chance = ALPHA * len(objectives)
    interactions, too_many = interactions_of(figures, factors, by_metric[metric])
    return Effects(
        metric=metric,
        direction="max" if figures.objective.direction is Direction.MAX else "min",
        factors=factors.factors,
        effects=tuple(effects),
        interactions=tuple(interactions),
        warnings=(*_once(warnings), *too_many, *_too_few(effects)),
        comparisons=len(objectives),
        outside_alone=outside,
        expected_by_chance=by_chance,
        distinguishable=left,
        statement=statement(len(objectives), outside, by_chance, left),
    )


def _difference(figures: StudyFigures, comparison: Comparison, metric: str, by_variant: Sequence[Series]) -> Difference:
    variants = [figures.variants[place] for pair in comparison.pairs for place in pair]
    seeds = seeds_of(variants)
    sides = [(by_variant[one], by_variant[other]) for one, other in comparison.pairs]
    # A context without a single pair says nothing, and would leave nothing of the others.
    sides = [(one, other) for one, other in sides if one.keys() & other.keys()] or sides
    return paired(metric, averaged([one for one, _ in sides], seeds), averaged([other for _, other in sides], seeds))


def _effect(
    figures: StudyFigures,
    factors: Factors,
    comparison: Comparison,
    objective: Difference,
    test: Difference,
    gap: Difference,
) -> Effect:
    factor = factors.factors[comparison.factor]
    level, baseline = factor.levels[comparison.level], factor.levels[comparison.baseline]
    verdict = verdict_of(objective, figures.objective, told_apart=distinguishable(objective))
    count = len(comparison.pairs)
    return Effect(
        factor=factor.name,
        level=level.text,
        baseline=baseline.text,
        level_value=level.value,
        baseline_value=baseline.value,
        context=comparison.context,
        where=comparison.where,
        contexts=count,
        variants=tuple(
            (figures.variants[one].number, figures.variants[other].number) for one, other in comparison.pairs
        ),
        objective=objective,
        test=test,
        gap=gap,
        outside_alone=leaves_out_zero(objective),
        verdict=verdict,
        sentence=compared(
            phrase(factor.name, level.text),
            phrase(factor.name, baseline.text),
            f" on average over {count} settings of everything else" if count > 1 else _placed(comparison, factors),
            objective,
            verdict,
        ),
    )


def _placed(comparison: Comparison, factors: Factors) -> str:
    if not comparison.where:
        return ""
    names = {factor.name for factor in factors.factors} - {factors.factors[comparison.factor].name}
    return f" {'on' if 'architecture' in names else 'with'} {comparison.where}"


def _left_out(factor: Factor, metric: str) -> StudyWarning | None:
    if len(factor.levels) > MOST_LEVELS:
        detail = f"{factor.label} takes {len(factor.levels)} values: its levels are not compared one by one (at most {MOST_LEVELS})"
        return StudyWarning("too_many_levels", (factor.name,), detail)
    if metric.endswith("loss") and factor.name.partition(".")[0] == "loss":
        detail = f"{metric} means another thing with each {factor.label}: levels of it are not compared by it; use val_accuracy"
        return StudyWarning("incomparable", (factor.name,), detail)
    return None


def _crowded(factor: Factor, contexts: int) -> StudyWarning:
    detail = f"levels of {factor.label} meet in up to {contexts} contexts: above {MOST_CONTEXTS} they are told over all contexts only"
    return StudyWarning("too_many_levels", (factor.name,), detail)


def _once(warnings: Sequence[StudyWarning]) -> list[StudyWarning]:
    """Factors that changed together are told for the first of them only."""
    first: dict[tuple[str, frozenset[str]], StudyWarning] = {}
    for warning in warnings:
        first.setdefault((warning.code, frozenset(warning.factors)), warning)
    return list(first.values())


def _too_few(effects: Sequence[Effect]) -> list[StudyWarning]:
    most = max((effect.objective.pairs for effect in effects), default=ENOUGH_SEEDS)
    if most >= ENOUGH_SEEDS:
        return []
    detail = {
        0: "no two compared settings have finished with the same seed",
        1: "one seed cannot tell any difference from chance: repeat with at least 3",
        2: "two seeds give an interval more than three times as wide as three do: repeat with at least 3",
    }
    return [StudyWarning("too_few_seeds", (), detail[most])]
