"""What is no dataset at all, and what an import leaves behind."""

from __future__ import annotations

import random
import resource
import signal
from pathlib import Path

import pytest
from archives import codes, opened, picture, rejected, write_tar, write_zip

RED = picture("red")
MIB = 1 << 20


class TestOtherUploads:
    @pytest.mark.parametrize("content", [b"", b"hello", b"GIF89a", RED, b"\x1f\x8b", b"%PDF-1.7", bytes(4096)])
    def test_what_is_no_dataset_is_told_what_is_accepted(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "x.zip").write_bytes(content)
        (error,) = rejected(tmp_path / "s", tmp_path / "x.zip")
        assert error.file == "x.zip"
        assert error.code == ("truncated_archive" if content == b"\x1f\x8b" else "unknown_format")

    def test_several_archives_are_not_one_dataset(self, tmp_path: Path) -> None:
        files = [write_zip(tmp_path / name, {"a/1.png": RED}) for name in ("one.zip", "two.zip")]
        assert codes(rejected(tmp_path / "s", *files)) == {"unknown_format"}

    def test_nothing_is_written_beside_scratch(self, tmp_path: Path) -> None:
        before = {"x", "s"}
        members = {"../escaped.png": RED, "a/1.png": RED}
        rejected(tmp_path / "s", write_tar(tmp_path / "x", members))
        assert {file.name for file in tmp_path.iterdir()} == before
        assert not (tmp_path.parent / "escaped.png").exists()

    def test_random_bytes_in_an_archive_never_crash_a_reader(self, tmp_path: Path) -> None:
        chance = random.Random(0)
        zipped = write_zip(tmp_path / "z", {f"a/{number}.png": RED for number in range(5)}).read_bytes()
        tarred = write_tar(tmp_path / "t", {f"a/{number}.png": RED for number in range(5)}, "w").read_bytes()
        for _ in range(400):
            content = bytearray(chance.choice([zipped, tarred]))
            for _ in range(chance.randint(1, 8)):
                content[chance.randrange(len(content))] = chance.randrange(256)
            (tmp_path / "x").write_bytes(content)
            try:
                rejected(tmp_path / "s", tmp_path / "x")
            except AssertionError as error:
                assert str(error) == "nothing was found to be wrong"  # noqa: PT017  (harmless changes are fine)


def test_a_full_disk_is_the_system_s_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_tar(tmp_path / "x", {"a/1.png": RED + bytes(4 * MIB)}, "w")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, hard))
    try:
        with pytest.raises(OSError, match="File too large"), opened(tmp_path / "s", file):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)
