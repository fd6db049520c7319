"""JSON pixels: the fast reading of the usual body gives what the careful one gives, and doubts everything else."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from core.errors import InvalidInput
from service.predictions.instances import _checked, parse_instances, regular_images
from service.problems import HttpError

SEPARATORS = [(",", ":"), (", ", ": "), (",  ", ": ")]

images = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.sampled_from([1, 3])).flatmap(
    lambda shape: arrays.arrays(np.uint8, shape)
)


class TestFastReading:
    @settings(max_examples=200, deadline=None)
    @given(images, st.sampled_from(SEPARATORS))
    def test_it_agrees_with_the_careful_one(self, pixels: Any, separators: tuple[str, str]) -> None:
        body = json.dumps({"instances": pixels.tolist()}, separators=separators).encode()
        fast, careful = parse_instances(body, pixels.shape[3]), _checked(body, pixels.shape[3])
        assert (
            [np.asarray(image).tolist() for image in fast] == [image.tolist() for image in careful] == pixels.tolist()
        )

    def test_the_usual_bodies_take_it(self) -> None:
        for separators in SEPARATORS[:2]:
            body = json.dumps({"instances": [[[[1, 20, 255]]]]}, separators=separators).encode()
            assert regular_images(body, "instances", 3) is not None

    @settings(max_examples=300, deadline=None)
    @given(st.data())
    def test_a_changed_byte_is_never_read_as_something_else(self, data: st.DataObject) -> None:
        body = bytearray(json.dumps({"instances": [[[[1, 20, 255], [0, 0, 7]]] * 2]}, separators=(",", ":")).encode())
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.sampled_from(list(b'0123456789[],.:{}e-" \n')))
        fast = regular_images(bytes(body), "instances", 3)
        if fast is not None:
            assert fast.tolist() == json.loads(body)["instances"]


class TestCarefulReading:
    def test_floats_are_kept(self) -> None:
        assert parse_instances(b'{"instances": [[[[0.5]]]]}', 1)[0].tolist() == [[[0.5]]]

    def test_one_channel_may_be_left_out(self) -> None:
        assert np.asarray(parse_instances(b'{"instances": [[[7, 8]]]}', 1)[0]).tolist() == [[[7], [8]]]

    @pytest.mark.parametrize(
        ("instances", "complaint"),
        [
            ([[[[256]]]], "pixels are 0 to 255"),
            ([[[[-1]]]], "pixels are 0 to 255"),
            ([[[[1, 2]]]], "2 channels"),
            ([[[[1]], [[1], [2]]]], "ragged"),
            ([[[[]]]], "empty"),
            ([[[[None]]]], "something other than numbers"),
            ([[[[True]]]], "something other than numbers"),
            ([3], "not nested"),
            ([[[[1]]]] * 1025, "limit is 1024"),
        ],
    )
    def test_what_is_no_image_is_told_so(self, instances: Any, complaint: str) -> None:
        with pytest.raises(InvalidInput, match=complaint):
            parse_instances(json.dumps({"instances": instances}).encode(), 1)

    def test_nan_is_not_json(self) -> None:
        with pytest.raises(HttpError):
            parse_instances(b'{"instances": [[[[NaN]]]]}', 1)
