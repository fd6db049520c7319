"""MNIST's IDX files."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from archives import codes, idx, memory_within, opened, rejected

from worker.imports.formats import streams
from worker.imports.source import Limits, Pixels

TRAIN = np.random.default_rng(0).integers(0, 256, (30, 8, 9), dtype=np.uint8)
TEST: Pixels = 255 - TRAIN[:5]
CODES: Pixels = np.array([*range(10)] * 3, np.uint8)
NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def write(folder: Path, **changed: bytes) -> list[Path]:
    contents = [idx(TRAIN), idx(CODES), idx(TEST), idx(CODES[:5])]
    files = []
    for name, content in zip(NAMES, contents, strict=True):
        (folder / name).write_bytes(changed.get(name[:5] + name[5:7].strip("-"), content))
        files.append(folder / name)
    return files


class TestReading:
    def test_four_files_in_any_order(self, tmp_path: Path) -> None:
        with opened(tmp_path / "s", *reversed(write(tmp_path))) as source:
            items = list(source.items())
            assert (source.labels[9], source.splits, source.files_total) == ("9", ("train", "test"), 35)
        assert [item.label for item in items] == [*CODES.tolist(), *CODES[:5].tolist()]
        pixels = np.stack([np.asarray(item.content) for item in items])
        assert np.array_equal(pixels[..., 0], np.concatenate([TRAIN, TEST]))

    def test_two_files_make_a_set_without_a_test_split(self, tmp_path: Path) -> None:
        with opened(tmp_path / "s", *write(tmp_path)[:2]) as source:
            assert source.splits == ("train",)


class TestRefusals:
    def test_labels_without_their_images(self, tmp_path: Path) -> None:
        assert codes(rejected(tmp_path / "s", *write(tmp_path)[1:])) == {"missing_file"}

    def test_a_test_split_alone(self, tmp_path: Path) -> None:
        assert codes(rejected(tmp_path / "s", *write(tmp_path)[2:])) == {"no_train_split"}

    def test_a_name_that_tells_no_split(self, tmp_path: Path) -> None:
        files = write(tmp_path)
        odd = files[0].rename(tmp_path / "images.gz")
        assert codes(rejected(tmp_path / "s", odd, *files[1:])) == {"unknown_split"}

    @pytest.mark.parametrize(
        ("content", "code"),
        [
            (idx(TRAIN[:29]), "length_mismatch"),
            (gzip.compress(gzip.decompress(idx(TRAIN))[:-1]), "truncated_archive"),
            (gzip.compress(gzip.decompress(idx(TRAIN)) + b"x"), "damaged_archive"),
            (idx(TRAIN)[:-9], "truncated_archive"),
            (gzip.compress(b"\0\0\x08\x03" + struct.pack(">3I", 30, 1 << 31, 1 << 31)), "bad_shape"),
            (gzip.compress(b"\0\0\x08\x03" + struct.pack(">3I", 1 << 31, 7000, 7000)), "too_large"),
            (gzip.compress(b"\0\0\x08\x03" + struct.pack(">3I", 1 << 31, 1, 1)), "too_many_entries"),
            (gzip.compress(b"\0\0\x08\x03\0\0"), "truncated_archive"),
        ],
        ids=[  # gzip holds the time, and names must be the same in every process
            "fewer images",
            "a byte less",
            "a byte more",
            "a cut stream",
            "huge pictures",
            "huge and many",
            "many",
            "half a header",
        ],
    )
    def test_a_header_that_lies(self, tmp_path: Path, content: bytes, code: str) -> None:
        files = write(tmp_path)
        files[0].write_bytes(content)
        with memory_within(4 << 20):
            errors = rejected(tmp_path / "s", *files)
        assert codes(errors) == {code}
        assert errors[0].file in NAMES[:2]

    def test_a_gzip_bomb_stops_at_the_ratio(self, tmp_path: Path) -> None:
        files = write(tmp_path)
        count = streams.RATIO_GRACE_BYTES // 5000 + 5000
        header = b"\0\0\x08\x03" + struct.pack(">3I", count, 50, 100)
        files[0].write_bytes(gzip.compress(header + bytes(count * 5000), 9))
        files[1].write_bytes(idx(np.zeros(count, np.uint8)))
        assert codes(rejected(tmp_path / "s", *files[:2])) == {"compression_ratio"}

    def test_too_many_images(self, tmp_path: Path) -> None:
        assert codes(rejected(tmp_path / "s", *write(tmp_path), limits=Limits(entries=34))) == {"too_many_entries"}
