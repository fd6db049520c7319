import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from worker.imports.contact_sheet import ContactSheet
from worker.imports.source import Pixels

Colour = tuple[int, int, int]

RED, BLUE = (200, 30, 30), (30, 30, 200)


def block(colour: Colour, height: int = 40, width: int = 40) -> Pixels:
    return np.full((height, width, 3), colour, np.uint8)


def drawn(sheet: ContactSheet) -> NDArray[np.int64]:
    image = Image.open(io.BytesIO(sheet.draw()))
    assert image.format == "PNG"
    return np.asarray(image.convert("RGB")).astype(int)


def count(image: NDArray[np.int64], colour: Colour) -> int:
    return int((np.abs(image - colour).max(axis=2) <= 2).sum())


class TestWants:
    def test_until_the_row_is_full(self) -> None:
        sheet = ContactSheet(["rose", "tulip"], per_class=2)
        for _ in range(2):
            assert sheet.wants(0)
            sheet.add(0, block(RED))
        assert not sheet.wants(0)
        assert sheet.wants(1)

    def test_no_samples_of_classes_that_are_not_shown(self) -> None:
        sheet = ContactSheet(["a", "b", "c"], most_classes=2)
        assert sheet.wants(1)
        assert not sheet.wants(2)


class TestAdd:
    def test_more_than_wanted_changes_nothing(self) -> None:
        sheet = ContactSheet(["rose"], per_class=1)
        sheet.add(0, block(RED))
        before = sheet.draw()
        sheet.add(0, block(BLUE))
        assert sheet.draw() == before

    def test_keeps_a_copy(self) -> None:
        sheet = ContactSheet(["rose"])
        pixels = block(RED, 48, 48)
        sheet.add(0, pixels)
        pixels[:] = 0
        assert count(drawn(sheet), RED) == 48 * 48

    @pytest.mark.parametrize("shape", [(1, 1, 1), (1, 3000, 3), (3000, 1, 1), (8, 8, 1), (200, 150, 3)])
    def test_takes_every_shape(self, shape: tuple[int, ...]) -> None:
        sheet = ContactSheet(["rose"])
        sheet.add(0, np.full(shape, 7, np.uint8))
        assert count(drawn(sheet), (7, 7, 7)) > 0


class TestDraw:
    def test_each_class_has_its_row_of_tiles(self) -> None:
        sheet = ContactSheet(["rose", "tulip"], per_class=3, tile=20)
        for label, colour, samples in ((0, RED, 3), (1, BLUE, 2)):
            for _ in range(samples):
                sheet.add(label, block(colour))
        image = drawn(sheet)
        assert count(image, RED) == 3 * 400
        assert count(image, BLUE) == 2 * 400
        rows = [np.flatnonzero((np.abs(image - colour).max(axis=2) <= 2).any(axis=1)) for colour in (RED, BLUE)]
        assert rows[0].max() < rows[1].min()

    def test_proportions_are_kept(self) -> None:
        sheet = ContactSheet(["rose"], tile=40)
        sheet.add(0, block(RED, 30, 60))
        red = np.abs(drawn(sheet) - RED).max(axis=2) <= 2
        rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
        assert (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1) == (20, 40)

    def test_small_images_keep_their_hard_pixels(self) -> None:
        sheet = ContactSheet(["rose"], tile=48)
        sheet.add(0, np.array([[[0], [255]], [[255], [0]]], np.uint8))
        assert count(drawn(sheet), (0, 0, 0)) == 2 * 24 * 24

    def test_the_rest_of_the_classes_is_told(self) -> None:
        sheet, full = ContactSheet(["a"] * 130, most_classes=100), ContactSheet(["a"] * 100)
        assert drawn(sheet).shape[0] > drawn(full).shape[0]
        assert (drawn(sheet)[-60:, :100].min(axis=2) < 150).any()

    def test_long_labels_do_not_widen_the_sheet(self) -> None:
        widths = [drawn(ContactSheet(["rose", "long label " * factor])).shape[1] for factor in (10, 1000)]
        assert abs(widths[0] - widths[1]) <= 8

    @pytest.mark.parametrize("label", ["", "日本語", "a\nb\0c", "\u202e", "é", "?" * 5, "🌹"])
    def test_any_label_can_be_drawn(self, label: str) -> None:
        assert drawn(ContactSheet([label, "b"])).shape[2] == 3

    def test_accents_are_drawn_without(self) -> None:
        assert ContactSheet(["chêne"]).draw() == ContactSheet(["chene"]).draw()

    def test_letters_that_the_font_lacks_give_way_to_the_number_of_the_class(self) -> None:
        assert ContactSheet(["日本"]).draw() == ContactSheet(["class 0: ??"]).draw()

    def test_a_dataset_without_samples_is_drawn_too(self) -> None:
        assert drawn(ContactSheet([])).size > 0
        assert drawn(ContactSheet(["rose"])).size > 0
