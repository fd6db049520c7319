"""Confusion matrices of jobs that saw the same classes, added up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Confusion:
    """What test images of each class were taken for."""

    of: str
    """the variant or job, for people"""
    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    """images; rows: truth, columns: predicted, both in the order of the labels"""
    jobs: int
    """how many evaluations are added up"""


def sum_confusions(of: str, evaluations: Sequence[dict[str, Any]]) -> Confusion | None:
    """Of jobs, by what their evaluations hold; None where there is none. Raises ValueError where their classes differ."""
    if not evaluations:
        return None
    labels = evaluations[0]["labels"]
    if any(evaluation["labels"] != labels for evaluation in evaluations):
        raise ValueError(f"{of}: jobs of different classes have no common confusion matrix")
    matrices = (evaluation["confusion_matrix"] for evaluation in evaluations)
    counts = tuple(tuple(map(sum, zip(*rows, strict=True))) for rows in zip(*matrices, strict=True))
    return Confusion(of, tuple(labels), counts, len(evaluations))
