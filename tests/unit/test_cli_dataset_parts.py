"""What `kerasd dataset` is made of: packing folders, names, bars, words."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from zipfile import ZIP_STORED, ZipFile

import pytest
from fakes import FakeServer, importing_server
from rich.console import Console

from cli.dataset_folder import folder_members, pack
from cli.dataset_progress import amount, bytes_bar, follow_import, share
from cli.dataset_sources import default_name
from cli.dataset_view import printable
from cli.failures import CommandFailed
from client import Client, ImportProgress


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with importing_server() as server:
        yield server


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder per class, and what does not belong to the dataset."""
    folder = tmp_path / "My Photos"
    for name in ("tulip/b.png", "rose/2.png", "rose/10.png", "rose/.hidden.png", ".cache/x.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


class TestPacking:
    def test_the_same_files_give_the_same_bytes(self, photos: Path, tmp_path: Path) -> None:
        first, second = tmp_path / "1.zip", tmp_path / "2.zip"
        pack(folder_members(photos), first, lambda done, total: None)
        os.utime(photos / "rose/2.png", (0, 0))
        (photos / "rose/2.png").chmod(0o600)
        pack(folder_members(photos), second, lambda done, total: None)
        assert first.read_bytes() == second.read_bytes()

    def test_nothing_is_compressed(self, photos: Path, tmp_path: Path) -> None:
        pack(folder_members(photos), tmp_path / "1.zip", lambda done, total: None)
        with ZipFile(tmp_path / "1.zip") as archive:
            assert {entry.compress_type for entry in archive.infolist()} == {ZIP_STORED}
            assert archive.read("rose/2.png") == b"rose/2.png"
            assert archive.testzip() is None

    def test_progress_ends_with_all_bytes(self, photos: Path, tmp_path: Path) -> None:
        told: list[tuple[int, int]] = []
        pack(folder_members(photos), tmp_path / "1.zip", lambda done, total: told.append((done, total)))
        assert told == [(11, 32), (21, 32), (32, 32)]

    @pytest.mark.parametrize("target", ["2.png", "/etc/passwd", "nowhere", ".."])
    def test_links_are_refused_by_name(self, target: str, photos: Path) -> None:
        (photos / "rose/link.png").symlink_to(target)
        with pytest.raises(CommandFailed, match=r"rose/link\.png is a symbolic link"):
            folder_members(photos)

    def test_what_is_no_file_is_refused(self, photos: Path) -> None:
        os.mkfifo(photos / "rose/pipe")
        with pytest.raises(CommandFailed, match="rose/pipe is no regular file"):
            folder_members(photos)

    def test_names_must_be_unicode(self, photos: Path) -> None:
        (Path(os.fsdecode(os.fsencode(photos) + b"/rose/\xff.png"))).touch()
        with pytest.raises(CommandFailed, match="is not UTF-8"):
            folder_members(photos)

    def test_a_folder_that_is_itself_a_link_was_meant(self, photos: Path, tmp_path: Path) -> None:
        (tmp_path / "shortcut").symlink_to(photos)
        assert len(folder_members(tmp_path / "shortcut")) == 3

    def test_a_disk_that_fills_up_is_told(self, photos: Path) -> None:
        with pytest.raises(CommandFailed, match="cannot pack /dev/full: no space left on device"):
            pack(folder_members(photos), Path("/dev/full"), lambda done, total: None)

    def test_too_little_room_is_told_before_anything_is_written(
        self, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=10))
        with pytest.raises(CommandFailed, match="where 10 are free: set TMPDIR"):
            pack(folder_members(photos), tmp_path / "1.zip", lambda done, total: None)


class TestNames:
    @pytest.mark.parametrize(
        ("folder", "name"),
        [
            ("flowers", "flowers"),
            ("My Photos (2024)", "my-photos-2024"),
            ("Blüten", "bluten"),
            ("_private_", "private"),
            ("v1.2", "v1-2"),
            ("x" * 80, "x" * 64),
        ],
    )
    def test_they_are_made_valid(self, folder: str, name: str) -> None:
        assert default_name(folder) == name


class TestTerminal:
    def test_bars_show_bytes_and_files(self, fake: FakeServer) -> None:
        screen = io.StringIO()
        console = Console(file=screen, force_terminal=True, width=120, color_system=None)
        with bytes_bar("uploading", "uploaded", console) as tell:
            tell(6_000_000, 12_000_000)
        with Client(fake.url) as client:
            found = follow_import(client, client.add_builtin("digits"), console)
        assert found.state == "READY"
        assert "6.0/12.0 MB" in screen.getvalue()
        assert "120 of 120 files" in screen.getvalue()
        assert "comparing" in screen.getvalue()


class TestAmounts:
    @pytest.mark.parametrize(
        ("progress", "text", "part"),
        [
            (ImportProgress("waiting"), "", None),
            (ImportProgress("checking", bytes_done=2_000), "2.0 kB", None),
            (ImportProgress("checking", bytes_done=2_000, bytes_total=8_000), "2.0 kB of 8.0 kB", 0.25),
            (ImportProgress("importing", files_done=1_500), "1,500 files", None),
            (ImportProgress("importing", 1_500, 6_000, 1, 8), "1,500 of 6,000 files", 0.25),
            (ImportProgress("importing", 0, 0), "0 of 0 files", None),
        ],
    )
    def test_files_go_before_bytes(self, progress: ImportProgress, text: str, part: float | None) -> None:
        assert amount(progress) == text
        assert share(progress) == part

    def test_only_ordinary_characters_are_printed(self) -> None:
        assert printable("Blüten 花\x1b[2J\u202egnp\udcff") == r"Blüten 花\x1b[2J\u202egnp\udcff"
