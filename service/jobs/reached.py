"""What a job reached, by the names that comparisons and studies have for it."""

from __future__ import annotations

from typing import Any


def reached(best_epoch: dict[str, Any] | None, evaluation: dict[str, Any] | None) -> dict[str, Any]:
    """Figures of its best epoch, and of its published weights on the test images; None where there are none (yet)."""
    best, tested = best_epoch or {}, evaluation or {}
    return {
        "best_epoch": best.get("epoch"),
        "train_accuracy": best.get("accuracy"),
        "train_loss": best.get("loss"),
        "val_accuracy": best.get("val_accuracy"),
        "val_loss": best.get("val_loss"),
        "test_accuracy": tested.get("test_accuracy"),
        "test_loss": tested.get("test_loss"),
    }
