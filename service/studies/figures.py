"""What a study's runs reached, as plain data: tables, effects, pictures and reports are made from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.objective import Objective


@dataclass(frozen=True)
class RunFigures:
    """One run: a variant with one seed. Figures are None where there are none (yet), or were not finite."""

    seed: int
    job: str | None
    """None before it was started"""
    state: str
    """the job's; WAITING before there is one, SKIPPED where there never will be"""
    reason: str | None
    reused: bool
    """whether the job was finished before the study came"""
    epochs: int
    """finished"""
    best_epoch: int | None
    """from 1, by the objective; its figures are the four below"""
    train_accuracy: float | None
    train_loss: float | None
    val_accuracy: float | None
    val_loss: float | None
    test_accuracy: float | None
    """of the published weights, as test_loss"""
    test_loss: float | None
    seconds: float | None
    """of all its epochs, training and validation"""
    images_per_second: float | None
    """in training, all epochs together"""
    epochs_to_target: int | None
    """the first epoch that reached the study's target; None where none did"""
    warnings: tuple[dict[str, Any], ...] = ()
    """that stand on the job: {"code", "detail", …}"""


@dataclass(frozen=True)
class VariantFigures:
    """One point of the space, with a run for each seed."""

    number: int
    """within the study, from 1; never changes, so that colours can hang on it"""
    name: str
    architecture: str
    spec: dict[str, Any]
    """the normalised job spec; its seed means nothing here"""
    levels: dict[str, Any]
    """what the space set, by JSON pointer into the job spec; of an explicit list, what that variant set"""
    runs: tuple[RunFigures, ...]
    """in the order of the seeds"""


@dataclass(frozen=True)
class StudyFigures:
    """A study as far as it has come."""

    id: str
    name: str
    objective: Objective
    target: float | None
    """of the objective's metric, which `epochs_to_target` counts up to"""
    variants: tuple[VariantFigures, ...]
