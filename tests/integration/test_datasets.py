"""Finding, checking and reading the built-in datasets, without a network."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.datasets import BUILTIN_DATASETS, DatasetInfo
from core.errors import TrainingFailure
from core.settings import Settings
from core.states import Reason
from worker.datasets.sources import load_builtin


def labels_of(counts: tuple[int, ...] | None) -> np.ndarray[Any, np.dtype[np.uint8]]:
    assert counts is not None
    return np.repeat(np.arange(len(counts), dtype=np.uint8), counts)


def write_npz(path: Path, info: DatasetInfo, **changes: Any) -> Path:
    """An archive in Keras's layout with the right shapes and counts."""
    sides = info.image_shape[:2]
    y_train, y_test = labels_of(info.train_counts), labels_of(info.test_counts)
    arrays = {
        "x_train": np.zeros((len(y_train), *sides), np.uint8),
        "y_train": y_train,
        "x_test": np.full((len(y_test), *sides), 7, np.uint8),
        "y_test": y_test,
    }
    np.savez_compressed(path, **{**arrays, **changes})
    return path


def write_cifar(path: Path, batches: dict[str, Any]) -> Path:
    """An archive in CIFAR's own form: pickled batches in a tar.gz."""
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, batch in batches.items():
            content = batch if isinstance(batch, bytes) else pickle.dumps(batch, protocol=2)
            member = tarfile.TarInfo(f"cifar-100-python/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def cifar100_batch(counts: tuple[int, ...] | None, value: int) -> dict[bytes, Any]:
    labels = labels_of(counts)
    rows = np.zeros((len(labels), 3072), np.uint8)
    rows[:, :1024] = value  # the red plane comes first
    return {b"data": rows, b"fine_labels": [int(label) for label in labels], b"coarse_labels": []}


def settings_with(tmp_path: Path, **files: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", dataset_files=dict(files), offline=True)


class TestDigits:
    def test_pixels_reach_from_0_to_255(self, tmp_path: Path) -> None:
        raw = load_builtin(BUILTIN_DATASETS["digits"], settings_with(tmp_path))
        assert raw.train.pixels.shape == (1797, 8, 8, 1)
        assert (raw.train.pixels.min(), raw.train.pixels.max()) == (0, 255)
        assert raw.test is None

    def test_the_digest_is_that_of_the_content(self, tmp_path: Path) -> None:
        digits = BUILTIN_DATASETS["digits"]
        first, second = (load_builtin(digits, settings_with(tmp_path)).digest() for _ in range(2))
        assert first == second


class TestLocalFile:
    def test_an_npz_in_keras_layout_is_read(self, tmp_path: Path) -> None:
        info = BUILTIN_DATASETS["mnist"]
        raw = load_builtin(info, settings_with(tmp_path, mnist=write_npz(tmp_path / "m.npz", info)))
        assert raw.test is not None
        assert raw.test.pixels.shape == (10_000, 28, 28, 1)
        assert raw.test.pixels[0, 0, 0, 0] == 7

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(TrainingFailure, match=r"nowhere\.npz"):
            load_builtin(BUILTIN_DATASETS["mnist"], settings_with(tmp_path, mnist=tmp_path / "nowhere.npz"))

    @pytest.mark.parametrize(
        ("changes", "complaint"),
        [
            ({"x_train": np.zeros((60_000, 28, 28), np.float32)}, "float32"),
            ({"x_train": np.zeros((60_000, 8, 8), np.uint8)}, "expected images of"),
            ({"y_train": np.zeros(60_000, np.uint8)}, "right file"),
            ({"y_train": np.zeros(60_000, np.float64)}, "not integers"),
            ({"y_train": np.full(60_000, -1, np.int64)}, "right file"),
        ],
        ids=["float pixels", "other size", "other labels", "float labels", "negative labels"],
    )
    def test_an_npz_with_other_content_is_refused(self, tmp_path: Path, changes: Any, complaint: str) -> None:
        file = write_npz(tmp_path / "m.npz", BUILTIN_DATASETS["mnist"], **changes)
        with pytest.raises(TrainingFailure, match=complaint) as caught:
            load_builtin(BUILTIN_DATASETS["mnist"], settings_with(tmp_path, mnist=file))
        assert caught.value.reason is Reason.INVALID_DATASET

    @pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 torn"])
    def test_rubbish_is_refused(self, tmp_path: Path, content: bytes) -> None:
        file = tmp_path / "m.npz"
        file.write_bytes(content)
        with pytest.raises(TrainingFailure, match="cannot be read"):
            load_builtin(BUILTIN_DATASETS["mnist"], settings_with(tmp_path, mnist=file))

    def test_an_npz_with_pickled_objects_is_refused(self, tmp_path: Path) -> None:
        file = write_npz(tmp_path / "m.npz", BUILTIN_DATASETS["mnist"], y_test=np.array([{}], dtype=object))
        with pytest.raises(TrainingFailure, match="allow_pickle"):
            load_builtin(BUILTIN_DATASETS["mnist"], settings_with(tmp_path, mnist=file))


class TestCifarArchive:
    def test_the_original_form_is_read_plane_by_plane(self, tmp_path: Path) -> None:
        info = BUILTIN_DATASETS["cifar100"]
        batches = {"train": cifar100_batch(info.train_counts, 200), "test": cifar100_batch(info.test_counts, 100)}
        raw = load_builtin(info, settings_with(tmp_path, cifar100=write_cifar(tmp_path / "c.tar.gz", batches)))
        assert raw.train.pixels.shape == (50_000, 32, 32, 3)
        assert raw.train.pixels[0, 5, 5].tolist() == [200, 0, 0]
        assert raw.train.labels[-1] == 99

    def test_a_pickle_gadget_never_runs(self, tmp_path: Path) -> None:
        canary = tmp_path / "canary"

        class Gadget:
            def __reduce__(self) -> Any:
                return os.system, (f"touch {canary}",)

        file = write_cifar(tmp_path / "c.tar.gz", {"train": pickle.dumps(Gadget()), "test": pickle.dumps(Gadget())})
        with pytest.raises(TrainingFailure, match="not safe to read"):
            load_builtin(BUILTIN_DATASETS["cifar100"], settings_with(tmp_path, cifar100=file))
        assert not canary.exists()

    @pytest.mark.parametrize("batch", [b"garbage", [], {b"data": 3}, {b"data": np.zeros((2, 3072), np.uint8)}])
    def test_broken_batches_are_refused(self, tmp_path: Path, batch: Any) -> None:
        file = write_cifar(tmp_path / "c.tar.gz", {"train": batch, "test": batch})
        with pytest.raises(TrainingFailure) as caught:
            load_builtin(BUILTIN_DATASETS["cifar100"], settings_with(tmp_path, cifar100=file))
        assert caught.value.reason is Reason.INVALID_DATASET

    def test_an_archive_without_batches_says_what_it_lacks(self, tmp_path: Path) -> None:
        file = write_cifar(tmp_path / "c.tar.gz", {})
        with pytest.raises(TrainingFailure, match="lacks test, train"):
            load_builtin(BUILTIN_DATASETS["cifar100"], settings_with(tmp_path, cifar100=file))

    def test_a_torn_archive_is_refused(self, tmp_path: Path) -> None:
        info = BUILTIN_DATASETS["cifar100"]
        whole = write_cifar(tmp_path / "c.tar.gz", {"train": cifar100_batch(info.test_counts, 1)}).read_bytes()
        torn = tmp_path / "torn.tar.gz"
        torn.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(TrainingFailure, match="cannot be read"):
            load_builtin(info, settings_with(tmp_path, cifar100=torn))


class TestNeitherFileNorNetwork:
    @pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "cifar100"])
    def test_the_error_says_what_to_do(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(TrainingFailure, match="KERASD_DATASET_FILES") as caught:
            load_builtin(BUILTIN_DATASETS[name], settings_with(tmp_path))
        assert caught.value.reason is Reason.INVALID_DATASET
        assert "KERASD_OFFLINE" in caught.value.detail

    def test_a_downloaded_file_with_another_checksum_is_not_used(self, tmp_path: Path) -> None:
        settings = settings_with(tmp_path)
        folder = settings.downloads / "mnist"
        folder.mkdir(parents=True)
        write_npz(folder / "mnist.npz", BUILTIN_DATASETS["mnist"])
        with pytest.raises(TrainingFailure, match="is not here"):
            load_builtin(BUILTIN_DATASETS["mnist"], settings)
