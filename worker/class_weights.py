"""How much the training loss counts an image of each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from worker.datasets.reader import Labels


def class_weights(asked: str | Mapping[str, float], names: Sequence[str], labels: Labels) -> NDArray[np.float32]:
    """One weight for each class, shape (classes,). "balanced": each class counts the same, the mean image 1 (as scikit-learn has it)."""
    if isinstance(asked, str):
        counts = np.bincount(labels, minlength=len(names))
        return (len(labels) / (len(names) * np.maximum(counts, 1))).astype(np.float32)
    return np.array([asked.get(name, 1.0) for name in names], np.float32)
