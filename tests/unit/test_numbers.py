"""Arrays of numbers straight from JSON: what they hold, and that nothing but a regular array is taken for one."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from service.predictions.numbers import only_array

SEPARATORS = [(",", ":"), (", ", ": "), (" , ", " : ")]

regular = arrays.array_shapes(min_dims=1, max_dims=5, max_side=4).flatmap(
    lambda shape: arrays.arrays(np.float64, shape, elements=st.floats(-1e9, 1e9) | st.integers(0, 255).map(float))
)


class TestOnlyArray:
    @settings(max_examples=200, deadline=None)
    @given(regular, st.sampled_from(SEPARATORS))
    def test_shape_and_numbers_are_those_of_json(self, numbers: Any, separators: tuple[str, str]) -> None:
        read = only_array(json.dumps({"field": numbers.tolist()}, separators=separators).encode(), "field")
        assert read is not None
        assert read.shape == numbers.shape
        assert read.tolist() == numbers.tolist()

    @pytest.mark.parametrize(
        "body",
        [
            '{"field":[[1,2],[3]]}',
            '{"field":[[1],[2,3]]}',
            '{"field":[1,[2]]}',
            '{"field":[[1],2]}',
            '{"field":[[[1,2]],[[3],[4]]]}',
            '{"field":[1,"2"]}',
            '{"field":[1,null]}',
            '{"field":[1,true]}',
            '{"field":[1,]}',
            '{"field":[1 2]}',
            '{"field":[1.2.3]}',
            '{"field":[99999999999999999999999]}',
            '{"field":[1]}]}',
            '{"field":[1],"field":[2]}',
            '{"field":[1],"other":[2]}',
            '{"other":[1]}',
            '{"fi1eld":[1]}',
            '{"field":1}',
            '{"field":[NaN]}',
            '["field"]',
            "[1]",
            "",
        ],
    )
    def test_anything_else_is_left_to_others(self, body: str) -> None:
        assert only_array(body.encode(), "field") is None

    @settings(max_examples=300, deadline=None)
    @given(st.text(alphabet='[],1.e-" ', max_size=12))
    def test_what_is_read_is_what_json_says(self, text: str) -> None:
        body = f'{{"field":[{text}]}}'
        read = only_array(body.encode(), "field")
        if read is not None:
            assert read.tolist() == np.array(json.loads(body)["field"], np.float64).tolist()
