import dataclasses
import json
import random

import pytest
from study_figures import Settings, run, study_of

from core.objective import objective_of_metric
from service.studies.answers import Winner
from service.studies.figures import RunFigures, StudyFigures
from service.studies.winners import winners_of

OPTIMIZERS = {"optimizer": ["adam", "sgd"]}
SETTINGS = {"batch_size": [32, 64, 128], "optimizer": ["adam", "sgd"]}


def noisy(sets: Settings, seed: int) -> float:
    return 0.5 + random.Random(f"{sets} {seed}").gauss(0, 0.01)


def overall(figures: StudyFigures) -> Winner:
    winner = winners_of(figures).overall
    assert winner is not None
    return winner


class TestWinner:
    def test_of_all_and_of_each_architecture(self) -> None:
        points = {"lenet": 0.5, "mycnn": 0.6}
        figures = study_of(
            lambda sets, seed: points[sets["/architecture"]] + 0.1 * (sets["/batch_size"] == 64) + 0.001 * seed**2,
            space={"architecture": ["lenet", "mycnn"], "batch_size": [32, 64]},
        )
        winners = winners_of(figures)
        assert overall(figures).name == "architecture=mycnn batch_size=64"
        assert [(winner.architecture, winner.number) for winner in winners.by_architecture] == [
            ("lenet", 2),
            ("mycnn", 4),
        ]

    def test_a_clear_one_says_so(self) -> None:
        better = (0.060, 0.064, 0.061)
        figures = study_of(
            lambda sets, seed: 0.4 + 0.01 * seed + better[seed] * (sets["/optimizer"] == "sgd"), space=OPTIMIZERS
        )
        (winner,) = winners_of(figures).by_architecture
        assert winner.tied == ()
        assert winner.others[0].difference.difference == pytest.approx(sum(better) / 3)
        assert winner.sentence == (
            "optimizer=sgd is the best on lenet: val_accuracy 47.2 %, 95 % interval 44.5 to 49.8, 3 seeds;"
            " the other is distinguishable from it"
        )

    def test_one_that_seeds_do_not_tell_from_others_names_them(self) -> None:
        winner = overall(study_of(noisy, space=SETTINGS))
        assert len(winner.tied) == 5
        assert winner.sentence.endswith(f"not distinguishable from {', '.join(winner.tied[:4])} and {winner.tied[4]}")

    def test_one_seed_cannot_tell(self) -> None:
        winner = overall(study_of(noisy, space=OPTIMIZERS, seeds=1))
        assert "; one seed cannot tell it from optimizer=" in winner.sentence
        assert len(winner.tied) == 1

    def test_a_lower_loss_wins(self) -> None:
        figures = study_of(
            lambda sets, seed: 0.5 + 0.1 * (sets["/optimizer"] == "sgd"),
            space=OPTIMIZERS,
            objective=objective_of_metric("val_loss"),
        )
        assert overall(figures).name == "optimizer=sgd"

    def test_the_only_one_with_a_finished_run(self) -> None:
        figures = study_of(lambda sets, seed: 0.5 if sets["/optimizer"] == "sgd" else None, space=OPTIMIZERS)
        assert overall(figures).sentence == (
            "optimizer=sgd is the only one of all with a finished run: val_accuracy 50.0 %, 3 seeds"
        )

    def test_none_without_a_finished_run(self) -> None:
        winners = winners_of(study_of(lambda sets, seed: None, space=OPTIMIZERS))
        assert (winners.overall, winners.by_architecture) == (None, ())

    def test_a_diverged_run_neither_wins_nor_breaks_the_answer(self) -> None:
        def reached(sets: Settings, seed: int) -> RunFigures:
            loss = float("inf") if sets["/optimizer"] == "sgd" and seed else 0.5
            return dataclasses.replace(run(seed, 0.5), val_loss=loss)

        figures = study_of(reached, space=OPTIMIZERS, objective=objective_of_metric("val_loss"))
        json.dumps(dataclasses.asdict(winners_of(figures)), allow_nan=False)

    def test_among_equals_hardly_a_study_has_a_winner_that_it_tells_from_any(self) -> None:
        """The winner is chosen by looking: correcting for the comparisons with it alone would tell one in ten."""
        rng = random.Random(1)
        base = study_of(noisy, space=SETTINGS, seeds=4)
        told = 0
        for _ in range(400):
            variants = tuple(
                dataclasses.replace(variant, runs=tuple(run(seed, rng.gauss(0.5, 0.01)) for seed in range(4)))
                for variant in base.variants
            )
            figures: StudyFigures = dataclasses.replace(base, variants=variants)
            told += len(overall(figures).tied) < 5
        assert told / 400 <= 0.06
