"""From a stored dataset to batches: the same ones whether images are kept in memory or read as needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from servers import S3

from core.artifacts import ArtifactStore
from core.dataset_content import DatasetContent, ImageSizes, Split, StoredDataset, StoredFile
from core.errors import TrainingFailure
from core.images import resize_pixels
from core.jobspec import DatasetSpec
from core.settings import Settings
from core.splits import split
from core.states import Reason
from core.validation import check_spec
from core.views import split_plan
from worker.datasets.images import MemoryImages, StreamedImages
from worker.datasets.permutation import Permutation
from worker.datasets.storage import DatasetWriter
from worker.pipeline import ORDER_BLOCK, EpochOrder, SplitDataset, evaluation_batches, split_dataset, training_batches

LABELS = ("a", "b", "c")


class Fixture:
    """A stored dataset of random pictures, and what was put into it."""

    def __init__(
        self,
        folder: Path,
        *,
        sizes: list[tuple[int, int]],
        splits: dict[Split, int],
        store: ArtifactStore | None = None,
    ) -> None:
        noise = np.random.default_rng(0)
        self.store = store or ArtifactStore(str(folder / "artifacts"))
        self.folder = folder
        self.pixels: dict[Split, list[NDArray[np.uint8]]] = {name: [] for name in splits}
        with DatasetWriter(self.store, "datasets/d-1", LABELS, tuple(splits)) as writer:
            for name, images in splits.items():
                for number in range(images):
                    picture = noise.integers(0, 256, (*sizes[number % len(sizes)], 3), np.uint8)
                    self.pixels[name].append(picture)
                    writer.add(name, number % len(LABELS), picture)
            stored = dict(writer.finish())
            self.digest = writer.digest()
        content = DatasetContent(
            labels=LABELS,
            splits=stored,
            sizes=ImageSizes(smallest=min(sizes), largest=max(sizes), distinct=len(set(sizes))),
            channels=3,
            mean=(0.0,),
            std=(1.0,),
            contact_sheet=StoredFile(name="none", bytes=0, sha256=""),
        )
        self.dataset = StoredDataset("d", "photos", self.digest, "datasets/d-1", content)

    def split(self, *, cached: bool, **spec: Any) -> SplitDataset:
        settings = Settings(data_dir=self.folder / "data", cache_pixel_bytes=(1 << 30) if cached else 0)
        return split_dataset(self.dataset, self.spec(**spec), (32, 32, 3), self.store, settings)

    def spec(self, **fields: Any) -> DatasetSpec:
        body = {"dataset": {"name": "photos", "image_size": 32, **fields}, "architecture": "lenet", "batch_size": 8}
        return check_spec(body, self.dataset.content.info).spec.dataset


def collected(batches: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    pixels, labels = zip(*batches.as_numpy_iterator(), strict=True)
    return np.concatenate(pixels), np.concatenate(labels)


@pytest.fixture
def photos(tmp_path: Path) -> Fixture:
    return Fixture(tmp_path, sizes=[(40, 20), (32, 32), (16, 48)], splits={"train": 90})


@pytest.fixture
def even(tmp_path: Path) -> Fixture:
    return Fixture(tmp_path, sizes=[(32, 32)], splits={"train": 200})


class TestSplitDataset:
    def test_images_are_resized_as_predictions_resize_them(self, photos: Fixture) -> None:
        for cached in (True, False):
            data = photos.split(cached=cached)
            plan = split_plan(photos.spec())
            expected = split(np.arange(90) % 3, 3, plan).test
            assert isinstance(data.test, MemoryImages if cached else StreamedImages)
            pixels = data.test.gather(np.arange(len(expected)))
            for row, member in zip(pixels, expected, strict=True):
                assert np.array_equal(row, resize_pixels(photos.pixels["train"][member], 32, 32, 3))

    def test_a_subset_of_classes_has_labels_from_zero(self, photos: Fixture) -> None:
        data = photos.split(cached=True, classes=["c", "a"])
        assert set(data.train.labels) == {0, 1}
        assert len(data.train.labels) + len(data.validation.labels) + len(data.test.labels) == 60

    def test_splits_of_the_datasets_own_are_taken_whole(self, tmp_path: Path) -> None:
        own = Fixture(tmp_path, sizes=[(32, 32)], splits={"train": 30, "validation": 9, "test": 12})
        data = own.split(cached=False)
        assert [len(part.labels) for part in (data.train, data.validation, data.test)] == [30, 9, 12]
        assert np.array_equal(data.validation.gather(np.arange(9)), np.stack(own.pixels["validation"]))

    def test_the_resized_copy_is_made_once(self, photos: Fixture) -> None:
        photos.split(cached=False)
        copies = list((photos.folder / "data" / "cache" / "pixels").rglob("*.tfrecord"))
        before = [file.stat().st_mtime_ns for file in copies]
        photos.split(cached=False)
        assert [file.stat().st_mtime_ns for file in copies] == before
        assert len(copies) == 1

    def test_files_that_are_elsewhere_are_fetched_once(self, tmp_path: Path, s3: S3) -> None:
        far = Fixture(tmp_path, sizes=[(32, 32)], splits={"train": 30}, store=s3.store())
        first = far.split(cached=True)
        far.store.delete("datasets")
        again = far.split(cached=True)
        everything = np.arange(len(first.train.labels))
        assert np.array_equal(first.train.gather(everything), again.train.gather(everything))

    @pytest.mark.parametrize("damage", ["shard", "index", "missing"])
    def test_damaged_files_end_the_job_with_a_reason(self, photos: Fixture, damage: str) -> None:
        folder = photos.folder / "artifacts" / "datasets" / "d-1"
        file = folder / ("train.index" if damage == "index" else "train-00000.tfrecord")
        if damage == "missing":
            file.unlink()
        else:
            content = bytearray(file.read_bytes())
            content[200] ^= 1
            file.write_bytes(content)
        with pytest.raises(TrainingFailure, match="damaged") as caught:
            photos.split(cached=True)
        assert caught.value.reason is Reason.INVALID_DATASET


class TestTrainingBatches:
    @pytest.mark.parametrize("epoch", [0, 1])
    def test_read_or_kept_they_are_the_same(self, even: Fixture, epoch: int) -> None:
        found = []
        for cached in (True, False):
            images = even.split(cached=cached).train
            order = EpochOrder(7, len(images.labels))
            order.epoch = epoch
            found.append(collected(training_batches(images, 32, order)))
        (first_pixels, first_labels), (second_pixels, second_labels) = found
        assert np.array_equal(first_pixels, second_pixels)
        assert np.array_equal(first_labels, second_labels)
        assert first_pixels.dtype == np.float32

    def test_an_epoch_sees_every_image_once_in_its_own_order(self, even: Fixture) -> None:
        images = even.split(cached=True).train
        order = EpochOrder(0, len(images.labels))
        batches = training_batches(images, 32, order)
        seen = []
        for epoch in range(2):
            order.epoch = epoch
            pixels, _ = collected(batches)
            expected = Permutation(0, epoch, len(images.labels))(np.arange(len(images.labels)))
            assert np.array_equal(pixels, images.gather(expected).astype(np.float32))
            seen.append(pixels)
        assert not np.array_equal(seen[0], seen[1])
        assert len(batches) == -(-len(images.labels) // 32)

    def test_an_order_longer_than_a_block_is_whole(self) -> None:
        order = EpochOrder(3, ORDER_BLOCK + 10)
        whole = np.concatenate([order.block(1, number) for number in range(2)])
        assert sorted(whole) == list(range(ORDER_BLOCK + 10))


class TestEvaluationBatches:
    def test_images_keep_their_order(self, photos: Fixture) -> None:
        for cached in (True, False):
            images = photos.split(cached=cached).test
            pixels, labels = collected(evaluation_batches(images, 10))
            assert np.array_equal(pixels, images.gather(np.arange(len(images.labels))))
            assert np.array_equal(labels, images.labels)
