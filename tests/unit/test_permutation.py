"""The order of an epoch: a permutation that is computed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.datasets.permutation import Permutation


def whole(seed: int, stream: int, length: int) -> list[int]:
    order: list[int] = Permutation(seed, stream, length)(np.arange(length)).tolist()
    return order


class TestPermutation:
    @given(st.integers(0, 2**31 - 1), st.integers(0, 10_000), st.integers(1, 3_000))
    def test_every_position_comes_exactly_once(self, seed: int, stream: int, length: int) -> None:
        assert sorted(whole(seed, stream, length)) == list(range(length))

    def test_it_can_be_asked_piece_by_piece(self) -> None:
        permutation = Permutation(3, 1, 1_000)
        pieces = [permutation(np.arange(start, start + 100)) for start in range(0, 1_000, 100)]
        assert np.concatenate(pieces).tolist() == whole(3, 1, 1_000)

    def test_it_never_changes_from_one_release_to_the_next(self) -> None:
        """A resumed job must see what it would have seen: these orders are a promise."""
        assert whole(0, 0, 10) == ORDER_OF_TEN
        assert Permutation(7, 3, 10**12)(np.arange(3)).tolist() == FIRST_OF_A_TRILLION

    @pytest.mark.parametrize("other", [(1, 0), (0, 1)])
    def test_seed_and_epoch_both_matter(self, other: tuple[int, int]) -> None:
        first, second = np.array(whole(0, 0, 2_000)), np.array(whole(*other, 2_000))
        assert (first == second).mean() < 0.01
        assert abs(np.corrcoef(first, second)[0, 1]) < 0.1

    def test_each_order_of_four_is_about_as_likely_as_any_other(self) -> None:
        orders = [tuple(whole(seed, epoch, 4)) for seed in range(60) for epoch in range(40)]
        counts = [orders.count(order) for order in set(orders)]
        assert len(counts) == 24
        # 100 expected of each; chi-square with 23 degrees of freedom stays below 60 but once in 30,000 times.
        assert sum((count - 100) ** 2 / 100 for count in counts) < 60


ORDER_OF_TEN = [4, 6, 9, 2, 1, 8, 5, 3, 0, 7]
FIRST_OF_A_TRILLION = [974828703487, 26639190219, 284202337286]
