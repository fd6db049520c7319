import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from service.studies.statistics import (
    BOOTSTRAP_FROM,
    CONSTANT,
    IDENTICAL,
    NO_PAIR,
    ONE_VALUE,
    corrected,
    holm,
    mean_of,
    paired,
)

# Student's own data: hours of sleep gained by ten patients with each of two drugs (Biometrika 6, 1908; R's `sleep`).
SLEEP_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SLEEP_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


class TestPaired:
    def test_students_sleep_data_give_what_r_prints(self) -> None:
        found = paired("val_loss", SLEEP_1, SLEEP_2)
        assert (found.pairs, found.left_out, found.method) == (10, 0, "t")
        assert found.difference == pytest.approx(-1.58)
        assert found.p == pytest.approx(0.002833, abs=1e-6)
        assert (found.low, found.high) == pytest.approx((-2.4598858, -0.7001142), abs=1e-7)

    @given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=BOOTSTRAP_FROM - 1))
    def test_it_is_scipys_paired_t_test(self, pairs: list[tuple[float, float]]) -> None:
        first, second = zip(*pairs, strict=True)
        spread = np.std(np.subtract(first, second))
        found = paired("val_accuracy", first, second)
        if spread < 1e-6:
            return  # SciPy warns of cancellation there, or has no answer
        known = stats.ttest_rel(first, second)
        interval = known.confidence_interval(0.95)
        assert found.p == pytest.approx(known.pvalue, rel=1e-6, abs=1e-12)
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-6, abs=1e-9)

    def test_from_twenty_pairs_on_the_interval_is_scipys_percentile_bootstrap(self) -> None:
        random.seed(3)
        differences = [random.gauss(1, 2) for _ in range(BOOTSTRAP_FROM)]
        found = paired("val_loss", differences, [0.0] * BOOTSTRAP_FROM)
        known = stats.bootstrap((differences,), np.mean, method="percentile", rng=1).confidence_interval
        assert found.method == "bootstrap"
        assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=0.05)
        assert found == paired("val_loss", differences, [0.0] * BOOTSTRAP_FROM)

    def test_missing_and_diverged_values_are_left_out_and_counted(self) -> None:
        first = [0.5, None, 0.7, math.nan, math.inf, 0.9]
        found = paired("val_loss", first, [0.4, 0.4, 0.5, 0.4, 0.4, None])
        assert (found.pairs, found.left_out) == (2, 4)
        assert found.difference == pytest.approx(0.15)

    def test_one_pair_has_no_interval(self) -> None:
        found = paired("val_accuracy", [0.5], [0.4])
        assert (found.pairs, found.low, found.high, found.p, found.note) == (1, None, None, None, ONE_VALUE)
        assert found.difference == pytest.approx(0.1)

    def test_no_pair_has_no_difference(self) -> None:
        found = paired("val_accuracy", [0.5, None], [None, 0.4])
        assert (found.pairs, found.left_out, found.difference, found.p, found.note) == (0, 2, None, None, NO_PAIR)

    def test_identical_results_are_no_evidence(self) -> None:
        found = paired("val_accuracy", [0.1 + 0.2, 0.5, 0.7], [0.3, 0.5, 0.7])
        assert (found.difference, found.low, found.high, found.p, found.note) == (0.0, None, None, 1.0, IDENTICAL)

    @pytest.mark.parametrize(("seeds", "p"), [(2, 0.5), (3, 0.25), (6, 1 / 32)])
    def test_the_same_difference_on_every_seed_claims_no_interval_of_width_zero(self, seeds: int, p: float) -> None:
        first = [0.5 + 0.01 * seed for seed in range(seeds)]
        found = paired("val_accuracy", first, [value - 0.001 for value in first])
        assert (found.low, found.high, found.p, found.note) == (None, None, p, CONSTANT)
        assert found.difference == pytest.approx(0.001)


class TestMean:
    def test_the_interval_is_scipys(self) -> None:
        known = stats.ttest_1samp(SLEEP_1, 0).confidence_interval(0.95)
        found = mean_of([*SLEEP_1, None])
        assert (found.n, found.method) == (10, "t")
        assert (found.mean, found.low, found.high) == pytest.approx((0.75, known.low, known.high))

    @pytest.mark.parametrize("values", [[], [None], [0.5], [0.5, 0.5], [math.nan, 0.5]])
    def test_without_an_interval_it_says_why(self, values: list[float | None]) -> None:
        found = mean_of(values)
        assert found.low is None
        assert found.high is None
        assert found.note

    def test_a_bootstrap_from_twenty_values_on(self) -> None:
        values = [float(value % 7) for value in range(40)]
        found = mean_of(values)
        assert found.method == "bootstrap"
        assert found.low is not None
        assert found.mean is not None
        assert found.high is not None
        assert found.low < found.mean < found.high


class TestHolm:
    def test_the_figures_of_rs_p_adjust(self) -> None:
        assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])

    def test_what_has_no_p_value_does_not_count(self) -> None:
        assert holm([0.02, None, 0.6]) == [pytest.approx(0.04), None, pytest.approx(0.6)]

    def test_a_family_larger_than_what_was_looked_at(self) -> None:
        assert holm([0.01, 0.3], family=6) == pytest.approx([0.06, 1.0])

    @given(st.lists(st.floats(0, 1), max_size=20))
    def test_never_below_the_values_nor_above_bonferronis_and_in_their_order(self, values: list[float]) -> None:
        adjusted = holm(values)
        for value, own in zip(values, adjusted, strict=True):
            assert own is not None
            assert value <= own <= min(1.0, value * len(values)) or own == pytest.approx(value)
        assert sorted(range(len(values)), key=lambda place: (values[place], adjusted[place])) == sorted(
            range(len(values)), key=lambda place: (adjusted[place], values[place])
        )

    def test_every_difference_gets_its_own(self) -> None:
        differences = [paired("val_loss", SLEEP_1, SLEEP_2), paired("val_loss", SLEEP_1, SLEEP_1)]
        first, second = corrected(differences)
        assert first.p_holm == pytest.approx(2 * (differences[0].p or 0))
        assert second.p_holm == 1.0
