"""What a comparison tells: which fields differ, how histories are thinned out, what a picture calls a job."""

from __future__ import annotations

from typing import Any

import pytest

from core.objective import Direction, Objective
from core.repositories.comparisons import EpochTotals, Sampling
from service.comparisons.comparison import ComparedJob, Comparison, Curves, Figures
from service.comparisons.fields import differences
from service.comparisons.labels import label_of, telling
from service.comparisons.picture import BEST_SHOWN, MOST_COLOURED, draw_comparison
from service.comparisons.sampling import describe


class TestDifferences:
    @pytest.mark.parametrize(
        ("specs", "fields"),
        [
            ([{"a": 1, "b": 2}, {"a": 1, "b": 3}], ["/b"]),
            ([{"a": {"b": 1}}, {"a": {"b": 2, "c": 3}}], ["/a/b", "/a/c"]),
            ([{"classes": ["x", "y"]}, {"classes": ["x"]}], ["/classes"]),
            ([{"phases": [{"epochs": 2}]}, {"phases": None}], ["/phases/0/epochs"]),
            ([{"tags": {}}, {"tags": {"a/b": "c"}}], ["/tags/a~1b"]),
            ([{"a": None}, {"a": 0}], ["/a"]),
            ([{"a": 1}, {"b": 1, "a": 1}], ["/b"]),
        ],
    )
    def test_they_are_found_wherever_they_are(self, specs: list[dict[str, Any]], fields: list[str]) -> None:
        assert list(differences(specs)[0]) == fields

    def test_fields_keep_the_specs_order_also_those_that_the_first_does_not_have(self) -> None:
        adam = {"optimizer": {"rate": 1, "beta": 2, "name": "adam"}, "batch": 1}
        sgd = {"optimizer": {"rate": 2, "momentum": 0, "name": "sgd"}, "batch": 2}
        fields, values = differences([adam, sgd])
        assert fields == (
            "/optimizer/rate",
            "/optimizer/momentum",
            "/optimizer/beta",
            "/optimizer/name",
            "/batch",
        )
        assert values[0]["/optimizer/beta"] == 2
        assert "/optimizer/momentum" not in values[0]


class TestSampling:
    @pytest.mark.parametrize(
        ("last", "stride"), [(1, 1), (50, 1), (51, 2), (100, 2), (101, 4), (200, 4), (201, 8), (100_000, 2048)]
    )
    def test_the_stride_is_the_smallest_power_of_two_that_leaves_few_enough(self, last: int, stride: int) -> None:
        assert Sampling(50).stride(last) == stride

    def test_several_strides_are_told(self) -> None:
        totals = [EpochTotals(last, last, 1.0, None) for last in (30, 60, 300)]
        told = describe(totals, Sampling(50), 110)
        assert told is not None
        assert (told.epochs, told.points) == (390, 110)
        assert "a power of two (2 to 8, the longer the job the greater)" in told.method
        assert describe(totals[:1], Sampling(50), 30) is None


def comparison(specs: list[dict[str, Any]], epochs: int = 3) -> Comparison:
    fields, values = differences(specs)
    numbers = tuple(range(1, epochs + 1))
    jobs = []
    for place, spec in enumerate(values):
        rising = tuple(place / 1000 + number / 100 for number in numbers)
        curves = Curves(numbers, rising, rising, rising, tuple(None if n == 1 else n / 100 for n in numbers))
        figures = Figures(epochs=epochs, val_accuracy=rising[-1] if epochs else None)
        jobs.append(ComparedJob(f"job{place}", "SUCCEEDED", None, "lenet", "digits", spec, figures, {}, curves))
    return Comparison("job0", Objective("val_accuracy", Direction.MAX), fields, tuple(jobs), None)


class TestLabels:
    def test_names_come_first_and_what_follows_from_them_is_left_out(self) -> None:
        found = comparison(
            [
                {"optimizer": {"learning_rate": 0.001, "beta": 0.9, "name": "adam"}, "batch_size": 32},
                {"optimizer": {"learning_rate": 0.01, "name": "sgd"}, "batch_size": 32},
                {"optimizer": {"learning_rate": 0.01, "name": "sgd"}, "batch_size": 64},
            ]
        )
        assert telling(found) == ["/optimizer/name", "/batch_size"]
        assert label_of(found.jobs[2], 3, telling(found)) == "3 optimizer=sgd batch_size=64"

    def test_an_option_that_was_tried_is_told(self) -> None:
        found = comparison([{"optimizer": {"learning_rate": rate, "name": "sgd"}} for rate in (0.1, 0.2)])
        assert label_of(found.jobs[0], 1, telling(found)) == "1 learning_rate=0.1"

    def test_without_differences_it_is_the_id_and_a_long_one_is_cut(self) -> None:
        assert label_of(comparison([{"a": 1}]).jobs[0], 1, []) == "1 job0"
        found = comparison([{"a": "x" * 100}, {"a": "y"}])
        assert len(label_of(found.jobs[0], 1, telling(found))) < 60


class TestPicture:
    def test_of_many_the_best_are_coloured_and_it_says_so(self) -> None:
        text = draw_comparison(comparison([{"seed": n} for n in range(MOST_COLOURED + 5)]), "svg").decode()
        assert f"<!-- best {BEST_SHOWN} of 25 jobs by val_accuracy -->" in text
        assert "<!-- 25 seed=24  0.054 -->" in text
        assert "<!-- the other 19 jobs -->" in text

    def test_of_few_each_has_its_colour(self) -> None:
        text = draw_comparison(comparison([{"tag": "$a_$"}, {"tag": "$x^"}]), "svg").decode()
        assert "<!-- 1 tag=$a_$ (baseline)  0.03 -->" in text
        assert "<!-- 2 tag=$x^  0.031 -->" in text

    @pytest.mark.parametrize("jobs", [1, MOST_COLOURED + 1])
    def test_without_epochs_it_says_so(self, jobs: int) -> None:
        text = draw_comparison(comparison([{"seed": n} for n in range(jobs)], epochs=0), "svg").decode()
        assert "no finished epoch yet" in text
