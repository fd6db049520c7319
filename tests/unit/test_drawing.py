"""What all pictures have in common: colours that stay, and a file that is the same whenever it is drawn."""

from __future__ import annotations

from threading import Thread

import pytest

from service.drawing import PictureKind, dress, encode, new_figure
from service.palette import COLORS, run_color, run_style


class TestRunColors:
    def test_the_same_number_has_the_same_colour_and_the_first_runs_all_differ(self) -> None:
        assert [run_color(number) for number in range(1, len(COLORS) + 1)] == list(COLORS)
        assert run_color(3) == run_color(3) == run_style(3)["color"]

    def test_more_runs_than_colours_differ_by_marker(self) -> None:
        styles = [tuple(run_style(number).items()) for number in range(1, 57)]
        assert len(set(styles)) == 56


def drawn(kind: PictureKind) -> bytes:
    with new_figure(3, 2) as figure:
        axes = figure.subplots()
        dress(axes, "epoch", "accuracy")
        axes.plot([1, 2], [0.5, 0.6], **run_style(1))
        return encode(figure, kind)


class TestDrawing:
    @pytest.mark.parametrize("kind", ["png", "svg"])
    def test_the_same_figure_has_the_same_bytes(self, kind: PictureKind) -> None:
        assert drawn(kind) == drawn(kind)

    def test_several_threads_draw_one_after_the_other(self) -> None:
        pictures: list[bytes] = []
        threads = [Thread(target=lambda: pictures.append(drawn("svg"))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(pictures) == 4
        assert len(set(pictures)) == 1
