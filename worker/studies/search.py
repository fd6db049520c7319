"""Which point a random or Bayesian search tries next. The same trials lead to the same point, whichever worker asks."""

from __future__ import annotations

import itertools
import random
import warnings
from collections.abc import Sequence
from typing import Any

from core.objective import Objective
from core.studyspec import StudySpec, combinations
from worker.studies.optuna_study import Choice, Trial, distribution, quiet_optuna, rebuilt

MOST_REPEATS = 20
"""Points already tried that the sampler may propose before an untried one is taken at random."""


def next_point(spec: StudySpec, objective: Objective, trials: Sequence[Trial]) -> dict[str, Choice] | None:
    """Choices for core.study_space.point_at; None where every point of a space of lists has been tried."""
    space = spec.space or {}
    finite = all(isinstance(values, list) for values in space.values())
    tried = {_places(trial.chosen) for trial in trials}
    if finite and len(tried) >= combinations(space):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna marks samplers as experimental
        study = rebuilt(trials, objective, space, sampler=_sampler(spec, len(trials)))
        for _ in range(MOST_REPEATS):
            asked = study.ask({path: distribution(values) for path, values in space.items()}).params
            chosen = {path: _choice(space[path], asked[path]) for path in space}
            if not finite or _places(chosen) not in tried:
                return chosen
    return _untried(spec, tried, len(trials))


def _sampler(spec: StudySpec, trials: int) -> Any:
    samplers = quiet_optuna().samplers
    seed = (spec.search.seed * 1_000_003 + trials) % 2**32
    if spec.search.method == "random":
        return samplers.RandomSampler(seed=seed)
    # Running trials count as bad ones, so that trials asked for at once are not all alike.
    return samplers.TPESampler(seed=seed, constant_liar=True)


def _choice(values: Any, drawn: Any) -> Choice:
    return (drawn, values[drawn]) if isinstance(values, list) else (None, drawn)


def _places(chosen: Any) -> tuple[tuple[str, int | None], ...]:
    return tuple(sorted((path, index) for path, (index, _) in chosen.items()))


def _untried(spec: StudySpec, tried: set[tuple[tuple[str, int | None], ...]], trials: int) -> dict[str, Choice]:
    """At most MOST_VARIANTS have been tried, so one of the first so many in a random order has not."""
    space = {path: values for path, values in (spec.space or {}).items() if isinstance(values, list)}
    shuffled = [list(enumerate(values)) for values in space.values()]
    draw = random.Random(f"{spec.search.seed}/{trials}")  # noqa: S311  (not for secrets)
    for places in shuffled:
        draw.shuffle(places)
    for entries in itertools.product(*shuffled):
        chosen: dict[str, Choice] = dict(zip(space, entries, strict=True))
        if _places(chosen) not in tried:
            return chosen
    raise ValueError("every point has been tried")
