"""Trials as Optuna knows them. Nothing of Optuna's is stored: an in-memory study is made anew from the rows at each use."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from core.objective import Objective
from core.studyspec import Range

Choice = tuple[int | None, Any]
"""A value of the space with its place in the list there; None for one drawn from a range."""


class TrialState(StrEnum):
    RUNNING = "RUNNING"
    """the names are Optuna's"""
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAIL = "FAIL"


@dataclass
class Trial:
    """A variant as the sampler and the pruner know it."""

    number: int
    """the variant's, from 1"""
    state: TrialState
    chosen: Mapping[str, Choice] = field(default_factory=dict)
    """by path; empty where nobody searches"""
    values: Mapping[int, float] = field(default_factory=dict)
    """the objective's metric by epoch, mean over seeds: of each the best up to then"""
    result: float | None = None
    """mean over seeds of the best epoch's metric, once it has ended"""
    memory: dict[str, Any] = field(default_factory=dict)
    """what Optuna's pruner has to remember of it"""
    judged: int = 0
    """the last epoch that the pruner has seen"""


def rebuilt(trials: Sequence[Trial], objective: Objective, space: Mapping[str, list[Any] | Range], **parts: Any) -> Any:
    """An Optuna study of these trials, in order; `parts` are its sampler and pruner."""
    optuna = quiet_optuna()
    direction = {"max": "maximize", "min": "minimize"}[objective.direction.value]
    # Hyperband draws a trial's bracket from the study's name.
    study = optuna.create_study(direction=direction, study_name="kerasd", **parts)
    for trial in trials:
        complete = trial.state is TrialState.COMPLETE and trial.result is not None
        state = TrialState.FAIL if trial.state is TrialState.COMPLETE and not complete else trial.state
        chosen = {path: choice for path, choice in trial.chosen.items() if path in space}
        study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState[state],
                value=trial.result if complete else None,
                params={path: value if index is None else index for path, (index, value) in chosen.items()},
                distributions={path: distribution(space[path]) for path in chosen},
                intermediate_values={epoch: value for epoch, value in trial.values.items() if epoch <= trial.judged},
                system_attrs=trial.memory,
            )
        )
    return study


def distribution(values: list[Any] | Range) -> Any:
    """Of a list, its places: Optuna takes no lists or objects as choices."""
    distributions = quiet_optuna().distributions
    if isinstance(values, list):
        return distributions.CategoricalDistribution(tuple(range(len(values))))
    if values.integer:
        return distributions.IntDistribution(int(values.low), int(values.high), log=values.log)
    return distributions.FloatDistribution(values.low, values.high, log=values.log)


def quiet_optuna() -> Any:
    """The module, imported where a study needs it: that takes a quarter of a second."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import optuna
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna
