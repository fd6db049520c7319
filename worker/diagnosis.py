"""What went wrong in a training that did not crash: the warnings that a careful reader of its curves would give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from core.repositories.epochs import EpochMetrics

WORTH_A_LOOK = 0.15
"""A training accuracy this far above the validation accuracy is worth a warning."""


def chance_level(history: Sequence[EpochMetrics], largest_class_share: float, images: int) -> str | None:
    """A warning when no epoch beat always guessing the largest class by more than three standard errors."""
    best = max((epoch.val_accuracy or 0.0 for epoch in history), default=0.0)
    error = math.sqrt(largest_class_share * (1 - largest_class_share) / images)
    if best > largest_class_share + 3 * error:
        return None
    return (
        f"validation accuracy {best:.3f} after {len(history)} epochs is no better than guessing "
        f"({largest_class_share:.3f}); try another learning rate, optimizer or loss"
    )


def collapsed_to_one_class(evaluation: dict[str, Any]) -> str | None:
    """A warning when the network gives every test image the same label."""
    columns = [sum(column) for column in zip(*evaluation["confusion_matrix"], strict=True)]
    predicted = [label for label, count in zip(evaluation["labels"], columns, strict=True) if count]
    if len(predicted) > 1:
        return None
    return f"every test image is called {predicted[0]!r}; the learning rate may be too high for this network"


def overfitting(history: Sequence[EpochMetrics]) -> str | None:
    """A warning when the last epoch's training accuracy is far above its validation accuracy."""
    last = history[-1]
    if last.accuracy is None or last.val_accuracy is None or last.accuracy - last.val_accuracy <= WORTH_A_LOOK:
        return None
    return (
        f"training accuracy {last.accuracy:.3f} is far above validation accuracy {last.val_accuracy:.3f}; "
        "more data, augmentation or dropout may help"
    )
