"""Archives made to attack: each is refused with a reason, and costs little until it is."""

from __future__ import annotations

import gzip
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from archives import codes, memory_within, opened, patched, picture, rejected, write_entries, write_tar, write_zip

from worker.imports.formats import streams
from worker.imports.source import FileError, ImportOptions, Limits

RED = picture("red")
MIB = 1 << 20

UNSAFE = {
    "../a/1.png": "unsafe_path",
    "a/../../1.png": "unsafe_path",
    "a/..": "unsafe_path",
    "/etc/1.png": "unsafe_path",
    "//host/1.png": "unsafe_path",
    "C:/a/1.png": "unsafe_path",
    "a\\..\\1.png": "unsafe_path",
    "a/%2e%2e/1.png": "unsafe_path",
    "%2E%2e/1.png": "unsafe_path",
    "%2fetc/1.png": "unsafe_path",
    "a%5c1.png": "unsafe_path",
    "a/1%00.png": "bad_name",
    "a/1\n.png": "bad_name",
    "a/1\x1b[31m.png": "bad_name",
    "a/gnp\u202e.exe": "bad_name",
    f"{'a' * 1100}/1.png": "bad_name",
    "/".join("abcdefghij") + "/1.png": "too_deep",
}


@pytest.fixture
def produced(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many bytes the readers of compressed tar archives have produced."""
    counts: list[int] = []
    original = streams.ForwardStream._read

    def counting(stream: streams.ForwardStream, size: int) -> bytes:
        content = original(stream, size)
        counts.append(len(content))
        return content

    monkeypatch.setattr(streams.ForwardStream, "_read", counting)
    return lambda: sum(counts)


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info, b""


class TestNames:
    @pytest.mark.parametrize(("name", "code"), UNSAFE.items())
    def test_an_unsafe_name_in_a_zip_is_refused(self, tmp_path: Path, name: str, code: str) -> None:
        errors = rejected(tmp_path / "s", write_zip(tmp_path / "x", {"a/0.png": RED, name: RED}))
        assert codes(errors) == {code}

    @pytest.mark.parametrize(("name", "code"), UNSAFE.items())
    def test_an_unsafe_name_in_a_tar_is_refused(self, tmp_path: Path, name: str, code: str) -> None:
        errors = rejected(tmp_path / "s", write_tar(tmp_path / "x", {"a/0.png": RED, name: RED}))
        assert codes(errors) == {code}

    def test_a_nul_is_refused_where_zipfile_would_cut(self, tmp_path: Path) -> None:
        file = patched(write_zip(tmp_path / "x", {"a/1.png~.sh": RED}), b"a/1.png~.sh", b"a/1.png\0.sh")
        errors = rejected(tmp_path / "s", file)
        assert errors == (FileError("a/1.png\\x00.sh", "bad_name", errors[0].detail),)

    def test_a_name_that_is_not_utf_8_is_refused(self, tmp_path: Path) -> None:
        zipped = patched(write_zip(tmp_path / "x.zip", {"Bär/1.png": RED}), "ä".encode(), b"\xff\xfe")
        tarred = patched(write_tar(tmp_path / "x.tar", {"XX/1.png": RED}, "w"), b"XX/", b"\xff\xfe/")
        content = bytearray(tarred.read_bytes())
        checksum = sum(content[:148]) + 8 * 32 + sum(content[156:512])
        content[148:156] = f"{checksum:06o}\0 ".encode()
        tarred.write_bytes(content)
        assert codes(rejected(tmp_path / "s", zipped)) == {"bad_name"}
        assert codes(rejected(tmp_path / "s", tarred)) == {"bad_name"}

    def test_two_members_of_one_name_are_refused(self, tmp_path: Path) -> None:
        file = write_entries(tmp_path / "x", [entry("a/1.png"), entry("./a//1.png")])
        assert codes(rejected(tmp_path / "s", file)) == {"duplicate_name"}

    def test_two_spellings_of_one_accent_are_one_name(self, tmp_path: Path) -> None:
        file = write_zip(tmp_path / "x", {"\u00e9/1.png": RED, "e\u0301/1.png": RED})
        assert codes(rejected(tmp_path / "s", file)) == {"duplicate_name"}

    def test_all_unsafe_names_are_listed(self, tmp_path: Path) -> None:
        errors = rejected(tmp_path / "s", write_zip(tmp_path / "x", {"../1.png": RED, "/2.png": RED, "a/3.png": RED}))
        assert [error.file for error in errors] == ["../1.png", "/2.png"]


class TestLinksAndDevices:
    @pytest.mark.parametrize(
        "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
    )
    def test_they_are_refused_in_a_tar(self, tmp_path: Path, kind: bytes) -> None:
        file = write_entries(tmp_path / "x", [entry("a/1.png", kind, "/etc/passwd")])
        assert codes(rejected(tmp_path / "s", file)) == {"link_or_device"}

    def test_a_sparse_file_is_refused(self, tmp_path: Path) -> None:
        info, _ = entry("a/1.png")
        info.pax_headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": "1000000", "GNU.sparse.major": "0"}
        with tarfile.open(tmp_path / "x", "w", format=tarfile.PAX_FORMAT) as archive:
            archive.addfile(info)
        assert codes(rejected(tmp_path / "s", tmp_path / "x")) == {"link_or_device"}

    @pytest.mark.parametrize("mode", [0o120777, 0o020666, 0o060666, 0o010666, 0o140777])
    def test_they_are_refused_in_a_zip(self, tmp_path: Path, mode: int) -> None:
        with zipfile.ZipFile(tmp_path / "x", "w") as archive:
            info = zipfile.ZipInfo("a/1.png")
            info.external_attr = mode << 16
            archive.writestr(info, "/etc/passwd")
        assert codes(rejected(tmp_path / "s", tmp_path / "x")) == {"link_or_device"}


class TestZipBombs:
    def test_a_ratio_no_picture_has_is_refused_unread(self, tmp_path: Path) -> None:
        file = write_zip(tmp_path / "x", {"a/1.png": RED, "a/2.png": bytes(100 * MIB)})
        with memory_within(MIB):
            assert codes(rejected(tmp_path / "s", file)) == {"compression_ratio"}

    def test_more_than_may_be_expanded_is_refused_unread(self, tmp_path: Path) -> None:
        file = write_zip(tmp_path / "x", {f"a/{number}.png": bytes(MIB) for number in range(4)})
        limits = Limits(expanded_bytes=3 * MIB)
        assert codes(rejected(tmp_path / "s", file, limits=limits)) == {"too_large"}

    def test_a_member_larger_than_the_limit_is_refused(self, tmp_path: Path) -> None:
        file = write_zip(tmp_path / "x", {"a/1.png": bytes(2 * MIB)})
        assert codes(rejected(tmp_path / "s", file, limits=Limits(member_bytes=MIB))) == {"member_too_large"}

    def test_a_declared_size_that_lies_bounds_what_is_produced(self, tmp_path: Path) -> None:
        bomb = RED + bytes(64 * MIB)
        file = write_zip(tmp_path / "x", {"a/1.png": bomb})
        patched(file, struct.pack("<L", len(bomb)), struct.pack("<L", 1000))
        with memory_within(MIB), opened(tmp_path / "s", file, options=ImportOptions(on_corrupt="skip")) as source:
            assert [item.content for item in source.items()] == [b""]

    def test_a_declared_size_beyond_the_content_is_corrupt(self, tmp_path: Path) -> None:
        file = write_zip(tmp_path / "x", {"a/1.png": RED + bytes(10_000)})
        patched(file, struct.pack("<L", len(RED) + 10_000), struct.pack("<L", 500 * MIB // 10))
        with memory_within(MIB), opened(tmp_path / "s", file) as source:
            assert [item.content for item in source.items()] == [b""]

    def test_members_that_share_bytes_are_refused(self, tmp_path: Path) -> None:
        file = write_zip(tmp_path / "x", {"a/1.png": RED, "a/2.png": RED})
        content = file.read_bytes()
        second = content.find(b"PK\x01\x02", content.find(b"PK\x01\x02") + 4)
        file.write_bytes(content[: second + 42] + struct.pack("<L", 0) + content[second + 46 :])
        assert codes(rejected(tmp_path / "s", file)) == {"overlapping_members"}

    def test_a_directory_that_points_outside_is_refused(self, tmp_path: Path) -> None:
        file = write_zip(tmp_path / "x", {"a/1.png": RED})
        content = file.read_bytes()
        at = content.find(b"PK\x01\x02")
        file.write_bytes(content[: at + 42] + struct.pack("<L", 1 << 30) + content[at + 46 :])
        assert codes(rejected(tmp_path / "s", file)) == {"damaged_archive"}

    def test_too_many_entries_are_refused_before_they_are_listed(self, tmp_path: Path) -> None:
        file = write_zip(tmp_path / "x", {f"a/{number}.png": b"" for number in range(5_000)}, zipfile.ZIP_STORED)
        with memory_within(MIB):
            assert codes(rejected(tmp_path / "s", file, limits=Limits(entries=100))) == {"too_many_entries"}

    def test_a_directory_that_hides_its_length_is_counted(self, tmp_path: Path) -> None:
        file = write_zip(tmp_path / "x", {f"a/{number}.png": b"" for number in range(5_000)}, zipfile.ZIP_STORED)
        patched(file, struct.pack("<HH", 5_000, 5_000), struct.pack("<HH", 1, 1))
        with memory_within(MIB):
            assert codes(rejected(tmp_path / "s", file, limits=Limits(entries=100))) == {"too_many_entries"}

    def test_a_zip64_directory_is_counted_too(self, tmp_path: Path) -> None:
        file = write_zip(tmp_path / "x", {f"a/{number}.png": RED for number in range(70_000)}, zipfile.ZIP_STORED)
        assert codes(rejected(tmp_path / "s", file, limits=Limits(entries=69_999))) == {"too_many_entries"}
        with opened(tmp_path / "s", file, limits=Limits(entries=70_000)) as source:
            assert source.files_total == 70_000

    @pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_compressions_without_bounds_are_refused(self, tmp_path: Path, method: int) -> None:
        file = write_zip(tmp_path / "x", {"a/1.png": RED}, method)
        assert codes(rejected(tmp_path / "s", file)) == {"unsupported_compression"}

    def test_an_encrypted_member_is_refused(self, tmp_path: Path) -> None:
        file = write_zip(tmp_path / "x", {"a/1.png": RED})
        content = bytearray(file.read_bytes())
        content[6] |= 1
        content[content.find(b"PK\x01\x02") + 8] |= 1
        file.write_bytes(content)
        assert codes(rejected(tmp_path / "s", file)) == {"encrypted_member"}

    @pytest.mark.parametrize("part", [0.2, 0.5, 0.99])
    def test_a_truncated_zip_is_refused(self, tmp_path: Path, part: float) -> None:
        file = write_zip(tmp_path / "x", {f"a/{number}.png": RED for number in range(50)})
        file.write_bytes(file.read_bytes()[: int(file.stat().st_size * part)])
        assert codes(rejected(tmp_path / "s", file)) == {"damaged_archive"}


class TestTarBombs:
    def test_a_gzip_bomb_stops_at_the_ratio(self, tmp_path: Path, produced: Callable[[], int]) -> None:
        file = write_tar(tmp_path / "x", {"a/1.png": bytes(200 * MIB)})
        with memory_within(8 * MIB):
            assert codes(rejected(tmp_path / "s", file)) == {"compression_ratio"}
        assert produced() <= streams.RATIO_GRACE_BYTES + 2 * MIB

    def test_what_is_skipped_counts_too(self, tmp_path: Path, produced: Callable[[], int]) -> None:
        info, _ = entry("../1.png")
        info.size = 200 * MIB
        file = write_entries(tmp_path / "x", [(info, bytes(info.size)), entry("a/1.png")])
        assert codes(rejected(tmp_path / "s", file)) == {"compression_ratio"}
        assert produced() <= streams.RATIO_GRACE_BYTES + 2 * MIB

    def test_what_follows_the_archive_counts_too(self, tmp_path: Path, produced: Callable[[], int]) -> None:
        tar = write_tar(tmp_path / "plain", {"a/1.png": RED}, "w").read_bytes()
        file = tmp_path / "x"
        file.write_bytes(gzip.compress(tar + bytes(200 * MIB)))
        assert codes(rejected(tmp_path / "s", file)) == {"compression_ratio"}
        assert produced() <= streams.RATIO_GRACE_BYTES + 2 * MIB

    def test_an_xz_bomb_stops_at_the_ratio(self, tmp_path: Path, produced: Callable[[], int]) -> None:
        file = write_tar(tmp_path / "x", {"a/1.png": bytes(100 * MIB)}, "w:xz")
        assert codes(rejected(tmp_path / "s", file)) == {"compression_ratio"}
        assert produced() <= streams.RATIO_GRACE_BYTES + 2 * MIB

    def test_an_xz_stream_may_not_ask_for_gigabytes(self, tmp_path: Path) -> None:
        filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}]
        content = bytearray(
            lzma.compress(write_tar(tmp_path / "p", {"a/1.png": RED}, "w").read_bytes(), filters=filters)
        )
        content[16] = 40  # dictionary of 4 GiB
        end = 12 + (content[12] + 1) * 4
        content[end - 4 : end] = struct.pack("<L", zlib.crc32(content[12 : end - 4]))
        (tmp_path / "x").write_bytes(content)
        (error,) = rejected(tmp_path / "s", tmp_path / "x")
        assert error.code == "damaged_archive"
        assert "emory" in error.detail

    def test_expanding_past_the_limit_stops(self, tmp_path: Path, produced: Callable[[], int]) -> None:
        file = write_tar(tmp_path / "x", {f"a/{number}.png": bytes(MIB) for number in range(20)})
        assert codes(rejected(tmp_path / "s", file, limits=Limits(expanded_bytes=4 * MIB))) == {"too_large"}
        assert produced() <= 6 * MIB

    def test_too_many_entries_are_refused(self, tmp_path: Path) -> None:
        file = write_entries(tmp_path / "x", [entry(f"a/{number}.png") for number in range(50)])
        assert codes(rejected(tmp_path / "s", file, limits=Limits(entries=49))) == {"too_many_entries"}

    def test_a_long_header_is_not_read_into_memory(self, tmp_path: Path) -> None:
        info, _ = entry("a/1.png")
        info.pax_headers = {"comment": "x" * (16 * MIB)}
        with tarfile.open(tmp_path / "x", "w", format=tarfile.PAX_FORMAT) as archive:
            archive.addfile(info)
        with memory_within(2 * MIB):
            assert codes(rejected(tmp_path / "s", tmp_path / "x")) == {"damaged_archive"}

    def test_a_size_below_zero_does_not_go_back(self, tmp_path: Path) -> None:
        file = write_entries(tmp_path / "x", [entry("a/1.png"), entry("a/2.png")], "w")
        content = bytearray(file.read_bytes())
        content[124:136] = b"\xff" * 10 + b"\xfe\x00"
        content[148:156] = f"{sum(content[:148]) + 8 * 32 + sum(content[156:512]):06o}\0 ".encode()
        file.write_bytes(content)
        assert codes(rejected(tmp_path / "s", file)) == {"damaged_archive"}

    @pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
    @pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
    def test_a_truncated_tar_is_refused(self, tmp_path: Path, mode: str, part: float) -> None:
        noise = {f"a/{number}.png": picture("red", size=(number + 1, 9)) for number in range(40)}
        file = write_tar(tmp_path / "x", noise, mode)  # type: ignore[arg-type]
        padding = 512 * 12 if mode == "w" else 0  # tarfile fills up to 10,240 bytes
        file.write_bytes(file.read_bytes()[: int((file.stat().st_size - padding) * part)])
        assert codes(rejected(tmp_path / "s", file)) == {"truncated_archive"}

    def test_a_tar_cut_between_two_members_is_refused(self, tmp_path: Path) -> None:
        file = write_tar(tmp_path / "x", {"a/1.png": RED, "a/2.png": RED}, "w")
        file.write_bytes(file.read_bytes()[:1024])
        assert codes(rejected(tmp_path / "s", file)) == {"truncated_archive"}

    def test_a_damaged_header_is_not_the_end(self, tmp_path: Path) -> None:
        file = write_tar(tmp_path / "x", {"a/1.png": RED, "a/2.png": RED}, "w")
        content = bytearray(file.read_bytes())
        content[1024] ^= 1
        file.write_bytes(content)
        assert codes(rejected(tmp_path / "s", file)) == {"damaged_archive"}

    def test_a_wrong_checksum_of_gzip_is_seen(self, tmp_path: Path) -> None:
        file = write_tar(tmp_path / "x", {"a/1.png": RED})
        content = bytearray(file.read_bytes())
        content[-8] ^= 1
        file.write_bytes(content)
        assert codes(rejected(tmp_path / "s", file)) == {"damaged_archive"}
