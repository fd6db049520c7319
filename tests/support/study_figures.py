"""Figures of a study that nobody trained: a real study spec, with what its runs are to have reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from core.jobspec import JobSpec
from core.objective import Objective, objective_of_metric
from core.study_space import job_body, points_of
from core.studyspec import StudySpec
from service.studies.figures import RunFigures, StudyFigures, VariantFigures

BASE = {"dataset": "digits", "architecture": "lenet"}

Settings = dict[str, Any]
"""what a variant sets, by pointer, and its name"""
Reached = Callable[[Settings, int], float | RunFigures | None]
"""From what the variant sets, by pointer, and a seed to its validation accuracy, its figures or None (it has not finished)"""


def run(seed: int, accuracy: float | None, **changes: Any) -> RunFigures:
    """Succeeded with that validation accuracy; waiting where None."""
    figures = RunFigures(
        seed=seed,
        job=f"job{seed}",
        state="SUCCEEDED",
        reason=None,
        reused=False,
        epochs=5,
        best_epoch=4,
        train_accuracy=None if accuracy is None else accuracy + 0.1,
        train_loss=0.5,
        val_accuracy=accuracy,
        val_loss=None if accuracy is None else 2 - accuracy,
        test_accuracy=None if accuracy is None else accuracy - 0.01,
        test_loss=0.7,
        seconds=10.0,
        images_per_second=1000.0,
        epochs_to_target=3,
    )
    waiting: dict[str, Any] = {"state": "WAITING", "job": None, "seconds": None, "epochs_to_target": None}
    return replace(figures, **({} if accuracy is not None else waiting), **changes)


def study_of(
    reached: Reached,
    *,
    seeds: int = 3,
    base: Mapping[str, Any] = BASE,
    objective: Objective | None = None,
    target: float | None = None,
    **spec: Any,
) -> StudyFigures:
    """Of every variant of the spec's space or list."""
    study = StudySpec.model_validate({"name": "study", "base": dict(base), "seeds": seeds, **spec})
    variants = []
    for number, point in enumerate(points_of(study), 1):
        job = JobSpec.model_validate(job_body(study, point, 0))
        runs = []
        for seed in range(seeds):
            figures = reached(point.settings | {"name": point.name}, seed)
            runs.append(figures if isinstance(figures, RunFigures) else run(seed, figures))
        variants.append(
            VariantFigures(
                number, point.name, job.architecture.name, job.model_dump(mode="json"), point.settings, tuple(runs)
            )
        )
    return StudyFigures("id", "study", objective or objective_of_metric("val_accuracy"), target, tuple(variants))
