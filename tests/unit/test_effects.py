import dataclasses
import json
import random
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from study_figures import Settings, run, study_of

from core.objective import objective_of_metric
from service.studies.answers import Verdict
from service.studies.effects import effects_of
from service.studies.figures import RunFigures, StudyFigures, VariantFigures

NOISE = (0.000, 0.004, 0.001)


def settled(sets: Settings, seed: int, **points: float) -> float:
    """Accuracy 0.5, with points for what the variant sets, and what the seed adds to all."""
    return 0.5 + 0.01 * seed + sum(points.get(str(value), 0.0) for value in sets.values())


def sentences(figures: StudyFigures) -> list[str]:
    return [effect.sentence for effect in effects_of(figures).effects]


def warnings(figures: StudyFigures) -> set[tuple[str, tuple[str, ...]]]:
    return {(warning.code, warning.factors) for warning in effects_of(figures).warnings}


class TestSentences:
    def test_better_by_so_many_points_with_interval_and_seeds(self) -> None:
        accuracies = {"adam": (0.40, 0.41, 0.42), "sgd": (0.44, 0.452, 0.461)}
        figures = study_of(
            lambda sets, seed: accuracies[sets["/optimizer"]][seed], space={"optimizer": ["adam", "sgd"]}
        )
        assert sentences(figures) == ["sgd is 4.1 points better than adam, 95 % interval 3.9 to 4.3, 3 seeds"]

    def test_worse_counts_in_its_own_direction(self) -> None:
        accuracies = {"adam": (0.40, 0.41, 0.42), "sgd": (0.36, 0.368, 0.379)}
        figures = study_of(
            lambda sets, seed: accuracies[sets["/optimizer"]][seed], space={"optimizer": ["adam", "sgd"]}
        )
        assert sentences(figures) == ["sgd is 4.1 points worse than adam, 95 % interval 3.9 to 4.3, 3 seeds"]

    def test_a_lower_loss_is_better_and_has_no_points(self) -> None:
        figures = study_of(
            lambda sets, seed: settled(sets, seed, sgd=0.04 + 0.1 * NOISE[seed]),
            space={"optimizer": ["adam", "sgd"]},
            objective=objective_of_metric("val_loss"),
        )
        (effect,) = effects_of(figures).effects
        assert effect.verdict is Verdict.BETTER
        assert effect.objective.difference == pytest.approx(-0.0401666667)
        assert effect.sentence.startswith("sgd is better than adam by 0.0402 in val_loss, 95 % interval 0.0")

    def test_not_distinguishable(self) -> None:
        differences = (0.01, -0.02, 0.013)
        figures = study_of(
            lambda sets, seed: settled(sets, 0, sgd=differences[seed]), space={"optimizer": ["adam", "sgd"]}
        )
        assert sentences(figures) == [
            "sgd and adam are not distinguishable: difference 0.1 points, 95 % interval -4.4 to 4.6, 3 seeds"
        ]

    def test_identical_runs_are_not_distinguishable(self) -> None:
        figures = study_of(lambda sets, seed: 0.5, space={"optimizer": ["adam", "sgd"]})
        (effect,) = effects_of(figures).effects
        assert effect.verdict is Verdict.NOT_DISTINGUISHABLE
        assert "identical results" in effect.sentence

    def test_one_seed_cannot_tell(self) -> None:
        figures = study_of(
            lambda sets, seed: settled(sets, seed, sgd=0.1), space={"optimizer": ["adam", "sgd"]}, seeds=1
        )
        assert sentences(figures) == ["one seed cannot tell sgd from adam: difference 10.0 points"]
        assert warnings(figures) == {("too_few_seeds", ())}

    def test_unfinished_seeds_are_left_out_and_told(self) -> None:
        figures = study_of(
            lambda sets, seed: None if seed == 2 and "sgd" in sets.values() else settled(sets, seed, sgd=0.1),
            space={"optimizer": ["adam", "sgd"]},
        )
        (effect,) = effects_of(figures).effects
        assert (effect.objective.pairs, effect.objective.left_out) == (2, 1)
        assert "1 left out" in effect.sentence

    def test_levels_are_named_as_people_name_them(self) -> None:
        figures = study_of(
            settled,
            base={"dataset": "mnist", "architecture": "lenet"},
            space={
                "dataset.classes": [None, list(range(5))],
                "dataset.train_limit": [None, 2000],
                "augmentation": [None, {"rotation": 0.1}],
            },
        )
        text = " ".join(sentences(figures))
        for words in (
            "5 classes and all classes",
            "2,000 images and all images",
            "augmentation rotation 0.1 and no augmentation",
        ):
            assert words in text


class TestFactors:
    def factors(self, **spec: Any) -> dict[str, list[str]]:
        figures = study_of(settled, **spec)
        return {factor.name: [level.text for level in factor.levels] for factor in effects_of(figures).factors}

    def test_an_optimizer_goes_with_its_options(self) -> None:
        space = {"optimizer": ["adam", {"name": "adam", "learning_rate": 0.01}, "sgd"]}
        assert self.factors(space=space) == {
            "optimizer": ["adam learning_rate 0.001", "adam learning_rate 0.01", "sgd"]
        }

    def test_an_option_that_the_space_varies_is_a_factor_of_its_own(self) -> None:
        space = {"optimizer": ["adam", "sgd"], "optimizer.learning_rate": [0.001, 0.01]}
        assert self.factors(space=space) == {"optimizer": ["adam", "sgd"], "optimizer.learning_rate": ["0.001", "0.01"]}

    def test_options_that_an_architecture_decides_are_no_factors(self) -> None:
        assert self.factors(space={"architecture": ["lenet", "mycnn", "alexnet"]}) == {
            "architecture": ["lenet", "mycnn", "alexnet"]
        }

    def test_options_that_vary_within_an_architecture_are(self) -> None:
        space = {"architecture": ["lenet", {"name": "mycnn"}, {"name": "mycnn", "dropout": 0.2}]}
        assert self.factors(space=space) == {
            "architecture": ["lenet", "mycnn"],
            "architecture.dropout": ["none", "0.2"],
        }

    def test_label_smoothing_in_its_short_form(self) -> None:
        assert self.factors(space={"loss.label_smoothing": [0.0, 0.1]}) == {"loss.label_smoothing": ["0", "0.1"]}

    def test_epochs_are_not_told_beside_the_phases_they_are_the_sum_of(self) -> None:
        assert self.factors(space={"phases": [None, [{"epochs": 3}, {"epochs": 4}]]}) == {
            "phases": ["none", "3+4 epochs"]
        }

    def test_what_does_not_decide_what_is_learned_is_no_factor(self) -> None:
        space = {"priority": [0, 1], "optimizer": ["adam", "sgd"]}
        assert self.factors(space=space) == {"optimizer": ["adam", "sgd"], "repeat": ["1", "2"]}

    def test_two_variants_with_one_spec_are_a_null_pair(self) -> None:
        variants = [{"name": "one"}, {"name": "again"}]
        figures = study_of(
            lambda sets, seed: 0.5 + random.Random(sets["name"] + str(seed)).gauss(0, 0.01), variants=variants
        )
        (effect,) = effects_of(figures).effects
        assert effect.variants == ((2, 1),)
        assert effect.verdict is Verdict.NOT_DISTINGUISHABLE


CROSSED = {"optimizer": ["adam", "sgd"], "architecture": ["lenet", "alexnet"]}


class TestContexts:
    def reached(self, sets: Settings, seed: int) -> float:
        both = sets["/optimizer"] == "sgd" and sets["/architecture"] == "alexnet"
        return settled(sets, seed, alexnet=-0.1) + (0.06 + NOISE[seed] if both else 0.0)

    def test_each_architecture_and_then_all(self) -> None:
        effects = [
            effect
            for effect in effects_of(study_of(self.reached, space=CROSSED)).effects
            if effect.factor == "optimizer"
        ]
        assert [(effect.context, effect.where, effect.contexts) for effect in effects] == [
            ({"architecture": "lenet"}, "lenet", 1),
            ({"architecture": "alexnet"}, "alexnet", 1),
            (None, "", 2),
        ]
        lenet, alexnet, both = (effect.objective.difference or 0.0 for effect in effects)
        assert lenet == pytest.approx(0)
        assert both == pytest.approx((lenet + alexnet) / 2)

    def test_an_effect_that_depends_on_the_architecture(self) -> None:
        (found,) = effects_of(study_of(self.reached, space=CROSSED)).interactions
        assert (found.factor, found.other, found.other_level) == ("optimizer", "architecture", "alexnet")
        assert found.difference.difference == pytest.approx(0.06 + sum(NOISE) / 3)
        assert found.clear
        assert found.sentence.startswith(
            "sgd minus adam is 6.2 points more with alexnet than with lenet, 95 % interval 5.6 to 6.7"
        )

    def test_a_seed_counts_over_all_contexts_or_not_at_all(self) -> None:
        figures = study_of(
            lambda sets, seed: None if seed == 0 and sets["/architecture"] == "alexnet" else self.reached(sets, seed),
            space=CROSSED,
        )
        overall = next(
            effect for effect in effects_of(figures).effects if effect.contexts == 2 and effect.factor == "optimizer"
        )
        assert (overall.objective.pairs, overall.objective.left_out) == (2, 1)

    def test_a_context_that_never_finished_leaves_the_others(self) -> None:
        figures = study_of(
            lambda sets, seed: None if sets["/architecture"] == "alexnet" else self.reached(sets, seed),
            space=CROSSED,
        )
        overall = next(
            effect for effect in effects_of(figures).effects if effect.contexts == 2 and effect.factor == "optimizer"
        )
        assert overall.objective.pairs == 3

    def test_without_the_baseline_the_first_variants_level_of_a_context_is_its_own(self) -> None:
        variants = [
            {"name": "a", "set": {"batch_size": 32}},
            {"name": "b", "set": {"architecture": "mycnn", "batch_size": 64}},
            {"name": "c", "set": {"architecture": "mycnn", "batch_size": 128}},
        ]
        figures = study_of(settled, variants=variants)
        assert [(effect.level, effect.baseline, effect.where) for effect in effects_of(figures).effects] == [
            ("128", "64", "mycnn")
        ]


class TestWarnings:
    def test_factors_that_changed_together_are_named(self) -> None:
        variants = [
            {"name": "a", "set": {"optimizer": "adam", "batch_size": 32}},
            {"name": "b", "set": {"optimizer": "sgd", "batch_size": 128}},
        ]
        figures = study_of(settled, variants=variants)
        answer = effects_of(figures)
        assert not answer.effects
        (warning,) = answer.warnings
        assert (warning.code, warning.factors) == ("confounded", ("optimizer", "batch_size"))
        assert "optimizer changed together with batch size: sgd and batch size 128 in 'b'" in warning.detail

    def test_nothing_is_confounded_in_a_grid(self) -> None:
        space = {"optimizer": ["adam", "sgd"], "batch_size": [32, 64], "architecture": ["lenet", "mycnn"]}
        assert warnings(study_of(settled, space=space)) == set()

    def test_a_loss_does_not_judge_losses(self) -> None:
        space = {"loss": ["sparse_categorical_crossentropy", "poisson"]}
        figures = study_of(lambda sets, seed: 0.5, space=space, objective=objective_of_metric("val_loss"))
        assert warnings(figures) == {("incomparable", ("loss",))}
        assert not effects_of(figures).effects

    def test_a_factor_with_too_many_levels_is_left_out(self) -> None:
        space = {"batch_size": list(range(1, 41)), "optimizer": ["adam", "sgd"]}
        figures = study_of(settled, space=space, seeds=3)
        assert ("too_many_levels", ("batch_size",)) in warnings(figures)
        assert {effect.factor for effect in effects_of(figures).effects} == {"optimizer"}

    def test_a_thousand_variants_take_seconds(self) -> None:
        space = {
            "batch_size": list(range(1, 11)),
            "optimizer": ["adam", "sgd", "adagrad", "rmsprop", "nadam", "adamax", "adadelta", "ftrl", "lion", "adamw"],
            "epochs": list(range(1, 11)),
        }
        figures = study_of(lambda sets, seed: random.Random(str(sets) + str(seed)).random(), space=space)
        began = time.process_time()
        answer = effects_of(figures)
        assert time.process_time() - began < 5
        assert {effect.contexts for effect in answer.effects} == {100}
        assert {warning.code for warning in answer.warnings} == {"too_many_levels"}


class TestStatement:
    def test_how_many_were_made_and_how_many_by_chance(self) -> None:
        space = {"batch_size": [32, 64, 128], "optimizer": ["adam", "sgd"]}
        figures = study_of(
            lambda sets, seed: settled(sets, 0) + random.Random(str(sets) + str(seed)).gauss(0, 0.01), space=space
        )
        answer = effects_of(figures)
        assert answer.comparisons == len(answer.effects) == 13
        assert answer.expected_by_chance == pytest.approx(0.65)
        assert answer.statement.startswith("13 comparisons were made.")
        assert "about 0.65 would have by chance alone" in answer.statement

    def test_an_effect_that_only_its_own_interval_sees_says_so(self) -> None:
        def reached(sets: Settings, seed: int) -> float:
            clear: bool = sets["/optimizer"] == "sgd"
            return settled(sets, 0) + 0.02 * clear + random.Random(str(sets) + str(seed)).gauss(0, 0.01)

        answer = effects_of(
            study_of(reached, seeds=5, space={"batch_size": [32, 64, 128, 256], "optimizer": ["adam", "sgd"]})
        )
        for effect in answer.effects:
            assert effect.verdict is not Verdict.CANNOT_TELL
            told = effect.verdict is not Verdict.NOT_DISTINGUISHABLE
            assert told <= effect.outside_alone
            assert ("not among so many comparisons" in effect.sentence) == (effect.outside_alone and not told)
        assert answer.outside_alone > answer.distinguishable


def bare_study(accuracies: list[list[float]]) -> StudyFigures:
    """Of variants that differ in their optimizer alone, with as little of a spec as can be: simulations make thousands."""
    variants = [
        VariantFigures(
            number,
            str(number),
            "lenet",
            {"architecture": {"name": "lenet"}, "optimizer": {"name": f"optimizer{number}"}},
            {},
            tuple(run(seed, accuracy) for seed, accuracy in enumerate(of_one)),
        )
        for number, of_one in enumerate(accuracies, 1)
    ]
    return StudyFigures("id", "study", objective_of_metric("val_accuracy"), None, tuple(variants))


class TestNullStudies:
    @pytest.mark.parametrize("seeds", [3, 5, 10])
    def test_one_comparison_of_equals_is_mostly_not_distinguishable(self, seeds: int) -> None:
        rng = random.Random(seeds)
        told = 0
        for _ in range(2000):
            common = [rng.gauss(0.5, 0.01) for _ in range(seeds)]
            (effect,) = effects_of(
                bare_study([[value + rng.gauss(0, 0.01) for value in common] for _ in range(2)])
            ).effects
            told += effect.verdict is not Verdict.NOT_DISTINGUISHABLE
        assert 0.93 <= 1 - told / 2000 <= 0.97

    def test_of_several_comparisons_of_equals_hardly_a_study_tells_any(self) -> None:
        rng = random.Random(0)
        told = 0
        for _ in range(400):
            answer = effects_of(bare_study([[rng.gauss(0.5, 0.01) for _ in range(4)] for _ in range(6)]))
            assert answer.comparisons == 5
            told += answer.distinguishable > 0
        assert told / 400 <= 0.06


ACCURACY = st.none() | st.floats(0, 1)
LOSS = st.none() | st.floats() | st.sampled_from([1e-300, 5e-324, 1e160, 1e308])


class TestAnyFigures:
    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.lists(ACCURACY, min_size=4, max_size=4), min_size=4, max_size=4))
    def test_the_difference_is_that_of_the_runs_own_figures(self, accuracies: list[list[float | None]]) -> None:
        points = iter(accuracies)
        rows: dict[tuple[str, int], list[float | None]] = {}

        def reached(sets: Settings, seed: int) -> float | None:
            key = (sets["/optimizer"], sets["/batch_size"])
            if key not in rows:
                rows[key] = next(points)
            return rows[key][seed]

        figures = study_of(reached, seeds=4, space={"optimizer": ["adam", "sgd"], "batch_size": [32, 64]})
        by_number = {variant.number: variant for variant in figures.variants}
        for effect in effects_of(figures).effects:
            differences = {}
            for one, other in effect.variants:
                pairs = zip(by_number[one].runs, by_number[other].runs, strict=True)
                own = {
                    first.seed: first.val_accuracy - second.val_accuracy
                    for first, second in pairs
                    if first.val_accuracy is not None and second.val_accuracy is not None
                }
                if own:
                    differences[one, other] = own
            seeds = [seed for seed in range(4) if differences and all(seed in own for own in differences.values())]
            assert effect.objective.pairs == len(seeds)
            assert effect.objective.left_out == 4 - len(seeds)
            if not seeds:
                assert effect.objective.difference is None
                continue
            expected = sum(own[seed] for own in differences.values() for seed in seeds) / len(seeds) / len(differences)
            assert effect.objective.difference == pytest.approx(expected, abs=1e-9)

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(
            st.tuples(LOSS, LOSS, LOSS, st.sampled_from(["SUCCEEDED", "FAILED", "RUNNING"])), min_size=12, max_size=12
        )
    )
    def test_never_nan_nor_infinite(self, figures: list[tuple[float | None, float | None, float | None, str]]) -> None:
        given_figures = iter(figures)

        def reached(sets: Settings, seed: int) -> RunFigures:
            loss, train, test, state = next(given_figures)
            return dataclasses.replace(
                run(seed, 0.5), val_loss=loss, train_accuracy=train, test_accuracy=test, state=state
            )

        study = study_of(
            reached,
            space={"optimizer": ["adam", "sgd"], "batch_size": [32, 64]},
            objective=objective_of_metric("val_loss"),
        )
        json.dumps(dataclasses.asdict(effects_of(study)), allow_nan=False)

    def test_an_empty_study_says_so(self) -> None:
        empty = StudyFigures("id", "study", objective_of_metric("val_accuracy"), None, ())
        answer = effects_of(empty)
        assert (answer.factors, answer.effects, answer.interactions, answer.warnings) == ((), (), (), ())
        assert answer.statement == "No two settings could be compared over at least two seeds."
