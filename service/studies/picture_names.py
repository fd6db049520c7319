"""Names of a study's pictures. Routes need them at start, drawing comes later."""

from __future__ import annotations

from enum import StrEnum


class Picture(StrEnum):
    """What of a study is drawn."""

    CURVES = "curves"
    GRID = "grid"
    BESTS = "bests"
    EFFECTS = "effects"
    CONFUSION = "confusion"
    LEARNING_RATE = "learning_rate"
    TIME = "time"
