"""How far two ways of computing a network's logits may differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ABSOLUTE_TOLERANCE = 1e-4
RELATIVE_TOLERANCE = 1e-5
"""of the largest expected logit; what was measured, of TFLite and of a GPU too, is a hundredth to a tenth of what both allow"""


@dataclass(frozen=True)
class Parity:
    """How far logits are from those that are expected, and how far they may be."""

    max_difference: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether they are the same network's. Never with NaN."""
        return self.max_difference <= self.tolerance

    def __str__(self) -> str:
        return f"by {self.max_difference:.2e} in its logits (at most {self.tolerance:.2e} is right)"


def parity_of(actual: NDArray[Any], expected: NDArray[Any]) -> Parity:
    """Of logits, (images, classes) both."""
    tolerance = ABSOLUTE_TOLERANCE + RELATIVE_TOLERANCE * float(np.max(np.abs(expected)))
    return Parity(float(np.max(np.abs(actual - expected))), tolerance)
