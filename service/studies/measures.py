"""Which figures of a run are compared: only those of runs that succeeded, by seed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from core.states import State
from service.studies.figures import RunFigures, VariantFigures
from service.studies.statistics import finite

TEST = "test_accuracy"
GAP = "gap"
"""training minus validation accuracy, at the best epoch"""

Series = dict[int, float]
"""of one variant and one metric, by seed"""


def measure(run: RunFigures, metric: str) -> float | None:
    """None where the run has not succeeded (a pruned or failed one stopped elsewhere), has no such figure, or it diverged."""
    if run.state != State.SUCCEEDED:
        return None
    if metric == GAP:
        train, validation = finite(run.train_accuracy), finite(run.val_accuracy)
        return None if train is None or validation is None else train - validation
    return finite(getattr(run, metric))


def series(variant: VariantFigures, metric: str) -> Series:
    """Of every seed that has the metric."""
    values = ((run.seed, measure(run, metric)) for run in variant.runs)
    return {seed: value for seed, value in values if value is not None}


def seeds_of(variants: Sequence[VariantFigures]) -> list[int]:
    """Every seed that any of them is to run with, in order."""
    return list(dict.fromkeys(run.seed for variant in variants for run in variant.runs))


def averaged(sides: Sequence[Series], seeds: Sequence[int]) -> list[float | None]:
    """Of each seed, the mean over all of them; None where one lacks it: a seed is compared in all contexts or in none."""
    if len(sides) == 1:
        return [sides[0].get(seed) for seed in seeds]
    return [
        math.fsum(side[seed] for side in sides) / len(sides) if all(seed in side for side in sides) else None
        for seed in seeds
    ]
