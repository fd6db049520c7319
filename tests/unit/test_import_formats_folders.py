"""Folders of pictures in zip and tar archives: what becomes of them."""

from __future__ import annotations

import lzma
import zipfile
from pathlib import Path

import numpy as np
import pytest
from archives import TarMode, codes, opened, picture, rejected, write_tar, write_zip

from worker.imports.formats import open_source
from worker.imports.source import ImportOptions, Limits, Rejected, UploadedFile

RED, BLUE = picture("red"), picture("blue", "JPEG")


def layout(scratch: Path, file: Path) -> list[tuple[str, str, str]]:
    """(split, class, name) of every image, in order."""
    with opened(scratch, file) as source:
        return [(item.split, source.labels[item.label], item.name) for item in source.items()]


class TestClasses:
    def test_one_folder_a_class_sorted_by_name_and_path(self, tmp_path: Path) -> None:
        file = write_zip(tmp_path / "x", {"b/2.png": RED, "a/10.png": RED, "b/1.jpg": BLUE, "a b/1.png": RED})
        assert layout(tmp_path / "s", file) == [
            ("train", "a", "a/10.png"),
            ("train", "a b", "a b/1.png"),
            ("train", "b", "b/1.jpg"),
            ("train", "b", "b/2.png"),
        ]

    def test_the_bytes_are_the_file_s(self, tmp_path: Path) -> None:
        file = write_zip(tmp_path / "x", {"b/2.png": RED, "a/1.jpg": BLUE})
        with opened(tmp_path / "s", file) as source:
            assert [item.content for item in source.items()] == [BLUE, RED]
            assert [item.content for item in source.items()] == [BLUE, RED]
            assert (source.labels, source.splits, source.files_total) == (("a", "b"), ("train",), 2)

    def test_one_wrapping_folder_is_ignored(self, tmp_path: Path) -> None:
        file = write_zip(tmp_path / "x", {"photos/cats/1.png": RED, "photos/dogs/1.png": RED})
        assert [row[1] for row in layout(tmp_path / "s", file)] == ["cats", "dogs"]

    def test_a_single_class_is_no_wrapper(self, tmp_path: Path) -> None:
        file = write_zip(tmp_path / "x", {"cats/1.png": RED, "cats/2.png": RED})
        assert [row[1] for row in layout(tmp_path / "s", file)] == ["cats", "cats"]

    def test_folders_below_a_class_belong_to_it(self, tmp_path: Path) -> None:
        file = write_zip(tmp_path / "x", {"cats/old/1.png": RED, "dogs/1.png": RED})
        assert [row[1] for row in layout(tmp_path / "s", file)] == ["cats", "dogs"]

    def test_names_in_utf_8_without_the_flag_are_understood(self, tmp_path: Path) -> None:
        file = write_zip(tmp_path / "x", {"Bär/1.png": RED})
        content = bytearray(file.read_bytes())
        for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            content[content.find(signature) + offset + 1] &= ~0x08
        file.write_bytes(content)
        assert layout(tmp_path / "s", file) == [("train", "Bär", "Bär/1.png")]

    def test_too_many_classes_are_refused(self, tmp_path: Path) -> None:
        file = write_zip(tmp_path / "x", {f"{number}/1.png": RED for number in range(4)})
        assert codes(rejected(tmp_path / "s", file, limits=Limits(classes=3))) == {"too_many_classes"}


class TestSplits:
    def test_splits_in_any_case_and_spelling(self, tmp_path: Path) -> None:
        names = ("Train/a/1.png", "TEST/a/1.png", "val/a/1.png")
        file = write_zip(tmp_path / "x", {f"set/{name}": RED for name in names})
        assert [row[0] for row in layout(tmp_path / "s", file)] == ["train", "validation", "test"]

    def test_a_class_may_be_called_train(self, tmp_path: Path) -> None:
        file = write_zip(tmp_path / "x", {"train/1.png": RED, "bus/1.png": RED})
        assert [row[1] for row in layout(tmp_path / "s", file)] == ["bus", "train"]

    @pytest.mark.parametrize(
        ("names", "code", "place"),
        [
            (("train/a/1.png", "test/a/1.png", "test/b/1.png"), "class_not_in_train", "test/b"),
            (("validation/a/1.png", "test/a/1.png"), "no_train_split", "x.zip"),
            (("train/a/1.png", "val/a/1.png", "valid/a/1.png"), "ambiguous_split", "x.zip"),
            (("train/a/1.png", "cats/1.png"), "mixed_layout", "train/a/1.png"),
            (("train/a/1.png", "train/1.png"), "no_class_folder", "train/1.png"),
            (("1.png",), "no_class_folder", "1.png"),
            (("a/1.png", "1.png"), "no_class_folder", "1.png"),
        ],
    )
    def test_a_layout_that_says_nothing_clear_is_refused(
        self, tmp_path: Path, names: tuple[str, ...], code: str, place: str
    ) -> None:
        errors = rejected(tmp_path / "s", write_zip(tmp_path / "x.zip", dict.fromkeys(names, RED)))
        assert [(error.code, error.file) for error in errors] == [(code, place)]


class TestOtherFiles:
    def test_what_systems_and_people_leave_is_ignored(self, tmp_path: Path) -> None:
        junk = (
            "__MACOSX/a/._1.png",
            "a/.DS_Store",
            "a/Thumbs.db",
            ".git/config",
            "README",
            "LICENSE.md",
            "a/labels.csv",
        )
        file = write_zip(tmp_path / "x", {"a/1.png": RED, **dict.fromkeys(junk, b"text")})
        assert [row[2] for row in layout(tmp_path / "s", file)] == ["a/1.png"]

    def test_every_file_that_is_no_picture_is_named(self, tmp_path: Path) -> None:
        file = write_zip(tmp_path / "x", {"a/1.png": RED, "a/2.png": b"GIF89a", "a/3.bin": b"\0\1", "a/4.png": b""})
        errors = rejected(tmp_path / "s", file)
        assert [(error.file, error.code) for error in errors] == [
            (name, "not_an_image") for name in ("a/2.png", "a/3.bin", "a/4.png")
        ]

    def test_at_most_a_hundred_are_named_and_all_counted(self, tmp_path: Path) -> None:
        file = write_zip(tmp_path / "x", {f"a/{number}.png": b"\0no" for number in range(150)})
        with pytest.raises(Rejected) as caught, opened(tmp_path / "s", file):
            pass
        assert (len(caught.value.errors), caught.value.total) == (100, 150)

    def test_when_skipping_is_asked_for_they_reach_the_importer(self, tmp_path: Path) -> None:
        file = write_zip(tmp_path / "x", {"a/1.png": RED, "a/2.png": b"\0no picture"})
        with opened(tmp_path / "s", file, options=ImportOptions(on_corrupt="skip")) as source:
            assert [item.content for item in source.items()] == [RED, b"\0no picture"]

    def test_an_archive_without_pictures_is_refused(self, tmp_path: Path) -> None:
        assert codes(rejected(tmp_path / "s", write_zip(tmp_path / "x", {"README": b"none"}))) == {"no_images"}

    @pytest.mark.parametrize("inner", ["zip", "tar", "gz"])
    def test_an_archive_in_the_archive_is_refused(self, tmp_path: Path, inner: str) -> None:
        if inner == "zip":
            content = write_zip(tmp_path / "inner", {"1.png": RED}).read_bytes()
        else:
            content = write_tar(tmp_path / "inner", {"1.png": RED}, "w" if inner == "tar" else "w:gz").read_bytes()
        file = write_zip(tmp_path / "x", {"a/1.png": RED, "a/notes.txt": content})
        errors = rejected(tmp_path / "s", file, options=ImportOptions(on_corrupt="skip"))
        assert [(error.code, error.file) for error in errors] == [("nested_archive", "a/notes.txt")]


class TestTar:
    @pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
    def test_every_compression_gives_the_same_as_zip(self, tmp_path: Path, mode: TarMode) -> None:
        members = {"./p/b/2.png": RED, "./p/a/1.jpg": BLUE, "./p/README": b"hello"}
        with opened(tmp_path / "s", write_tar(tmp_path / "x", members, mode)) as source:
            items = list(source.items())
        assert [(item.name, item.content) for item in items] == [("p/a/1.jpg", BLUE), ("p/b/2.png", RED)]

    def test_concatenated_streams_are_read_to_the_end(self, tmp_path: Path) -> None:
        plain = write_tar(tmp_path / "plain", {"a/1.png": RED, "b/1.png": RED}, "w").read_bytes()
        file = tmp_path / "x.tar.xz"
        file.write_bytes(lzma.compress(plain[:700]) + bytes(8) + lzma.compress(plain[700:]))
        assert [row[1] for row in layout(tmp_path / "s", file)] == ["a", "b"]

    def test_long_and_accented_names_come_through(self, tmp_path: Path) -> None:
        name = f"Bär/{'x' * 200}.png"
        assert layout(tmp_path / "s", write_tar(tmp_path / "x", {name: RED})) == [("train", "Bär", name)]


class TestDamage:
    def test_a_member_with_a_wrong_checksum_has_no_content(self, tmp_path: Path) -> None:
        noise = RED + np.random.default_rng(0).bytes(200_000)
        file = write_zip(tmp_path / "x", {"a/1.png": noise, "a/2.png": RED}, zipfile.ZIP_STORED)
        content = bytearray(file.read_bytes())
        content[100_000] ^= 1
        file.write_bytes(content)
        with opened(tmp_path / "s", file) as source:
            assert [item.content for item in source.items()] == [b"", RED]


class TestProgress:
    def test_a_long_check_shows_signs_of_life(self, tmp_path: Path) -> None:
        noise = RED + np.random.default_rng(0).bytes(3 << 20)
        file = write_tar(tmp_path / "x", {f"a/{number}.png": noise for number in range(8)}, "w")
        (tmp_path / "s").mkdir()
        seen: list[int] = []
        source = open_source([UploadedFile("x", file)], ImportOptions(), Limits(), tmp_path / "s", seen.append)
        source.close()
        steps = np.diff([0, *seen])
        assert steps.max() <= 8 << 20
        assert len(seen) >= 4
