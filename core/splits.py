"""Which images train, which validate and which test: decided by the labels and the dataset seed alone.

Orders come from Philox's raw output, which NumPy guarantees never to change, so a split is the same on every machine
and with every NumPy. Fractions are of all images of the pool, rounded to the nearest whole image (halves up).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Strategy = Literal["stratified", "last"]


@dataclass(frozen=True)
class SplitPlan:
    """How a pool of labelled images is divided. A fraction of 0 takes nothing."""

    validation_fraction: float
    test_fraction: float
    strategy: Strategy
    seed: int
    train_limit: int | None = None


@dataclass(frozen=True)
class SplitCounts:
    train: int
    validation: int
    test: int


@dataclass(frozen=True)
class Split:
    """Positions in the pool, ascending, without overlap."""

    train: Indices
    validation: Indices
    test: Indices


def ordering(seed: int, stream: int, length: int) -> Indices:
    """A permutation of range(length) that depends on (seed, stream) alone, shape (length,)."""
    raw = np.random.Philox(key=[seed, stream]).random_raw(length)
    return np.argsort(raw, kind="stable").astype(np.int64)


def plan_counts(class_counts: Sequence[int], plan: SplitPlan) -> SplitCounts:
    """How many images each part gets, without seeing one."""
    if plan.strategy == "last":
        total = sum(class_counts)
        test, validation = _share(total, plan.test_fraction), _share(total, plan.validation_fraction)
        train = total - test - validation
    else:
        test = sum(_share(count, plan.test_fraction) for count in class_counts)
        validation = sum(_share(count, plan.validation_fraction) for count in class_counts)
        train = sum(class_counts) - test - validation
    limit = train if plan.train_limit is None else plan.train_limit
    return SplitCounts(max(min(train, limit), 0), validation, test)


def split(labels: NDArray[np.integer], classes: int, plan: SplitPlan) -> Split:
    """Divides a pool with `labels` (shape (images,), values 0..classes-1) as `plan` says."""
    parts = _last(labels, plan) if plan.strategy == "last" else _stratified(labels, classes, plan)
    if plan.train_limit is None or plan.train_limit >= len(parts.train):
        return parts
    kept = _limit(labels, classes, parts.train, plan)
    return Split(kept, parts.validation, parts.test)


def _share(count: int, fraction: float) -> int:
    return int(count * fraction + 0.5)


def _last(labels: NDArray[np.integer], plan: SplitPlan) -> Split:
    counts = plan_counts([len(labels)], plan)
    everything = np.arange(len(labels), dtype=np.int64)
    held_out = len(labels) - counts.test - counts.validation
    return Split(
        everything[:held_out], everything[held_out : len(labels) - counts.test], everything[len(labels) - counts.test :]
    )


def _stratified(labels: NDArray[np.integer], classes: int, plan: SplitPlan) -> Split:
    train, validation, test = [], [], []
    for label in range(classes):
        members = np.flatnonzero(labels == label)
        members = members[ordering(plan.seed, label, len(members))]
        first = _share(len(members), plan.test_fraction)
        second = first + _share(len(members), plan.validation_fraction)
        test.append(members[:first])
        validation.append(members[first:second])
        train.append(members[second:])
    return Split(*(np.sort(np.concatenate(part)) for part in (train, validation, test)))


def _limit(labels: NDArray[np.integer], classes: int, train: Indices, plan: SplitPlan) -> Indices:
    """`train_limit` of the training images, each class in proportion (largest remainders get the odd ones)."""
    limit = plan.train_limit or 0
    counts = np.bincount(labels[train], minlength=classes)
    exact = counts * (limit / len(train))
    take = np.floor(exact).astype(np.int64)
    odd = np.argsort(-(exact - take), kind="stable")[: limit - int(take.sum())]
    take[odd] += 1
    kept = []
    for label in range(classes):
        members = train[labels[train] == label]
        kept.append(members[ordering(plan.seed, classes + label, len(members))][: take[label]])
    return np.sort(np.concatenate(kept))
