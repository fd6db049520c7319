"""Warnings about trainings that ran to their end and still went wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

from core.repositories.epochs import EpochMetrics
from worker.diagnosis import Guessing, chance_level, collapsed_to_one_class, overfitting


def epoch(number: int, accuracy: float, val_accuracy: float | None) -> EpochMetrics:
    return EpochMetrics(number, 1.0, accuracy, 1.0, val_accuracy, 0.001, 1.0, 100.0)


def guessing(share: float, images: int) -> Guessing:
    """Of a split whose largest class has this share."""
    large = round(share * images)
    others = np.arange(1, 101).repeat(-(-(images - large) // 100))[: images - large]
    return Guessing.of(np.concatenate([np.zeros(large, np.int32), others.astype(np.int32)]))


class TestChanceLevel:
    def test_the_notebooks_collapsed_alexnet_is_noticed(self) -> None:
        history = [epoch(number, 0.046, 0.0427) for number in (1, 2, 3)]
        assert "no better than guessing" in str(chance_level(history, guessing(0.05, 1500)))

    def test_learning_slowly_is_not_chance(self) -> None:
        history = [epoch(1, 0.05, 0.05), epoch(2, 0.08, 0.09)]
        assert chance_level(history, guessing(0.05, 1500)) is None

    def test_always_guessing_the_large_class_of_an_unbalanced_set_is_chance(self) -> None:
        assert chance_level([epoch(1, 0.9, 0.9)], guessing(0.9, 1000)) is not None

    def test_a_network_that_learns_but_does_not_show_it_on_validation_data_yet_is_not_at_chance(self) -> None:
        assert chance_level([epoch(1, 0.4, 0.05), epoch(2, 0.6, 0.05)], guessing(0.05, 1500)) is None

    def test_no_validation_figure_at_all_is_chance(self) -> None:
        assert chance_level([epoch(1, 0.1, None)], guessing(0.1, 100)) is not None


def evaluation(confusion_matrix: list[list[int]]) -> dict[str, Any]:
    return {"labels": ["cat", "dog"], "confusion_matrix": confusion_matrix, "test_accuracy": 0.5, "images": 10}


class TestCollapsedToOneClass:
    def test_one_column_is_a_collapse_and_names_the_label(self) -> None:
        detail = collapsed_to_one_class(evaluation([[0, 5], [0, 5]]))
        assert "'dog'" in str(detail)

    def test_two_columns_are_not(self) -> None:
        assert collapsed_to_one_class(evaluation([[1, 4], [0, 5]])) is None


class TestOverfitting:
    def test_the_notebooks_lenet_overfits(self) -> None:
        assert overfitting([epoch(25, 0.8608, 0.4433)]) is not None

    def test_a_small_gap_does_not(self) -> None:
        assert overfitting([epoch(25, 0.98, 0.95)]) is None
