"""The pictures of a study: what is in them, read from the SVG."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from study_material import NOTEBOOK, confusion, made_up

from core.objective import Direction, Objective
from service.palette import run_color
from service.studies.answers import Results
from service.studies.confusion import sum_confusions
from service.studies.figures import StudyFigures
from service.studies.picture_names import Picture
from service.studies.pictures import draw
from service.studies.pictures.canvas import readable
from service.studies.pictures.material import Material

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>alert(1)</script> $x^2$ & _first"
SMALL = ((HOSTILE, "lenet", "adam", 32, 4, 0.8, 0.5), *NOTEBOOK[3:5])


def parsed(svg: bytes) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314 - our own picture


def texts(svg: bytes) -> list[str]:
    return ["".join(text.itertext()) for text in parsed(svg).iter(f"{SVG}text")]


def lines(svg: bytes, color: str) -> list[str]:
    """Styles of the lines of that colour."""
    styles = [path.get("style", "") for path in parsed(svg).iter(f"{SVG}path")]
    return [style for style in styles if f"stroke: {color.lower()}" in style and "fill: none" in style]


class TestLearningCurves:
    def test_a_run_has_its_colour_and_name_in_every_picture_training_solid_and_validation_dashed(self) -> None:
        material = made_up(SMALL)
        for picture in (Picture.CURVES, Picture.GRID, Picture.BESTS):
            svg = draw(picture, material, "svg")
            dashed = ["stroke-dasharray" in style for style in lines(svg, run_color(1))]
            assert True in dashed, picture
            assert False in dashed, picture
            assert any(text.endswith("& _first") for text in texts(svg)), picture
            assert "lines: mean of 3 seeds; bands: least to largest" in texts(svg)

    def test_names_are_shown_letter_for_letter(self) -> None:
        svg = draw(Picture.CURVES, made_up(SMALL), "svg")
        assert HOSTILE in texts(svg)
        assert b"<script" not in svg

    def test_one_seed_has_no_band_and_says_nothing_of_one(self) -> None:
        svg = draw(Picture.BESTS, made_up(SMALL[:1], seeds=1), "svg")
        assert not any("bands" in text for text in texts(svg))

    def test_of_many_variants_the_best_are_drawn_and_it_says_so(self) -> None:
        many = [(f"variant {number}", "lenet", "sgd", 32, 2, 0.5, 0.2 + number / 100) for number in range(20)]
        material = made_up(many, seeds=1)
        best = {row.number for row in material.results.rows[:8]}
        material = replace(material, curves=tuple(one for one in material.curves if one.number in best))
        shown = texts(draw(Picture.CURVES, material, "svg"))
        assert "lenet: the best 8 of 20 variants" in shown
        assert "variant 19" in shown
        assert "variant 0" not in shown


class TestRates:
    def test_a_study_of_learning_rates_shows_the_objective_by_them(self) -> None:
        material = made_up(SMALL)
        variants = tuple(
            replace(
                one,
                spec={**one.spec, "optimizer": {"name": "sgd", "learning_rate": 10.0**-one.number}},
                levels={"/optimizer/learning_rate": 10.0**-one.number},
            )
            for one in material.figures.variants
        )
        material = replace(material, figures=replace(material.figures, variants=variants))
        shown = texts(draw(Picture.LEARNING_RATE, material, "svg"))
        assert {"learning rate", "val_accuracy", "0.1", "0.01", "0.001"} <= set(shown)

    def test_else_it_shows_the_rate_over_the_epochs_once_for_variants_alike(self) -> None:
        shown = texts(draw(Picture.LEARNING_RATE, made_up(NOTEBOOK[:3]), "svg"))
        assert {"epoch", "LeNet-1", "LeNet-2 and 1 other"} <= set(shown)

    def test_time_shows_the_target_and_plain_numbers_on_a_wide_scale(self) -> None:
        shown = texts(draw(Picture.TIME, made_up(NOTEBOOK[2:5]), "svg"))
        assert {"target 0.4", "seconds of training and validation", "100", "1000"} <= set(shown)


class TestEffects:
    def test_each_comparison_has_a_line_under_its_factor(self) -> None:
        svg = draw(Picture.EFFECTS, made_up(SMALL), "svg")
        assert {"optimizer", "batch size", "128 against 64 (mycnn, adam)"} <= set(texts(svg))
        assert any("in points, with 95 % interval (right of zero is better)" in text for text in texts(svg))


class TestConfusion:
    def test_seeds_are_added_up_where_they_saw_the_same_classes(self) -> None:
        one = {"labels": ["cat", "dog"], "confusion_matrix": [[3, 1], [0, 4]]}
        other = {"labels": ["cat", "dog"], "confusion_matrix": [[2, 2], [1, 3]]}
        summed = sum_confusions("lenet", [one, other])
        assert summed is not None
        assert (summed.counts, summed.jobs) == (((5, 3), (1, 7)), 2)
        assert sum_confusions("lenet", []) is None
        with pytest.raises(ValueError, match="different classes"):
            sum_confusions("lenet", [one, {**other, "labels": ["cat", "cow"]}])

    @pytest.mark.parametrize("classes", [2, 100])
    def test_every_class_is_named_on_both_sides(self, classes: int) -> None:
        labels = [f"class {number}" for number in range(classes)]
        material = replace(made_up(SMALL[:1], seeds=1), confusion=confusion(labels))
        shown = texts(draw(Picture.CONFUSION, material, "svg"))
        assert all(shown.count(label) == 2 for label in labels)
        assert f"{300 * classes:,} test images, 3 jobs added up" in "\n".join(shown)


@pytest.mark.parametrize("picture", list(Picture))
def test_a_study_without_runs_gets_a_picture_that_says_so(picture: Picture) -> None:
    figures = StudyFigures("0", "empty", Objective("val_accuracy", Direction.MAX), None, ())
    material = Material(figures, Results("val_accuracy", "max", None, ()))
    (words,) = texts(draw(picture, material, "svg"))
    assert re.fullmatch(r"no .* yet", words)


def test_pictures_come_as_png_too() -> None:
    assert draw(Picture.BESTS, made_up(SMALL[:1]), "png").startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("short", "short"),
        ("two\nlines\tand \x00 more", "two lines and more"),
        ("a" * 30 + "b" * 30, "a" * 26 + "…" + "b" * 25),
    ],
)
def test_names_are_one_short_line(name: str, shown: str) -> None:
    assert readable(name) == shown
