"""The colours that runs keep in every picture: told apart by readers with any colour vision."""

from __future__ import annotations

from typing import Any

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's (Color Universal Design, 2008), without their yellow, which is too pale for a line on white"""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""Matplotlib's names; the next one each time the colours begin again"""

GREY = "#999999"
"""for what only gives the background"""


def run_color(number: int) -> str:
    """The colour of a run, `#rrggbb`, by its number within what is shown, from 1. The same number has it everywhere."""
    return COLORS[(number - 1) % len(COLORS)]


def run_style(number: int) -> dict[str, Any]:
    """Its colour with a marker, as Matplotlib's plot takes them: 56 runs differ."""
    return {"color": run_color(number), "marker": MARKERS[(number - 1) // len(COLORS) % len(MARKERS)]}
