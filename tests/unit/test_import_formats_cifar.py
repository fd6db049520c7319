"""CIFAR's archives in their original forms; what they pickle is never run."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from archives import (
    as_image,
    codes,
    memory_within,
    opened,
    python2_batch,
    python3_batch,
    rejected,
    rows,
    write_tar,
    write_zip,
)

from worker.imports.source import ImportOptions, Source

FINE, COARSE = [f"fine{number}" for number in range(100)], [f"coarse{number}" for number in range(20)]
META10 = python3_batch({b"label_names": [b"airplane", b"cr\xe8me"]})
META100 = python3_batch({b"fine_label_names": [n.encode() for n in FINE], b"coarse_label_names": COARSE}, 4)


def cifar10(**more: bytes) -> dict[str, bytes]:
    members = {
        "test_batch": python2_batch(rows(2, 5), labels=[1, 1]),
        **{f"data_batch_{n}": python2_batch(rows(3, n), labels=[0, 1, n % 2]) for n in (10, 1, 2)},
        "batches.meta": META10,
        "readme.html": b"<html>",
        **more,
    }
    return {f"cifar-10-batches-py/{name}": content for name, content in members.items()}


def cifar100(data: Any = None) -> dict[str, bytes]:
    train = {b"data": rows(4) if data is None else data, b"fine_labels": [19, 0, 99, 3], b"coarse_labels": [1, 2, 3, 4]}
    test = {b"data": rows(1, 9), b"fine_labels": [7], b"coarse_labels": [0]}
    members = {"meta": META100, "test": python3_batch(test), "train": python3_batch(train), "file.txt~": b""}
    return {f"cifar-100-python/{name}": content for name, content in members.items()}


def binary(numbers: list[list[int]], pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    return b"".join(bytes(labels) + row.tobytes() for labels, row in zip(numbers, pixels, strict=True))


def summary(source: Source) -> list[tuple[str, str, str]]:
    return [(item.split, source.labels[item.label], item.name) for item in source.items()]


class TestPython:
    def test_cifar_10_as_python_2_wrote_it(self, tmp_path: Path) -> None:
        with opened(tmp_path / "s", write_tar(tmp_path / "x", cifar10())) as source:
            items = list(source.items())
            assert (source.labels, source.splits, source.files_total) == (("airplane", "crème"), ("train", "test"), 11)
        assert [item.name.rsplit("/")[-1] for item in items[::3]] == [
            "data_batch_1[0]", "data_batch_2[0]", "data_batch_10[0]", "test_batch[0]"
        ]  # fmt: skip
        assert [item.label for item in items] == [0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 1]
        for item, row in zip(items, np.concatenate([rows(3, 1), rows(3, 2), rows(3, 10), rows(2, 5)]), strict=True):
            assert np.array_equal(np.asarray(item.content), as_image(row))

    @pytest.mark.parametrize("kind", ["tar", "zip"])
    def test_cifar_100_with_fine_labels(self, tmp_path: Path, kind: str) -> None:
        file = (write_zip if kind == "zip" else write_tar)(tmp_path / "x", cifar100())
        with opened(tmp_path / "s", file) as source:
            assert source.labels == tuple(FINE)
            assert [row[1] for row in summary(source)] == ["fine19", "fine0", "fine99", "fine3", "fine7"]

    def test_cifar_100_with_coarse_labels(self, tmp_path: Path) -> None:
        options = ImportOptions(cifar_labels="coarse")
        with opened(tmp_path / "s", write_tar(tmp_path / "x", cifar100()), options=options) as source:
            assert source.labels == tuple(COARSE)
            assert [row[1] for row in summary(source)] == ["coarse1", "coarse2", "coarse3", "coarse4", "coarse0"]

    @pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
    def test_every_protocol_that_a_batch_may_have(self, tmp_path: Path, protocol: int) -> None:
        batch = python3_batch({b"data": rows(2), b"labels": np.array([0, 1]), b"filenames": [b"a", b"b"]}, protocol)
        file = write_tar(tmp_path / "x", cifar10(data_batch_1=batch))
        with opened(tmp_path / "s", file) as source:
            assert np.array_equal(np.asarray(next(iter(source.items())).content), as_image(rows(2)[0]))


class TestBinary:
    def test_cifar_10(self, tmp_path: Path) -> None:
        members = {
            "cifar-10-batches-bin/batches.meta.txt": b"airplane\nbird\n\n",
            "cifar-10-batches-bin/data_batch_1.bin": binary([[1], [0]], rows(2)),
            "cifar-10-batches-bin/test_batch.bin": binary([[1]], rows(1, 1)),
        }
        with opened(tmp_path / "s", write_tar(tmp_path / "x", members)) as source:
            items = list(source.items())
            assert [row[:2] for row in summary(source)] == [("train", "bird"), ("train", "airplane"), ("test", "bird")]
        assert np.array_equal(np.asarray(items[1].content), as_image(rows(2)[1]))

    @pytest.mark.parametrize(("level", "expected"), [("fine", ["fine5", "fine6"]), ("coarse", ["coarse2", "coarse3"])])
    def test_cifar_100(self, tmp_path: Path, level: Any, expected: list[str]) -> None:
        members = {
            "cifar-100-binary/fine_label_names.txt": "\n".join(FINE).encode(),
            "cifar-100-binary/coarse_label_names.txt": "\n".join(COARSE).encode(),
            "cifar-100-binary/train.bin": binary([[2, 5]], rows(1)),
            "cifar-100-binary/test.bin": binary([[3, 6]], rows(1, 1)),
        }
        options = ImportOptions(cifar_labels=level)
        with opened(tmp_path / "s", write_tar(tmp_path / "x", members), options=options) as source:
            assert [row[1] for row in summary(source)] == expected


class TestRefusals:
    @pytest.mark.parametrize(
        ("members", "code"),
        [
            ({"batches.meta": python3_batch({b"other": []})}, "damaged_batch"),
            ({"data_batch_1": b"garbage"}, "damaged_batch"),
            ({"data_batch_1": python3_batch({b"data": rows(1)})}, "damaged_batch"),
            ({"data_batch_1": python3_batch({b"data": rows(1)[:, :5], b"labels": [0]})}, "damaged_batch"),
            ({"data_batch_1": python3_batch({b"data": rows(1), b"labels": [0, 1]})}, "length_mismatch"),
            ({"data_batch_1": python3_batch({b"data": rows(1), b"labels": [9]})}, "bad_labels"),
            ({"data_batch_1": python3_batch({b"data": rows(1), b"labels": [1 << 100]})}, "damaged_batch"),
            ({"more/data_batch_1": b""}, "duplicate_name"),
        ],
    )
    def test_each_says_what_is_wrong(self, tmp_path: Path, members: dict[str, bytes], code: str) -> None:
        assert codes(rejected(tmp_path / "s", write_tar(tmp_path / "x", cifar10(**members)))) == {code}

    def test_missing_names_are_asked_for(self, tmp_path: Path) -> None:
        members = {name: content for name, content in cifar10().items() if "meta" not in name}
        (error,) = rejected(tmp_path / "s", write_tar(tmp_path / "x", members))
        assert (error.file, error.code) == ("batches.meta", "missing_file")

    def test_half_a_record_is_refused(self, tmp_path: Path) -> None:
        members = {"batches.meta.txt": b"a\nb", "data_batch_1.bin": bytes(4000)}
        assert codes(rejected(tmp_path / "s", write_tar(tmp_path / "x", members))) == {"damaged_batch"}


class Gadget:
    """Runs a command where it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.canary}",)


BUDGET = b"c_codecs\nencode\nX\x00\x00\x10\x00" + b"a" * (1 << 20) + b"X\x06\x00\x00\x00latin1\x86q\x01"
HOSTILE = {
    "builtins.eval": b"\x80\x02cbuiltins\neval\nX\x04\x00\x00\x001/0 \x85R.",
    "numpy.load": b"\x80\x02cnumpy\nload\nX\x01\x00\x00\x00x\x85R.",
    "stacked name": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
    "attribute": b"\x80\x04\x8c\x05numpy\x8c\x0dndarray.dumps\x93.",
    "instance": b"(ios\nsystem\n.",
    "object": b"(cnumpy\nndarray\no.",
    "new object": b"\x80\x02cnumpy\nndarray\n)\x81.",
    "persistent id": b"Pid\n.",
    "extension": b"\x80\x02\x82\x01.",
    "array of any size": b"\x80\x02cnumpy\nndarray\nJ\xff\xff\xff\x7f\x85R.",
    "set state of a name": b"\x80\x02cnumpy\nndarray\n}b.",
    "other codec": b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00xX\x05\x00\x00\x00rot13\x86R.",
    "memo without end": b"\x80\x02}r\xff\xff\xff\x7f.",
    "repeated text": b"\x80\x02](" + BUDGET + b"Rc_codecs\nencode\nh\x01R" * 50 + b"e.",
    "tuples of tuples": b"\x80\x02})q\x01h\x01h\x01\x86q\x02h\x02h\x02\x86q\x03h\x03h\x03\x86K\x01s.",
    "deep tuple": b"\x80\x02}" + b")" + b"\x85" * 1_000_000 + b"K\x01s.",
    "unending parts": b"\x80\x02](" + b"N" * 3_000_000 + b"e.",
}


class TestPickles:
    @pytest.mark.parametrize("place", ["data_batch_1", "batches.meta", "test_batch"])
    @pytest.mark.parametrize("protocol", [0, 2, 4, 5])
    def test_a_gadget_never_runs(self, tmp_path: Path, place: str, protocol: int) -> None:
        canary = tmp_path / "canary"
        content = pickle.dumps({b"data": Gadget(canary), b"label_names": Gadget(canary)}, protocol)
        (error,) = rejected(tmp_path / "s", write_tar(tmp_path / "x", cifar10(**{place: content})))
        assert error.code == "unsafe_pickle"
        assert error.file == f"cifar-10-batches-py/{place}"
        assert not canary.exists()

    @pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
    def test_what_no_batch_needs_is_refused_and_costs_little(self, tmp_path: Path, content: bytes) -> None:
        file = write_tar(tmp_path / "x", cifar10(data_batch_1=content))
        with memory_within(32 << 20):
            errors = rejected(tmp_path / "s", file)
        assert codes(errors) == {"unsafe_pickle"}

    @pytest.mark.parametrize("shape", [(1, 3072 * 2), (1 << 40, 1 << 40), (-1, 3072), (1,)])
    def test_an_array_is_what_its_bytes_are(self, tmp_path: Path, shape: tuple[int, ...]) -> None:
        good = python3_batch({b"data": rows(1), b"labels": [0]}, 2)
        old = b"K\x01M\x00\x0c\x86"
        assert old in good
        content = good.replace(old, pickle.dumps(shape, 2)[2:-1])
        assert codes(rejected(tmp_path / "s", write_tar(tmp_path / "x", cifar10(data_batch_1=content)))) == {
            "damaged_batch"
        }

    def test_a_file_larger_than_any_of_cifar_s_is_not_read(self, tmp_path: Path) -> None:
        members = {"batches.meta.txt": bytes(2 << 20), "data_batch_1.bin": binary([[0]], rows(1))}
        (error,) = rejected(tmp_path / "s", write_tar(tmp_path / "x", members))
        assert (error.file, error.code) == ("batches.meta.txt", "member_too_large")
