"""Which trials are not worth going on, by Optuna's pruners over the jobs' own epochs.

Each epoch is shown to the pruner once, in order; what it remembers of a trial is kept in the variant's row. So it makes no
difference which worker looks, how often, or how late.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from core.objective import Objective
from core.studyspec import Pruning
from worker.studies.optuna_study import Trial, TrialState, quiet_optuna, rebuilt

WORDS = {
    "successive_halving": "not among the best {share} of the trials that came so far",
    "hyperband": "not among the best {share} of its bracket's trials that came so far",
    "median": "worse than the median of earlier trials",
}


def judge(pruning: Pruning, objective: Objective, trials: Sequence[Trial], most_epochs: int) -> dict[int, str]:
    """Why each trial is to be ended that is, by number. Brings `memory`, `judged` and `state` of the trials up to date.

    One that has ended by itself is shown to the pruner too: others are measured by it.
    """
    verdicts: dict[int, str] = {}
    optuna = quiet_optuna()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna marks pruners as experimental
        shown = [replace(trial, state=TrialState.RUNNING) if _unseen(trial) else trial for trial in trials]
        study = rebuilt(shown, objective, {}, pruner=_pruner(pruning, most_epochs))
        live = [
            optuna.trial.Trial(study, place) for place in range(len(trials))
        ]  # of a study in memory, ids count from 0
        # All of an epoch before any of the next, as near as can be told to how they were trained.
        for epoch, place in sorted((epoch, place) for place, trial in enumerate(trials) for epoch in _unseen(trial)):
            trial = trials[place]
            if trial.state is TrialState.PRUNED:
                continue
            trial.judged = epoch
            live[place].report(trial.values[epoch], epoch)
            bad = live[place].should_prune()
            if bad and trial.state is TrialState.RUNNING and epoch < most_epochs:
                verdicts[trial.number] = _words(pruning, objective, trial.values[epoch], epoch)
                trial.state = TrialState.PRUNED
        for trial, frozen in zip(trials, study.get_trials(deepcopy=False), strict=True):
            trial.memory = dict(frozen.system_attrs)
    return verdicts


def _unseen(trial: Trial) -> list[int]:
    """Epochs that the pruner has not seen, in order."""
    if trial.state not in (TrialState.RUNNING, TrialState.COMPLETE):
        return []
    return sorted(epoch for epoch in trial.values if epoch > trial.judged)


def _pruner(pruning: Pruning, most_epochs: int) -> Any:
    pruners = quiet_optuna().pruners
    match pruning.method:
        case "successive_halving":
            return pruners.SuccessiveHalvingPruner(pruning.min_epochs, pruning.reduction_factor)
        case "hyperband":
            return pruners.HyperbandPruner(pruning.min_epochs, most_epochs, pruning.reduction_factor)
    return pruners.MedianPruner(n_warmup_steps=pruning.min_epochs - 1)


def _words(pruning: Pruning, objective: Objective, value: float, epoch: int) -> str:
    shares = {2: "half", 3: "third", 4: "quarter"}
    share = shares.get(pruning.reduction_factor, f"one in {pruning.reduction_factor}")
    return f"pruned after epoch {epoch}: {objective.metric} {value:.4f} was {WORDS[pruning.method].format(share=share)}"
