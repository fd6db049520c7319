"""npz in Keras layout: streamed, and never a Python object read from it."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from archives import codes, memory_within, opened, rejected, write_zip

from worker.imports.source import Limits

MIB = 1 << 20


def noise(*shape: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def save(file: Path, **arrays: Any) -> Path:
    with file.open("wb") as stream:
        np.savez_compressed(stream, **arrays)
    return file


def header(shape: str, descr: str = "|u1", order: str = "False", size: int | None = None) -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + (len(text) if size is None else size).to_bytes(2, "little") + text


class TestReading:
    def test_pixels_labels_and_splits_in_the_file_s_order(self, tmp_path: Path) -> None:
        x, test, more = noise(300, 5, 7, 3), noise(4, 5, 7, 3), noise(2, 5, 7, 3)
        y = np.arange(300) % 3
        file = save(
            tmp_path / "x",
            x_train=x,
            y_train=y,
            x_test=test,
            y_test=[2, 1, 0, 0],
            x_val=more,
            y_val=[[1], [2]],
            other=[1],
        )
        with opened(tmp_path / "s", file) as source:
            items = list(source.items())
            assert (source.labels, source.files_total) == (("0", "1", "2"), 306)
            assert source.splits == ("train", "validation", "test")
        assert [item.label for item in items] == [*y.tolist(), 1, 2, 2, 1, 0, 0]
        assert np.array_equal(np.stack([np.asarray(item.content) for item in items]), np.concatenate([x, more, test]))
        assert items[300].name == "x_val[0]"

    def test_gray_images_get_their_channel(self, tmp_path: Path) -> None:
        file = save(tmp_path / "x", x_train=noise(2, 8, 8), y_train=np.array([0, 1], np.uint8))
        with opened(tmp_path / "s", file) as source:
            assert [np.shape(item.content) for item in source.items()] == [(8, 8, 1), (8, 8, 1)]

    @pytest.mark.parametrize("kind", ["U", "S"])
    def test_labels_of_text_are_sorted(self, tmp_path: Path, kind: str) -> None:
        file = save(tmp_path / "x", x_train=noise(3, 8, 8), y_train=np.array(["dog", "cat", "dog"], kind))
        with opened(tmp_path / "s", file) as source:
            assert source.labels == ("cat", "dog")
            assert [item.label for item in source.items()] == [1, 0, 1]

    @pytest.mark.parametrize("name", ["labels", "class_names"])
    def test_classes_can_be_named(self, tmp_path: Path, name: str) -> None:
        file = save(tmp_path / "x", x_train=noise(2, 8, 8), y_train=[0, 1], **{name: np.array(["zebra", "ant"])})
        with opened(tmp_path / "s", file) as source:
            assert source.labels == ("zebra", "ant")

    def test_memory_does_not_grow_with_the_arrays(self, tmp_path: Path) -> None:
        file = save(tmp_path / "x", x_train=np.tile(noise(10, 64, 64, 3), (400, 1, 1, 1)), y_train=np.zeros(4000, int))
        with memory_within(6 * MIB), opened(tmp_path / "s", file) as source:
            assert sum(1 for _ in source.items()) == 4000


class TestRefusals:
    @pytest.mark.parametrize(
        ("arrays", "code"),
        [
            ({"x_train": noise(2, 8, 8)}, "missing_array"),
            ({"x_test": noise(2, 8, 8), "y_test": [0, 1]}, "missing_array"),
            ({"x_train": noise(2, 8, 8), "y_train": [0, 1], "x_test": noise(2, 8, 8)}, "missing_array"),
            ({"x_train": noise(2, 8, 8), "y_train": [0, 1, 1]}, "length_mismatch"),
            ({"x_train": noise(2, 8, 8) / 255, "y_train": [0, 1]}, "bad_pixels"),
            ({"x_train": noise(2, 8, 8, 4), "y_train": [0, 1]}, "bad_pixels"),
            ({"x_train": noise(2, 64), "y_train": [0, 1]}, "bad_pixels"),
            ({"x_train": noise(0, 8, 8), "y_train": []}, "empty_array"),
            ({"x_train": noise(2, 0, 8), "y_train": [0, 1]}, "empty_array"),
            ({"x_train": noise(2, 8, 8), "y_train": [0, 2]}, "empty_class"),
            ({"x_train": noise(2, 8, 8), "y_train": [0, -1]}, "bad_labels"),
            ({"x_train": noise(2, 8, 8), "y_train": [0.0, 1.0]}, "bad_labels"),
            ({"x_train": noise(2, 8, 8), "y_train": np.eye(2, dtype=int)}, "bad_labels"),
            ({"x_train": noise(2, 8, 8), "y_train": ["a", "b"], "labels": np.array(["a", "c"])}, "bad_labels"),
            ({"x_train": noise(2, 8, 8), "y_train": [0, 1], "labels": np.array(["a", "a"])}, "duplicate_label"),
            (
                {"x_train": noise(2, 8, 8), "y_train": [0, 1], "x_val": noise(1, 8, 8), "y_val": [2]},
                "class_not_in_train",
            ),
            ({"x_train": np.asfortranarray(noise(2, 8, 8)), "y_train": [0, 1]}, "fortran_order"),
        ],
    )
    def test_each_says_what_is_wrong(self, tmp_path: Path, arrays: dict[str, Any], code: str) -> None:
        assert codes(rejected(tmp_path / "s", save(tmp_path / "x", **arrays))) == {code}

    def test_two_spellings_of_validation_are_ambiguous(self, tmp_path: Path) -> None:
        arrays = {f"{axis}_{name}": [[[0]]] for axis in "xy" for name in ("train", "val", "validation")}
        assert codes(rejected(tmp_path / "s", save(tmp_path / "x", **arrays))) == {"ambiguous_split"}

    def test_images_with_too_many_pixels_are_refused(self, tmp_path: Path) -> None:
        file = save(tmp_path / "x", x_train=noise(2, 80, 80), y_train=[0, 1])
        assert codes(rejected(tmp_path / "s", file, limits=Limits(image_pixels=6399))) == {"too_many_pixels"}

    def test_too_many_images_are_refused(self, tmp_path: Path) -> None:
        file = save(tmp_path / "x", x_train=noise(20, 8, 8), y_train=[0] * 20)
        assert codes(rejected(tmp_path / "s", file, limits=Limits(entries=19))) == {"too_many_entries"}


class TestAttacks:
    def test_objects_are_never_unpickled(self, tmp_path: Path) -> None:
        canary = tmp_path / "canary"

        class Gadget:
            def __reduce__(self) -> Any:
                import os

                return os.system, (f"touch {canary}",)

        objects = np.array([Gadget(), Gadget()], dtype=object)
        file = save(tmp_path / "x", x_train=noise(2, 8, 8), y_train=objects)
        assert codes(rejected(tmp_path / "s", file)) == {"object_array"}
        assert not canary.exists()

    @pytest.mark.parametrize(
        ("content", "code"),
        [
            (header("(1000000000, 1000, 1000)"), "damaged_array"),
            (header("(" + "9" * 4000 + ", 8, 8)"), "damaged_array"),
            (header("(-1, 8, 8)"), "bad_shape"),
            (header("()"), "bad_shape"),
            (header("(" + "1, " * 40 + ")"), "bad_shape"),
            (header("(2, 8, 8)", "|V64"), "damaged_array"),
            (header("(2, 8, 8)", "|O"), "object_array"),
            (header("(2, 8, 8)", size=60_000), "damaged_array"),
            (header("[" * 5000), "damaged_array"),
            (header("__import__('os').system('true')"), "damaged_array"),
            (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "damaged_array"),
            (b"\x93NUMPY\x09\x00", "damaged_array"),
            (b"", "damaged_array"),
        ],
    )
    def test_a_header_that_lies_costs_nothing(self, tmp_path: Path, content: bytes, code: str) -> None:
        labels = io.BytesIO()
        np.save(labels, np.array([0, 1]))
        file = write_zip(tmp_path / "x", {"x_train.npy": content + bytes(200), "y_train.npy": labels.getvalue()})
        with memory_within(4 * MIB):
            errors = rejected(tmp_path / "s", file)
        assert codes(errors) == {code}

    def test_a_wrong_checksum_is_told_while_reading(self, tmp_path: Path) -> None:
        with (tmp_path / "x").open("wb") as stream:
            np.savez(stream, x_train=noise(200, 32, 32), y_train=np.zeros(200, int))
        content = bytearray((tmp_path / "x").read_bytes())
        content[100_000] ^= 1
        (tmp_path / "x").write_bytes(content)
        (error,) = rejected(tmp_path / "s", tmp_path / "x")
        assert (error.file, error.code) == ("x_train", "corrupt_member")

    def test_an_npz_is_a_zip_to_every_check(self, tmp_path: Path) -> None:
        file = write_zip(tmp_path / "x", {"x_train.npy": bytes(100 * MIB)})
        assert codes(rejected(tmp_path / "s", file)) == {"compression_ratio"}
        file = write_zip(tmp_path / "y", {"x_train.npy": b"", "../y_train.npy": b""}, zipfile.ZIP_STORED)
        assert codes(rejected(tmp_path / "s", file)) == {"unsafe_path"}
