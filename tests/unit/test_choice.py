"""The rules by which a version takes over: never by test metrics, never by a tie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.choice import Contender, choose, judge
from core.objective import Direction, Objective

ACCURACY = Objective("val_accuracy", Direction.MAX)
LOSS = Objective("val_loss", Direction.MIN)
SERVED = Contender(1, ACCURACY, {"val_accuracy": 0.8, "val_loss": 0.5, "test_accuracy": 0.7}, 1000, 4000)


def challenger(**changes: Any) -> Contender:
    metrics = {name: changes.pop(name) for name in tuple(changes) if name.startswith(("val_", "test_"))}
    return replace(SERVED, **{"version": 2, **changes}, metrics={**SERVED.metrics, **metrics})


class TestRules:
    @pytest.mark.parametrize(
        ("changes", "better", "decided_by"),
        [
            ({"val_accuracy": 0.81, "val_loss": 9.0, "parameters": 9999}, True, "val_accuracy"),
            ({"val_accuracy": 0.79, "val_loss": 0.1}, False, "val_accuracy"),
            ({"val_loss": 0.4, "parameters": 9999}, True, "val_loss"),
            ({"val_loss": 0.6, "parameters": 1}, False, "val_loss"),
            ({"val_loss": None}, False, "val_loss"),
            ({"parameters": 999, "bytes": 9999}, True, "parameters"),
            ({"parameters": 1001, "bytes": 1}, False, "parameters"),
            ({"parameters": None, "bytes": 3999}, True, "bytes"),
            ({"bytes": 4001}, False, "bytes"),
            ({}, False, "version"),
            ({"val_accuracy": None, "val_loss": 0.1}, False, "val_accuracy"),
        ],
    )
    def test_the_first_difference_decides(self, changes: dict[str, Any], better: bool, decided_by: str) -> None:
        verdict = judge(challenger(**changes), SERVED)
        assert (verdict.better, verdict.decided_by) == (better, decided_by)

    def test_the_new_jobs_objective_counts(self) -> None:
        worse_accuracy = challenger(val_accuracy=0.7, val_loss=0.4)
        assert not judge(worse_accuracy, SERVED).better
        assert judge(replace(worse_accuracy, objective=LOSS), SERVED).better

    def test_of_equal_losses_the_higher_accuracy_is_better(self) -> None:
        verdict = judge(challenger(objective=LOSS, val_accuracy=0.81), SERVED)
        assert (verdict.better, verdict.decided_by) == (True, "val_accuracy")

    def test_a_version_without_the_metric_gives_way(self) -> None:
        assert judge(challenger(), replace(SERVED, metrics={**SERVED.metrics, "val_accuracy": None})).better

    def test_figures_tell_what_was_compared(self) -> None:
        assert judge(challenger(val_accuracy=0.75), SERVED).figures() == {
            "decided_by": "val_accuracy",
            "value": 0.75,
            "served_value": 0.8,
        }


class TestGate:
    def test_it_must_be_beaten_not_reached(self) -> None:
        for accuracy, better in ((0.8125, False), (0.825, False), (0.875, True)):
            exact = replace(SERVED, metrics={"val_accuracy": 0.75})
            assert judge(challenger(val_accuracy=accuracy), exact, margin=0.09375).better is better

    def test_what_is_only_equal_does_not_pass(self) -> None:
        assert not judge(challenger(val_loss=0.1, parameters=1), SERVED, margin=0.01).better

    def test_of_a_loss_it_counts_downwards(self) -> None:
        assert not judge(challenger(objective=LOSS, val_loss=0.45), SERVED, margin=0.1).better
        assert judge(challenger(objective=LOSS, val_loss=0.35), SERVED, margin=0.1).better


figures = st.sampled_from([0.1, 0.2, 0.3])
contenders = st.lists(
    st.builds(
        lambda accuracy, loss, test, parameters, size: Contender(
            1, ACCURACY, {"val_accuracy": accuracy, "val_loss": loss, "test_accuracy": test}, parameters, size
        ),
        figures,
        figures,
        figures,
        st.integers(1, 2),
        st.integers(1, 2),
    ),
    min_size=1,
    max_size=6,
).map(lambda made: [replace(each, version=number) for number, each in enumerate(made, 1)])


class TestChoose:
    @given(contenders)
    def test_it_is_the_first_of_the_best(self, versions: Sequence[Contender]) -> None:
        def rank(each: Contender) -> tuple[float, ...]:
            accuracy, loss = each.metrics["val_accuracy"] or 0.0, each.metrics["val_loss"] or 0.0
            return (-accuracy, loss, each.parameters or 0, each.bytes, each.version)

        assert choose(versions) == min(versions, key=rank).version

    @given(contenders)
    def test_test_metrics_change_nothing(self, versions: Sequence[Contender]) -> None:
        without = [replace(each, metrics={**each.metrics, "test_accuracy": 0.5}) for each in versions]
        assert choose(versions) == choose(without)

    @given(contenders.filter(lambda versions: len(versions) <= 4))
    def test_the_best_figures_do_not_depend_on_the_order(self, versions: Sequence[Contender]) -> None:
        def chosen(order: Sequence[Contender]) -> tuple[Any, ...]:
            by_number = {each.version: each for each in order}
            best = by_number[choose(order)]
            return (best.metrics["val_accuracy"], best.metrics["val_loss"], best.parameters, best.bytes)

        assert len({chosen(order) for order in permutations(versions)}) == 1

    @given(contenders, st.sampled_from([0.05, 0.15, 0.5]))
    def test_with_a_gate_each_that_took_over_beat_the_one_before_by_it(
        self, versions: Sequence[Contender], margin: float
    ) -> None:
        served = [versions[0]]
        for count in range(2, len(versions) + 1):
            best = versions[choose(versions[:count], margin) - 1]
            if best is not served[-1]:
                assert (best.metrics["val_accuracy"] or 0) - (served[-1].metrics["val_accuracy"] or 0) > margin
                served.append(best)
