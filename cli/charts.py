"""Curves in plain text: a sparkline of one, a plot of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Values = Sequence[float | None]

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII_BLOCKS = "_.-:=+*#"
MARKS = "●○◆◇"
ASCII_MARKS = "*o+x"
LABEL_WIDTH = 6


def sparkline(values: Values, width: int = 40, *, ascii_only: bool = False) -> str:
    """One character a value, lowest to highest; more than `width` values are averaged, unknown ones left blank."""
    squeezed = _squeeze(values, width)
    known = [value for value in squeezed if value is not None]
    if not known:
        return ""
    low, span = min(known), max(known) - min(known)
    blocks = ASCII_BLOCKS if ascii_only else BLOCKS
    top = len(blocks) - 1
    return "".join(
        " " if value is None else blocks[round((value - low) / span * top) if span else top // 2] for value in squeezed
    )


def plot(curves: Mapping[str, Values], *, width: int = 64, height: int = 12, ascii_only: bool = False) -> list[str]:
    """Lines of a plot of curves by epoch, with axes and a legend. Where curves meet, the later one is seen."""
    known = [value for values in curves.values() for value in values if value is not None]
    length = max((len(values) for values in curves.values()), default=0)
    if not known:
        return ["no finished epoch yet"]
    low, high = min(known), max(known)
    if low == high:
        low, high = low - 0.5, high + 0.5
    grid = [[" "] * width for _ in range(height)]
    marks = ASCII_MARKS if ascii_only else MARKS
    for mark, values in zip(marks, curves.values(), strict=False):
        _draw(grid, values, length, low, high, mark)
    return [*_with_axis(grid, low, high, ascii_only=ascii_only), *_footer(curves, length, width, marks)]


def _squeeze(values: Values, width: int) -> list[float | None]:
    if len(values) <= width:
        return list(values)
    squeezed: list[float | None] = []
    for column in range(width):
        bucket = values[column * len(values) // width : (column + 1) * len(values) // width]
        known = [value for value in bucket if value is not None]
        squeezed.append(sum(known) / len(known) if known else None)
    return squeezed


def _draw(grid: list[list[str]], values: Values, length: int, low: float, high: float, mark: str) -> None:
    """Marks each epoch, joined by dots."""
    height, width = len(grid), len(grid[0])
    spread = (width - 1) / max(length - 1, 1)

    def put(position: float, value: float, character: str) -> None:
        row = grid[height - 1 - round((value - low) / (high - low) * (height - 1))]
        column = round(position * spread)
        if character != "." or row[column] == " ":
            row[column] = character

    for epoch, (value, following) in enumerate(zip(values, [*values[1:], None], strict=True)):
        if value is None:
            continue
        if following is not None:
            steps = max(round(spread), height)  # dense enough for a steep line
            for step in range(1, steps):
                put(epoch + step / steps, value + (following - value) * step / steps, ".")
        put(epoch, value, mark)


def _with_axis(grid: list[list[str]], low: float, high: float, *, ascii_only: bool) -> list[str]:
    bar, corner, line = ("|", "+", "-") if ascii_only else ("│", "└", "─")
    height = len(grid)
    labels = {0: high, height // 2: high - (high - low) * (height // 2) / (height - 1), height - 1: low}
    rows = []
    for number, row in enumerate(grid):
        label = f"{labels[number]:.3f}" if number in labels else ""
        rows.append(f"{label:>{LABEL_WIDTH}} {bar}{''.join(row).rstrip()}")
    return [*rows, f"{'':>{LABEL_WIDTH}} {corner}{line * len(grid[0])}"]


def _footer(curves: Mapping[str, Values], length: int, width: int, marks: str) -> list[str]:
    margin = " " * (LABEL_WIDTH + 2)
    ends = f"epoch 1{length:>{width - 7}}" if length > 1 else "epoch 1"
    legend = "   ".join(f"{mark} {name}" for mark, name in zip(marks, curves, strict=False))
    return [margin + ends, margin + legend]
