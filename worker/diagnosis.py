"""What went wrong in a training that did not crash: the warnings that a careful reader of its curves would give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.repositories.epochs import EpochMetrics
from worker.datasets.reader import Labels

WORTH_A_LOOK = 0.15
"""A training accuracy this far above the validation accuracy is worth a warning."""

COLLAPSED = 0.9
"""The share of images with one answer from which a network that has learned nothing has collapsed."""


@dataclass(frozen=True)
class Warned:
    """A warning that stands on the job: what was seen, in words and numbers, and what may help."""

    code: str
    seen: str
    advice: str
    numbers: dict[str, float] = field(default_factory=dict)

    @property
    def detail(self) -> str:
        return f"{self.seen}; {self.advice}"

    def as_json(self) -> dict[str, Any]:
        return {"code": self.code, "detail": self.detail, "numbers": self.numbers, "advice": self.advice}


@dataclass(frozen=True)
class Guessing:
    """What accuracy always naming the largest class has, and how far chance carries beyond it (three standard errors)."""

    accuracy: float
    margin: float

    @classmethod
    def of(cls, labels: Labels) -> Guessing:
        share = float(np.bincount(labels).max() / len(labels))
        return cls(share, 3 * math.sqrt(share * (1 - share) / len(labels)))


def chance_level(history: Sequence[EpochMetrics], guessing: Guessing) -> Warned | None:
    """When no epoch was better than guessing, on validation data or on the data trained on.

    A network with batch normalisation may be at chance on validation data for its first epochs while it learns.
    """
    best = max((epoch.val_accuracy or 0.0 for epoch in history), default=0.0)
    trained = max((epoch.accuracy or 0.0 for epoch in history), default=0.0)
    if max(best, trained) > guessing.accuracy + guessing.margin:
        return None
    return Warned(
        "chance_level",
        f"validation accuracy {best:.3f} after {len(history)} epochs is no better than guessing ({guessing.accuracy:.3f})",
        "try another learning rate, optimizer or loss",
        {"val_accuracy": best, "accuracy": trained, "guessing": guessing.accuracy, "epochs": len(history)},
    )


def collapsed_early(history: Sequence[EpochMetrics], share: float) -> Warned:
    """When after the first epochs (nearly) all validation images get one label, and nothing is learned."""
    last = history[-1]
    return Warned(
        "collapsed_to_one_class",
        f"after {len(history)} epochs {share:.0%} of validation images get the same label, and training accuracy is at chance",
        "use a lower learning rate or another optimizer",
        {
            "epochs": len(history),
            "share": share,
            "accuracy": last.accuracy or 0.0,
            "val_accuracy": last.val_accuracy or 0.0,
        },
    )


def collapsed_to_one_class(evaluation: dict[str, Any]) -> Warned | None:
    """When the network gives every test image the same label."""
    columns = [sum(column) for column in zip(*evaluation["confusion_matrix"], strict=True)]
    predicted = [label for label, count in zip(evaluation["labels"], columns, strict=True) if count]
    if len(predicted) > 1:
        return None
    return Warned(
        "collapsed_to_one_class",
        f"every test image is called {predicted[0]!r}",
        "use a lower learning rate or another optimizer",
        {"test_accuracy": evaluation["test_accuracy"], "images": evaluation["images"]},
    )


def overfitting(history: Sequence[EpochMetrics]) -> Warned | None:
    """When the last epoch's training accuracy is far above its validation accuracy."""
    last = history[-1]
    if last.accuracy is None or last.val_accuracy is None or last.accuracy - last.val_accuracy <= WORTH_A_LOOK:
        return None
    return Warned(
        "overfitting",
        f"training accuracy {last.accuracy:.3f} is far above validation accuracy {last.val_accuracy:.3f}",
        "more data, augmentation, dropout or early stopping may help",
        {"accuracy": last.accuracy, "val_accuracy": last.val_accuracy, "gap": last.accuracy - last.val_accuracy},
    )
