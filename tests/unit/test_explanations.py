"""Heat maps without a service."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from networks import brightness_network
from numpy.typing import NDArray
from PIL import Image

from core.inference import Floats
from service.explanations.gradients import NotCoveredError, extend
from service.explanations.occlusion import MOST_SECONDS, occlusion_heat
from service.explanations.picture import INFERNO, SHOWN_SIDE, overlay
from service.explanations.places import Places, Window, placed

FAST = 1e-6


def quadrant(side: int) -> NDArray[np.float32]:
    """The upper right one."""
    seen = np.zeros((side, side), np.float32)
    seen[: side // 2, side // 2 :] = 1
    return seen


def noise(side: int, channels: int = 1) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (side, side, channels)).astype(np.uint8)


class Looking:
    """A network that calls a picture bright by one quadrant, and counts what it was shown."""

    def __init__(self, side: int) -> None:
        self._seen = quadrant(side)
        self.images = 0
        self.most = 0

    def __call__(self, pixels: NDArray[Any]) -> Floats:
        self.images += len(pixels)
        self.most = max(self.most, len(pixels))
        bright = (pixels.mean(axis=3) * self._seen).sum(axis=(1, 2)) / self._seen.sum()
        return np.stack([127.5 - bright, bright - 127.5], axis=1).astype(np.float32)


class TestOcclusion:
    @pytest.mark.parametrize("side", [8, 30, 32, 57])
    @pytest.mark.parametrize("label", [0, 1])
    def test_heat_is_where_the_network_looks(self, side: int, label: int) -> None:
        image = noise(side)
        image[: side // 2, side // 2 :] = np.linspace(*((200, 255) if label else (60, 0)), side // 2)[:, None, None]
        heat = occlusion_heat(Looking(side), image, label, 32, FAST)
        assert heat.shape == (side, side)
        assert heat.min() >= 0
        assert (heat * quadrant(side)).sum() > 0.8 * heat.sum()

    @pytest.mark.parametrize("shade", [0, 255])
    def test_an_image_of_one_colour_has_heat_too(self, shade: int) -> None:
        heat = occlusion_heat(Looking(16), np.full((16, 16, 3), shade, np.uint8), int(shade > 0), 32, FAST)
        assert (heat * quadrant(16)).sum() > 0.8 * heat.sum() > 0

    def test_nothing_speaks_for_what_is_nowhere(self) -> None:
        heat = occlusion_heat(lambda pixels: np.zeros((len(pixels), 2), np.float32), noise(16), 0, 32, FAST)
        assert not heat.any()

    def test_its_cost_is_bounded(self) -> None:
        for side in (8, 224):
            network = Looking(side)
            occlusion_heat(network, noise(side), 1, 16, FAST)
            assert network.most == 16
            assert network.images <= 230
        slow = Looking(64)
        occlusion_heat(slow, noise(64), 1, 16, MOST_SECONDS / 100)
        assert slow.images <= 50


class TestGradients:
    def test_graphs_of_another_making_are_not_covered(self) -> None:
        with pytest.raises(NotCoveredError):
            extend(brightness_network())


class TestPlaces:
    def test_without_padding_a_map_is_of_the_middle(self) -> None:
        """LeNet: 5x5 padded, pooled, 5x5 unpadded, on 32 pixels, to 12 places."""
        places = Places().after(Window(5, padding=2)).after(Window(2, 2)).after(Window(5))
        assert places == Places(first=4.5, step=2)
        heat = placed(np.ones((12, 12), np.float32), places, places, (32, 32))
        assert np.flatnonzero(heat[16]).tolist() == list(range(4, 28))

    def test_with_padding_it_is_of_all(self) -> None:
        places = Places().after(Window(3, padding=1)).after(Window(2, 2))
        np.testing.assert_allclose(placed(np.ones((8, 8), np.float32), places, places, (16, 16)), 1)

    def test_heat_stays_where_it_was_found(self) -> None:
        heat = np.zeros((6, 4), np.float32)
        heat[5, 1] = 1
        shown = placed(heat, Places(2, 4), Places(1, 2), (26, 8))
        assert divmod(int(shown.argmax()), 8) == (22, 3)


class TestPictures:
    def test_the_colours_are_matplotlibs(self) -> None:
        expected = mpl.colormaps["inferno"](np.arange(256), bytes=True)[:, :3]
        np.testing.assert_allclose(INFERNO.astype(int), expected.astype(int), atol=1)

    @pytest.mark.parametrize(("side", "channels", "shown"), [(8, 1, SHOWN_SIDE), (32, 3, SHOWN_SIDE), (300, 3, 300)])
    def test_they_are_as_large_as_an_eye_needs(self, side: int, channels: int, shown: int) -> None:
        picture = Image.open(BytesIO(overlay(noise(side, channels), quadrant(side))))
        assert picture.format == "PNG"
        assert picture.size == (shown, shown)

    def test_where_there_is_no_heat_the_image_is_grey(self) -> None:
        pixels = np.asarray(Image.open(BytesIO(overlay(noise(32, 3), quadrant(32)))))
        cold, hot = pixels[200:, :50].astype(int), pixels[20:100, 160:240].astype(int)
        assert np.ptp(cold, axis=2).max() <= 2
        assert np.ptp(hot, axis=2).min() > 20

    def test_no_heat_at_all_is_a_grey_picture(self) -> None:
        pixels = np.asarray(Image.open(BytesIO(overlay(noise(32), np.zeros((32, 32), np.float32)))))
        assert np.ptp(pixels.astype(int), axis=2).max() == 0
