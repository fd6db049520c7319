import io
import itertools
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
import pytest
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits

from worker.imports import candidates, duplicates
from worker.imports.duplicates import Duplicates, Repeats, find_duplicates
from worker.imports.fingerprints import Fingerprints
from worker.imports.source import SPLITS, Pixels, Split
from worker.imports.spool import SpooledHashes

SHIFTS = [step for step in itertools.product((-1, 0, 1), repeat=2) if step != (0, 0)]


def found(
    splits: Mapping[Split, Sequence[Pixels]],
    labels: Mapping[Split, Sequence[int]] | None = None,
    exhaustive: int = candidates.EXHAUSTIVE,
) -> Duplicates:
    """Duplicates of {split: images}; `labels` is {split: labels} or 0 everywhere."""
    fingerprints = Fingerprints()
    for split, images in splits.items():
        for index, pixels in enumerate(images):
            fingerprints.add(split, labels[split][index] if labels else 0, pixels)
    return find_duplicates(fingerprints, lambda split, index: splits[split][index], exhaustive=exhaustive)


def indices(repeats: Repeats) -> set[tuple[int, int]]:
    return {(pair.first.index, pair.second.index) for pair in repeats.examples}


def pixels_of(image: Image.Image) -> Pixels:
    pixels = np.asarray(image)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def picture(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def reencoded(pixels: Pixels) -> Pixels:
    data = io.BytesIO()
    picture(pixels).save(data, "JPEG", quality=75)
    return pixels_of(Image.open(data))


def shifted(pixels: Pixels, down: int, across: int, fill: Literal["wrap", "edge", "constant"]) -> Pixels:
    if fill == "wrap":
        return np.roll(pixels, (down, across), (0, 1))
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((1, 1), (1, 1), (0, 0)), fill)
    return padded[1 - down : 1 - down + height, 1 - across : 1 - across + width]


def resized(pixels: Pixels, factor: float, back: bool = False) -> Pixels:
    height, width = pixels.shape[:2]
    other = picture(pixels).resize((round(width * factor), round(height * factor)), Image.Resampling.BILINEAR)
    return pixels_of(other.resize((width, height), Image.Resampling.BILINEAR) if back else other)


def copies(images: Sequence[Pixels]) -> list[Pixels]:
    """Twenty: four re-encoded, eight shifted each way, eight resized and back or not."""
    fills: itertools.cycle[Literal["wrap", "edge", "constant"]] = itertools.cycle(("wrap", "edge", "constant"))
    some = iter(images)
    made = [reencoded(next(some)) for _ in range(4)]
    made += [shifted(next(some), down, across, fill) for (down, across), fill in zip(SHIFTS, fills, strict=False)]
    made += [resized(next(some), factor, back) for factor in (0.75, 0.9, 1.2, 1.5) for back in (True, False)]
    return made


def digits(side: int = 8) -> list[Pixels]:
    images = (load_digits().images * (255 / 16)).round().astype(np.uint8)[:, :, :, None]
    return [resized(pixels, side / 8) for pixels in images]


def noise(shape: tuple[int, ...], count: int, seed: int = 0) -> list[Pixels]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8))


def drawings(count: int, size: tuple[int, int] = (200, 150)) -> list[Pixels]:
    rng = np.random.default_rng(0)
    return [drawing(rng, *size) for _ in range(count)]


def drawing(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """Smooth gradients under a few shapes, as in a photograph out of focus."""
    down, across = np.mgrid[:height, :width] / width
    slopes = rng.uniform(-70, 70, (2, 3))
    pixels = rng.uniform(60, 190, 3) + down[:, :, None] * slopes[0] + across[:, :, None] * slopes[1]
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    canvas = ImageDraw.Draw(image)
    for _ in range(rng.integers(3, 9)):
        x, y, side = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(width / 20, width / 2)
        draw = canvas.ellipse if rng.random() < 0.5 else canvas.rectangle
        draw((x, y, x + side, y + side), fill=tuple(rng.integers(0, 256, 3).tolist()))
    return np.asarray(image)


SETS: Mapping[str, Callable[[], list[Pixels]]] = {
    "digits of 8x8": lambda: digits()[:700],
    "digits of 20x20": lambda: digits(20),
    "digits of 32x32": lambda: digits(32),
    "noise of 32x32": lambda: noise((32, 32, 3), 500),
    "noise of 64x64": lambda: noise((64, 64, 3), 300),
    "noise of 128x100": lambda: noise((100, 128, 3), 100),
    "drawings of 200x150": lambda: drawings(200),
}


@pytest.mark.parametrize("name", SETS)
class TestPlantedNearDuplicates:
    def test_all_are_found_and_nothing_else(self, name: str) -> None:
        images = SETS[name]()
        result = found({"train": images, "test": copies(images)})
        assert indices(result.near) | indices(result.exact) == {(index, index) for index in range(20)}
        assert result.search == "exhaustive"

    def test_are_found_in_a_single_pool_too(self, name: str) -> None:
        images = SETS[name]()
        result = found({"train": [*images, *copies(images)]})
        planted = {(index, len(images) + index) for index in range(20)}
        later = {second for _, second in indices(result.near) | indices(result.exact)}
        assert later >= {second for _, second in planted}


class TestBandedSearch:
    @pytest.mark.parametrize("name", ["digits of 20x20", "noise of 32x32", "drawings of 200x150"])
    def test_finds_planted_ones_as_well(self, name: str) -> None:
        images = SETS[name]()
        result = found({"train": images, "test": copies(images)}, exhaustive=0)
        assert result.search == "banded"
        assert indices(result.near) | indices(result.exact) == {(index, index) for index in range(20)}

    def test_is_complete_within_its_radius(self) -> None:
        rng = np.random.default_rng(0)
        hashes = rng.integers(0, 2**63, (400, 1), dtype=np.uint64)
        flips = [rng.permutation(64)[: candidates.BANDED_RADIUS] for _ in hashes]
        near = hashes ^ np.array([[sum(1 << int(bit) for bit in bits)] for bits in flips], np.uint64)
        records = np.zeros(400, [("mean", "f2"), ("contrast", "f2"), ("side", "u1")])
        queries, references = (
            candidates.Looks(np.arange(400), SpooledHashes.of(each), records) for each in (near, hashes)
        )
        shortlist = candidates.Shortlist(16, 10_000)
        assert candidates.search_bands(queries, references, shortlist, lambda _: None)
        pairs = set(zip(*(rows.tolist() for rows in shortlist.pairs()), strict=True))
        assert pairs >= {(row, row) for row in range(400)}

    def test_says_when_it_had_to_stop(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(candidates, "MOST_LOOKUPS", 10)
        images = digits(20)[:300]
        assert "may be missing" in (found({"train": images}, exhaustive=0).note or "")


class TestExactDuplicates:
    def test_each_repeat_is_counted_once_with_the_first_image(self) -> None:
        one, other = noise((16, 16, 3), 2)
        result = found({"train": [one, other, one, one]})
        assert result.exact.total == 2
        assert indices(result.exact) == {(0, 2), (0, 3)}
        assert result.exact.across_splits == 0
        assert result.near.total == 0

    def test_across_and_within_splits(self) -> None:
        one, other, third = noise((16, 16, 3), 3)
        result = found({"train": [one, third], "validation": [other, one], "test": [other, other]})
        assert (result.exact.total, result.exact.across_splits) == (3, 3)

    def test_within_a_split_also_where_there_are_several(self) -> None:
        one, other = noise((16, 16, 3), 2)
        result = found({"train": [one, one], "test": [other]})
        assert (result.exact.total, result.exact.across_splits) == (1, 0)

    def test_equal_bytes_of_another_shape_are_another_image(self) -> None:
        pixels = noise((8, 16, 3), 1)[0]
        assert found({"train": [pixels, pixels.reshape(16, 8, 3)]}).exact.total == 0

    def test_label_conflicts(self) -> None:
        one, other = noise((16, 16, 3), 2)
        result = found({"train": [one, other], "test": [one, other]}, {"train": [0, 1], "test": [2, 1]})
        assert (result.exact.total, result.exact.label_conflicts) == (2, 1)
        first = result.to_json()["exact"]["examples"][0]
        assert first == {
            "first": {"split": "train", "index": 0, "label": 0},
            "second": {"split": "test", "index": 0, "label": 2},
        }

    def test_flat_images_count_when_they_are_equal_only(self) -> None:
        flat = [np.full((20, 20, 1), level, np.uint8) for level in (10, 10, 11, 200)]
        result = found({"train": flat})
        assert (result.exact.total, result.near.total) == (1, 0)

    def test_examples_are_limited_and_the_rest_is_counted(self) -> None:
        result = found({"train": noise((8, 8, 1), 1) * 301})
        assert (result.exact.total, len(result.exact.examples)) == (300, 100)


class TestNearDuplicates:
    def test_within_a_split_are_nobodys_business_where_there_are_several(self) -> None:
        images = drawings(3)
        assert found({"train": [*images, reencoded(images[0])], "test": drawings(6)[4:]}).near.total == 0

    def test_of_each_pair_of_splits(self) -> None:
        images = noise((32, 32, 3), 40)
        changed = [reencoded(pixels) for pixels in images]
        splits: dict[Split, list[Pixels]] = {
            "train": images[:20],
            "validation": images[20:] + changed[:2],
            "test": [*changed[5:7], *changed[30:33]],
        }
        near = found(splits).near
        assert (near.total, near.across_splits) == (7, 7)
        assert {pair.first.split + pair.second.split for pair in near.examples} == {
            "trainvalidation",
            "traintest",
            "validationtest",
        }

    def test_label_conflicts(self) -> None:
        images = drawings(2)
        labels: dict[Split, list[int]] = {"train": [0, 1], "test": [0, 0]}
        near = found({"train": images, "test": [reencoded(pixels) for pixels in images]}, labels).near
        assert (near.total, near.label_conflicts) == (2, 1)
        assert near.examples[0].conflicting

    def test_the_same_shapes_in_another_colour_are_another_image(self) -> None:
        circles = []
        for colour in ((200, 0, 0), (0, 102, 0)):  # of one luma
            image = Image.new("RGB", (100, 100), "white")
            ImageDraw.Draw(image).ellipse((20, 30, 70, 80), fill=colour)
            circles.append(np.asarray(image))
        assert found({"train": circles}).near.total == 0

    def test_a_grayscale_copy_is_a_copy(self) -> None:
        pixels = np.repeat(drawings(1)[0][:, :, :1], 3, axis=2)
        assert found({"train": [pixels], "test": [np.ascontiguousarray(pixels[:, :, :1])]}).near.total == 1

    @pytest.mark.parametrize("shape", [(1, 1, 3), (1, 40, 1), (2, 3, 1), (300, 2, 3), (5, 5, 3), (15, 200, 1)])
    def test_any_shape_is_taken(self, shape: tuple[int, ...]) -> None:
        images = noise(shape, 12)
        assert found({"train": images, "test": images}).exact.total == 12

    def test_unalike_images_of_all_sizes_are_told_apart(self) -> None:
        rng = np.random.default_rng(3)
        images = [drawing(rng, int(rng.integers(20, 300)), int(rng.integers(20, 300))) for _ in range(200)]
        assert found({"train": images}).near.total == 0

    def test_digits_have_few_that_are_only_alike(self) -> None:
        assert found({"train": digits()[:900]}).near.total <= 9

    def test_says_what_it_did_not_look_at(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(duplicates, "MOST_LOOKS", 100)
        result = found({"train": digits(20)[:200]})
        assert result.looked_at <= 100
        assert "were not" in (result.note or "")


class TestFingerprints:
    def test_cost_at_most_forty_bytes_an_image(self) -> None:
        fingerprints = Fingerprints()
        for pixels in noise((8, 8, 1), 700):
            fingerprints.add("train", 1, pixels)
        records = fingerprints.records("train")
        assert (len(records), len(fingerprints), fingerprints.splits()) == (700, 700, ("train",))
        assert records.nbytes <= 40 * 700

    def test_do_not_depend_on_the_batch_they_came_in(self) -> None:
        images = noise((20, 24, 3), 600)
        together, alone = Fingerprints(), Fingerprints()
        for pixels in images:
            together.add("train", 0, pixels)
            alone.add("train", 0, pixels)
            alone.records("train")
        assert (together.records("train") == alone.records("train")).all()

    def test_records_stay_in_the_order_of_their_split(self) -> None:
        fingerprints = Fingerprints()
        for number, pixels in enumerate(noise((8, 8, 1), 30)):
            fingerprints.add(SPLITS[number % 3], number, pixels)
        assert fingerprints.records("validation")["label"].tolist() == list(range(1, 30, 3))


class TestShortlist:
    def test_keeps_the_most_alike_whatever_the_order_and_the_portions(self) -> None:
        rng = np.random.default_rng(0)
        queries, references = rng.integers(0, 300, (2, 20_000))
        unlike = rng.permutation(20_000).astype(np.float32)
        shortlist = candidates.Shortlist(5, 400)
        least: dict[tuple[int, int], float] = {}
        for start in range(0, 20_000, 1000):
            some = slice(start, start + 1000)
            shortlist.add(queries[some], references[some], unlike[some])
            shortlist.pairs()
        for query, reference, distance in zip(queries.tolist(), references.tolist(), unlike.tolist(), strict=True):
            pair = query, reference
            least[pair] = min(distance, least.get(pair, distance))
        closest: list[tuple[float, tuple[int, int]]] = []
        for query in range(300):
            closest += sorted((far, pair) for pair, far in least.items() if pair[0] == query)[:5]
        pairs = set(zip(*(rows.tolist() for rows in shortlist.pairs()), strict=True))
        assert pairs == {pair for _, pair in sorted(closest)[:400]}
        assert shortlist.dropped > 0


class TestProgress:
    @pytest.mark.parametrize("exhaustive", [0, candidates.EXHAUSTIVE])
    @pytest.mark.parametrize("name", ["digits of 20x20", "drawings of 200x150"])
    def test_goes_from_nothing_to_one_in_small_steps(self, name: str, exhaustive: int) -> None:
        images = SETS[name]()[:300]
        splits: dict[Split, list[Pixels]] = {"train": images, "validation": images[:50], "test": copies(images)}
        fingerprints = Fingerprints()
        for split, pictures in splits.items():
            for pixels in pictures:
                fingerprints.add(split, 0, pixels)
        told = [0.0]
        find_duplicates(fingerprints, lambda split, index: splits[split][index], told.append, exhaustive=exhaustive)
        assert told == sorted(told)
        assert told[-1] == 1
        assert len(told) > 50


class TestMemory:
    def test_does_not_grow_with_the_sizes_of_the_images(self) -> None:
        peaks = []
        for side in (150, 600):
            seeds = range(60)
            fingerprints = Fingerprints()

            def read(split: Split, index: int, side: int = side) -> Pixels:
                return noise((side, side, 3), 1, seed=index % 50)[0]

            for index in seeds:
                fingerprints.add("train", 0, read("train", index))
            tracemalloc.start()
            find_duplicates(fingerprints, read)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert peaks[1] < peaks[0] + 8 * 600 * 600 * 3  # one image at a time, and its copies on the way

    @pytest.mark.parametrize("exhaustive", [0, candidates.EXHAUSTIVE])
    def test_grows_little_with_the_number_of_images(self, exhaustive: int) -> None:
        images = noise((16, 16, 1), 5_000)
        peaks = []
        for count in (1_000, 5_000):
            tracemalloc.start()
            fingerprints = Fingerprints()
            for pixels in images[:count]:
                fingerprints.add("train", 0, pixels)
            find_duplicates(fingerprints, lambda split, index: images[index], exhaustive=exhaustive)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert peaks[1] - peaks[0] < 200 * 4_000

    def test_nothing_to_compare(self) -> None:
        assert find_duplicates(Fingerprints(), lambda split, index: np.zeros((1, 1, 1), np.uint8)).exact.total == 0
