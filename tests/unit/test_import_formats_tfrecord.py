"""TFRecord shards, read without TensorFlow."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from archives import (
    codes,
    example,
    memory_within,
    opened,
    picture,
    record,
    rejected,
    write_records,
    write_tar,
    write_zip,
)

from worker.imports.formats.tfrecords import split_of
from worker.imports.source import Limits

RED, BLUE = picture("red"), picture("blue", "JPEG")
ONE = [example(RED, 0, b"ant"), example(BLUE, 1, b"bee")]

# Written by tf.io.TFRecordWriter of TensorFlow 2.21: image/encoded "PNG", image/class/label 0, image/class/text "ant".
TENSORFLOW = base64.b64decode(
    "VQAAAAAAAADX3w/BClMKGwoQaW1hZ2UvY2xhc3MvdGV4dBIHCgUKA2FudAoaChFpbWFnZS9jbGFzcy9sYWJlbBIFGgMKAQAKGAoNaW1hZ2UvZW5jb2RlZBIHCgUKA1BORyIpvsg="
)


class TestReading:
    def test_images_labels_and_names(self, tmp_path: Path) -> None:
        with opened(tmp_path / "s", write_records(tmp_path / "any", ONE)) as source:
            items = list(source.items())
            assert (source.labels, source.splits, source.files_total) == (("ant", "bee"), ("train",), 2)
        assert [(item.label, item.content, item.name) for item in items] == [(0, RED, "any[0]"), (1, BLUE, "any[1]")]

    def test_what_tensorflow_writes(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_bytes(TENSORFLOW)
        with opened(tmp_path / "s", tmp_path / "x") as source:
            assert source.labels == ("ant",)
            assert [item.content for item in source.items()] == [b"PNG"]

    def test_short_names_and_no_text(self, tmp_path: Path) -> None:
        names = ("image", "label", "class")
        file = write_records(tmp_path / "x", [example(RED, 1, names=names), example(RED, 0, names=names)])
        with opened(tmp_path / "s", file) as source:
            assert source.labels == ("0", "1")

    def test_several_shards_by_name(self, tmp_path: Path) -> None:
        names = ("train-00001.tfrecord", "train-00000.tfrecord", "test.tfrecord", "val.tfrecord")
        files = [write_records(tmp_path / name, ONE) for name in names]
        with opened(tmp_path / "s", *files) as source:
            items = list(source.items())
            assert source.splits == ("train", "validation", "test")
        assert [item.name.split("[", maxsplit=1)[0] for item in items][::2] == [names[1], names[0], names[3], names[2]]

    @pytest.mark.parametrize("kind", ["zip", "tar"])
    def test_an_archive_of_shards(self, tmp_path: Path, kind: str) -> None:
        shard = write_records(tmp_path / "shard", ONE).read_bytes()
        members = {"d/README.md": b"text", "d/train-0.tfrecord": shard, "d/test-0.tfrecord": shard}
        file = (write_zip if kind == "zip" else write_tar)(tmp_path / "x", members)
        with opened(tmp_path / "s", file) as source:
            assert [item.split for item in source.items()] == ["train", "train", "test", "test"]

    @pytest.mark.parametrize(
        ("name", "split"),
        [
            ("train-0.tfrecord", "train"),
            ("flowers-validation.tfrecord-00000-of-00002", "validation"),
            ("VAL_3.tfrecords", "validation"),
            ("testing/0001", "test"),
            ("test00.tfrecord", "test"),
            ("valley.tfrecord", "train"),
            ("testimony/0001", "train"),
            ("0001", "train"),
        ],
    )
    def test_the_split_is_a_word_of_the_name(self, name: str, split: str) -> None:
        assert split_of(name) == split


class TestRefusals:
    @pytest.mark.parametrize(
        ("examples", "code", "place"),
        [
            ([example(RED, 0), example(RED, 2)], "empty_class", "x"),
            ([example(RED, -1)], "bad_labels", "x[0]"),
            ([example(RED, 0, b"a"), example(RED, 0, b"b")], "label_conflict", "x[1]"),
            ([example(RED, 0, b"a"), example(RED, 1, b"a")], "duplicate_label", "x"),
            ([example(RED, 0, b"\xff")], "bad_feature", "x[0]"),
            ([example(RED, 0, names=("picture", "label", "class"))], "missing_feature", "x[0]"),
            ([example(RED, 0, names=("image", "number", "class"))], "missing_feature", "x[0]"),
            ([b""], "missing_feature", "x[0]"),
            ([b"\xff\xff"], "not_an_example", "x[0]"),
        ],
    )
    def test_each_names_the_record(self, tmp_path: Path, examples: list[bytes], code: str, place: str) -> None:
        errors = rejected(tmp_path / "s", write_records(tmp_path / "x", examples))
        assert [(error.code, error.file) for error in errors] == [(code, place)]

    def test_no_training_shard(self, tmp_path: Path) -> None:
        assert codes(rejected(tmp_path / "s", write_records(tmp_path / "test", ONE))) == {"no_train_split"}

    def test_too_many_images(self, tmp_path: Path) -> None:
        file = write_records(tmp_path / "x", ONE)
        assert codes(rejected(tmp_path / "s", file, limits=Limits(entries=1))) == {"too_many_entries"}

    def test_a_stranger_among_the_shards(self, tmp_path: Path) -> None:
        shard = write_records(tmp_path / "shard", ONE).read_bytes()
        file = write_zip(tmp_path / "x", {"a.tfrecord": shard, "b.png": RED})
        errors = rejected(tmp_path / "s", file)
        assert [(error.file, error.code) for error in errors] == [("b.png", "not_a_tfrecord")]


class TestAttacks:
    @pytest.mark.parametrize(("length", "code"), [(1 << 60, "record_too_large"), (1 << 25, "truncated_record")])
    def test_a_huge_length_is_refused_before_it_is_read(self, tmp_path: Path, length: int, code: str) -> None:
        (tmp_path / "x").write_bytes(record(ONE[0]) + record(ONE[1], length))
        with memory_within(4 << 20):
            errors = rejected(tmp_path / "s", tmp_path / "x")
        assert [(error.file, error.code) for error in errors] == [("x[1]", code)]

    @pytest.mark.parametrize("offset", [0, 8, 40, -1])
    def test_a_wrong_checksum_is_refused(self, tmp_path: Path, offset: int) -> None:
        second = bytearray(record(ONE[1]))
        second[offset] ^= 1
        (tmp_path / "x").write_bytes(record(ONE[0]) + second)
        errors = rejected(tmp_path / "s", tmp_path / "x")
        assert [(error.file, error.code) for error in errors] == [("x[1]", "corrupt_record")]

    def test_a_damaged_first_record_of_a_file_named_so_is_told_as_such(self, tmp_path: Path) -> None:
        (tmp_path / "x.tfrecord").write_bytes(bytes(100))
        assert codes(rejected(tmp_path / "s", tmp_path / "x.tfrecord")) == {"corrupt_record"}

    @pytest.mark.parametrize("cut", [1, 5, 30, 10_000])
    def test_a_truncated_shard_is_refused(self, tmp_path: Path, cut: int) -> None:
        content = record(ONE[0]) + record(example(RED + bytes(20_000), 1, b"bee"))
        (tmp_path / "x").write_bytes(content[:-cut])
        assert codes(rejected(tmp_path / "s", tmp_path / "x")) == {"truncated_record"}
