"""Jobs side by side, as plain data: JSON, CSV and pictures are made from it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from core.objective import Objective

Column = tuple[float | None, ...]


@dataclass(frozen=True)
class Figures:
    """What a job reached; None where there is no such figure (yet), or it was not finite."""

    epochs: int
    """finished"""
    best_epoch: int | None = None
    """by the job's objective; its figures are the four below"""
    train_accuracy: float | None = None
    train_loss: float | None = None
    val_accuracy: float | None = None
    val_loss: float | None = None
    test_accuracy: float | None = None
    """of the published weights, as test_loss"""
    test_loss: float | None = None
    seconds: float | None = None
    """of all epochs, training and validation"""
    images_per_second: float | None = None
    """in training, all epochs together"""
    parameters: int | None = None
    trainable_parameters: int | None = None
    """in the first phase"""

    def minus(self, other: Figures) -> dict[str, float | None]:
        """Each figure less the other's; None where either is."""
        pairs = ((name, getattr(self, name), getattr(other, name)) for name in FIGURES)
        return {name: None if None in (mine, theirs) else mine - theirs for name, mine, theirs in pairs}


FIGURES = tuple(field.name for field in fields(Figures))


@dataclass(frozen=True)
class Curves:
    """A job's epochs, or some of them, with a value each in every column."""

    epochs: tuple[int, ...] = ()
    loss: Column = ()
    accuracy: Column = ()
    val_loss: Column = ()
    val_accuracy: Column = ()


@dataclass(frozen=True)
class ComparedJob:
    """One of them."""

    id: str
    state: str
    reason: str | None
    architecture: str
    view: str
    spec: dict[str, Any]
    """its values of the fields that differ, by JSON pointer; without those that it does not have"""
    metrics: Figures
    deltas: dict[str, float | None]
    """to the baseline's metrics"""
    curves: Curves


@dataclass(frozen=True)
class Downsampling:
    """That curves are not whole, and how they were thinned out."""

    epochs: int
    """finished, of all jobs"""
    points: int
    """that are left of them"""
    method: str


@dataclass(frozen=True)
class Comparison:
    """All of them, in the order in which they were asked for."""

    baseline: str
    objective: Objective
    """the baseline's, by which some are better than others"""
    fields: tuple[str, ...]
    """of the normalised job specs that are not the same in all, as JSON pointers, in the spec's order"""
    jobs: tuple[ComparedJob, ...]
    downsampled: Downsampling | None
    """None: the curves are whole"""
