import csv
import dataclasses
import io
import json

import pytest
from study_figures import Settings, run, study_of

from core.objective import objective_of_metric
from service.studies.figures import RunFigures, StudyFigures
from service.studies.results import as_csv, as_markdown, results_of

OPTIMIZERS = {"optimizer": ["adam", "sgd", "adagrad"]}
ACCURACIES = {"adam": (0.40, 0.42, 0.44), "sgd": (0.50, 0.52, 0.54), "adagrad": (None, None, None)}


@pytest.fixture
def figures() -> StudyFigures:
    return study_of(lambda sets, seed: ACCURACIES[sets["/optimizer"]][seed], space=OPTIMIZERS, target=0.4)


class TestRows:
    def test_best_first_and_what_has_not_finished_last(self, figures: StudyFigures) -> None:
        rows = results_of(figures).rows
        assert [(row.rank, row.number, row.optimizer) for row in rows] == [
            (1, 2, "sgd"),
            (2, 1, "adam"),
            (None, 3, "adagrad"),
        ]

    def test_means_over_the_seeds(self, figures: StudyFigures) -> None:
        best = results_of(figures).rows[0]
        assert (best.seeds, best.finished, best.states) == (3, 3, {"SUCCEEDED": 3})
        assert (best.train_accuracy, best.val_accuracy, best.test_accuracy) == pytest.approx((0.62, 0.52, 0.51))
        assert (best.objective.low, best.objective.high) == pytest.approx((0.47032, 0.56968), abs=1e-5)
        assert best.gap == pytest.approx(0.1)
        assert (best.epochs_to_target, best.reached_target) == (3.0, 3)
        assert (best.seconds, best.images_per_second, best.jobs) == (10.0, 1000.0, ("job0", "job1", "job2"))

    def test_only_finished_runs_count(self) -> None:
        def reached(sets: Settings, seed: int) -> RunFigures | float:
            return run(seed, 0.9, state="CANCELLED", reason="PRUNED") if seed == 2 else 0.5

        (row,) = results_of(study_of(reached, space={"batch_size": [32]})).rows
        assert (row.finished, row.val_accuracy, row.reached_target) == (2, 0.5, None)
        assert row.states == {"SUCCEEDED": 2, "PRUNED": 1}
        assert row.objective.note

    def test_a_lower_loss_ranks_first(self) -> None:
        figures = study_of(
            lambda sets, seed: ACCURACIES[sets["/optimizer"]][seed],
            space=OPTIMIZERS,
            objective=objective_of_metric("val_loss"),
        )
        results = results_of(figures)
        assert results.direction == "min"
        assert results.rows[0].optimizer == "sgd"

    def test_optimizers_are_told_by_the_options_in_which_they_differ(self) -> None:
        space = {"optimizer": [{"name": "adam"}, {"name": "adam", "learning_rate": 0.01}, {"name": "sgd"}]}
        rows = results_of(study_of(lambda sets, seed: 0.5, space=space)).rows
        assert [row.optimizer for row in rows] == ["adam learning_rate 0.001", "adam learning_rate 0.01", "sgd"]

    def test_figures_that_are_not_finite_are_none(self) -> None:
        def reached(sets: Settings, seed: int) -> RunFigures:
            return dataclasses.replace(
                run(seed, 0.5), val_accuracy=float("nan"), train_accuracy=float("inf"), images_per_second=1e300
            )

        results = results_of(study_of(reached, space={"batch_size": [32]}))
        json.dumps(dataclasses.asdict(results), allow_nan=False)
        assert results.rows[0].rank is None


class TestCsv:
    def test_a_line_a_variant_with_every_digit(self, figures: StudyFigures) -> None:
        results = results_of(figures)
        first, *_, last = csv.DictReader(io.StringIO(as_csv(results)))
        assert (first["rank"], first["run"], first["architecture"], first["batch"]) == (
            "1",
            "optimizer=sgd",
            "lenet",
            "32",
        )
        assert float(first["mean"]) == results.rows[0].objective.mean
        assert (last["rank"], last["mean"], last["finished"], last["seeds"]) == ("", "", "0", "3")


class TestMarkdown:
    def test_the_objective_with_its_interval(self, figures: StudyFigures) -> None:
        header, _, best, *_, last = as_markdown(results_of(figures)).splitlines()
        assert "| val_accuracy (95 % interval) |" in header
        assert "| 0.5200 (0.4703 to 0.5697) |" in best
        assert last.startswith("| - | optimizer=adagrad |")
        assert "| 0 of 3 |" in last

    def test_a_name_cannot_break_the_table(self) -> None:
        figures = study_of(lambda sets, seed: 0.5, variants=[{"name": "a|b\nc"}])
        *_, row = as_markdown(results_of(figures)).splitlines()
        assert "| a\\|b c |" in row
