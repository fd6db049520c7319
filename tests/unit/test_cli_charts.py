"""Curves in plain text."""

from __future__ import annotations

from typing import ClassVar

import pytest

from cli.charts import plot, sparkline


class TestSparkline:
    def test_it_goes_from_the_lowest_to_the_highest_block(self) -> None:
        assert sparkline([0.0, 0.5, 1.0]) == "▁▅█"

    def test_an_unknown_value_is_a_gap(self) -> None:
        assert sparkline([0.0, None, 1.0]) == "▁ █"

    def test_a_flat_curve_is_flat(self) -> None:
        assert sparkline([0.3, 0.3]) == "▄▄"

    def test_nothing_known_is_nothing_drawn(self) -> None:
        assert sparkline([]) == sparkline([None]) == ""

    def test_more_values_than_columns_are_averaged(self) -> None:
        assert sparkline([0.0, 0.0, 1.0, 1.0], width=2) == "▁█"

    @pytest.mark.parametrize("length", [1, 39, 40, 41, 1000])
    def test_it_is_never_wider_than_asked(self, length: int) -> None:
        assert len(sparkline([number / length for number in range(length)], width=40)) == min(length, 40)

    def test_a_terminal_without_unicode_gets_ascii(self) -> None:
        assert sparkline([0.0, 1.0], ascii_only=True).isascii()


class TestPlot:
    CURVES: ClassVar[dict[str, list[float | None]]] = {"accuracy": [0.2, 0.6, 0.9], "val_accuracy": [0.1, 0.4, None]}

    def test_every_known_value_is_marked_and_the_legend_says_how(self) -> None:
        text = "\n".join(plot(self.CURVES, width=30, height=8))
        assert "● accuracy   ○ val_accuracy" in text
        assert text.count("●") == 3 + 1
        assert text.count("○") == 2 + 1

    def test_the_axes_carry_the_range(self) -> None:
        lines = plot(self.CURVES, width=30, height=8)
        assert lines[0].strip().startswith("0.900")
        assert lines[7].strip().startswith("0.100")
        assert lines[9].split() == ["epoch", "1", "3"]

    @pytest.mark.parametrize("values", [[], [None], [0.5], [0.5, 0.5]])
    def test_short_and_flat_curves_are_no_trouble(self, values: list[float | None]) -> None:
        assert plot({"accuracy": values})

    def test_no_line_is_wider_than_the_plot_and_its_labels(self) -> None:
        assert max(map(len, plot(self.CURVES, width=30))) <= 30 + 8

    def test_a_terminal_without_unicode_gets_ascii(self) -> None:
        assert all(line.isascii() for line in plot(self.CURVES, ascii_only=True))
