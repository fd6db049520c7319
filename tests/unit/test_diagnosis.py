"""Warnings about trainings that ran to their end and still went wrong."""

from __future__ import annotations

from core.repositories.epochs import EpochMetrics
from worker.diagnosis import chance_level, collapsed_to_one_class, overfitting


def epoch(number: int, accuracy: float, val_accuracy: float | None) -> EpochMetrics:
    return EpochMetrics(number, 1.0, accuracy, 1.0, val_accuracy, 0.001, 1.0, 100.0)


class TestChanceLevel:
    def test_the_notebooks_collapsed_alexnet_is_noticed(self) -> None:
        history = [epoch(number, 0.046, 0.0427) for number in (1, 2, 3)]
        assert "no better than guessing" in str(chance_level(history, largest_class_share=0.05, images=1500))

    def test_learning_slowly_is_not_chance(self) -> None:
        history = [epoch(1, 0.05, 0.05), epoch(2, 0.08, 0.09)]
        assert chance_level(history, largest_class_share=0.05, images=1500) is None

    def test_always_guessing_the_large_class_of_an_unbalanced_set_is_chance(self) -> None:
        assert chance_level([epoch(1, 0.9, 0.9)], largest_class_share=0.9, images=1000) is not None

    def test_no_validation_figure_at_all_is_chance(self) -> None:
        assert chance_level([epoch(1, 0.1, None)], largest_class_share=0.1, images=100) is not None


class TestCollapsedToOneClass:
    def test_one_column_is_a_collapse_and_names_the_label(self) -> None:
        detail = collapsed_to_one_class({"labels": ["cat", "dog"], "confusion_matrix": [[0, 5], [0, 5]]})
        assert "'dog'" in str(detail)

    def test_two_columns_are_not(self) -> None:
        assert collapsed_to_one_class({"labels": ["cat", "dog"], "confusion_matrix": [[1, 4], [0, 5]]}) is None


class TestOverfitting:
    def test_the_notebooks_lenet_overfits(self) -> None:
        assert overfitting([epoch(25, 0.8608, 0.4433)]) is not None

    def test_a_small_gap_does_not(self) -> None:
        assert overfitting([epoch(25, 0.98, 0.95)]) is None
