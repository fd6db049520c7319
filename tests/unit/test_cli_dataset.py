"""`kerasd dataset` as it is typed, against a small real server."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from zipfile import ZipFile

import pytest
from fakes import (
    DATASETS,
    FakeServer,
    Reply,
    dataset,
    events,
    fake_server,
    importing,
    importing_server,
    problem,
    rejected,
    state_event,
)

from cli.main import DATASET_COMMANDS, run
from client import Client

POST = f"POST {DATASETS}"
FLOWERS = f"GET {DATASETS}/flowers"
Printed = pytest.CaptureFixture[str]

pytestmark = pytest.mark.usefixtures("clean_environment")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    with importing_server() as server:
        monkeypatch.setenv("KERASD_URL", server.url)
        yield server


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder per class, and what does not belong to the dataset."""
    folder = tmp_path / "My Photos"
    for name in ("tulip/b.png", "rose/2.png", "rose/10.png", "rose/.hidden.png", ".cache/x.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    file = tmp_path / "flowers.zip"
    file.write_bytes(b"PK")
    return file


def words(text: str) -> str:
    return " ".join(text.split())


class TestHelp:
    @pytest.mark.parametrize("name", [name for name, *_ in DATASET_COMMANDS])
    def test_every_command_explains_itself(self, name: str, capsys: Printed) -> None:
        assert run(["dataset", name, "--help"]) == 0
        assert f"Usage: kerasd dataset {name}" in capsys.readouterr().out

    def test_alone_it_lists_them(self, capsys: Printed) -> None:
        assert run(["dataset"]) == 0
        shown = capsys.readouterr().out
        assert all(name in shown for name, *_ in DATASET_COMMANDS)


class TestAdd:
    def test_a_file_is_uploaded_and_followed_until_it_is_ready(
        self, fake: FakeServer, archive: Path, capsys: Printed
    ) -> None:
        assert run(["dataset", "add", str(archive), "--on-corrupt", "skip"]) == 0
        assert fake.of(POST)[0].form() == [
            ("name", None, b"flowers"),
            ("on_corrupt", None, b"skip"),
            ("file", "flowers.zip", b"PK"),
        ]
        shown = capsys.readouterr().out
        assert "uploaded 2 bytes" in shown
        assert "importing  60 of 120 files  ETA 4.2 s" in shown
        assert "flowers  READY after 7.0 s" in shown
        assert "96 train, 24 test" in shown
        assert "2: rose, tulip" in shown
        assert "rose has 5 times the images of tulip" in shown
        assert f"kerasd train --architecture lenet --dataset flowers --watch --url {fake.url}" in shown
        assert "\x1b" not in shown

    def test_a_builtin_is_imported_by_its_name(self, fake: FakeServer, capsys: Printed) -> None:
        assert run(["dataset", "add", "cifar100"]) == 0
        assert json.loads(fake.of(POST)[0].body) == {"builtin": "cifar100"}

    def test_several_files_are_one_dataset_named_after_the_first(self, fake: FakeServer, tmp_path: Path) -> None:
        shards = [tmp_path / f"Tulips.tfrecord-0000{number}-of-00002" for number in (0, 1)]
        for shard in shards:
            shard.write_bytes(b"x")
        assert run(["dataset", "add", *map(str, shards)]) == 0
        form = fake.of(POST)[0].form()
        assert form[0] == ("name", None, b"tulips")
        assert [name for _, name, _ in form[1:]] == [shard.name for shard in shards]

    def test_a_folder_is_packed_and_the_archive_removed(
        self, fake: FakeServer, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
    ) -> None:
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(scratch))
        assert run(["dataset", "add", str(photos)]) == 0
        name, file = fake.of(POST)[0].form()
        assert name[2] == b"my-photos"
        assert file[1] == "my-photos.zip"
        with ZipFile(io.BytesIO(file[2])) as uploaded:
            assert uploaded.namelist() == ["rose/10.png", "rose/2.png", "tulip/b.png"]
        assert "packed 3 files" in capsys.readouterr().out
        assert list(scratch.iterdir()) == []

    def test_without_waiting_it_returns_after_the_upload(
        self, fake: FakeServer, archive: Path, capsys: Printed
    ) -> None:
        assert run(["dataset", "add", str(archive), "--no-wait"]) == 0
        assert "flowers IMPORTING; see it with: kerasd dataset show flowers" in capsys.readouterr().out
        assert fake.of(f"{FLOWERS}/events") == []

    def test_what_is_there_already_is_shown_at_once(self, fake: FakeServer, archive: Path, capsys: Printed) -> None:
        fake.on(POST, Reply(dataset(), 200))
        assert run(["dataset", "add", str(archive)]) == 0
        assert "flowers  READY" in capsys.readouterr().out
        assert fake.of(f"{FLOWERS}/events") == []

    def test_the_arguments_may_name_the_dataset(self, fake: FakeServer, archive: Path) -> None:
        assert run(["dataset", "add", str(archive), "--name", "garden_2", "--labels", "coarse", "--no-wait"]) == 0
        assert fake.of(POST)[0].form()[:2] == [("name", None, b"garden_2"), ("labels", None, b"coarse")]

    @pytest.mark.parametrize(
        ("file", "name"),
        [
            ("photos.zip", "photos"),
            ("cifar-100-python.tar.gz", "cifar-100-python"),
            ("mnist-small.NPZ", "mnist-small"),
            ("train-00000-of-00008.tfrecord", "train"),
        ],
    )
    def test_the_name_leaves_out_a_file_s_endings(self, file: str, name: str, fake: FakeServer, tmp_path: Path) -> None:
        (tmp_path / file).write_bytes(b"x")
        assert run(["dataset", "add", file, "--no-wait"]) == 0
        assert fake.of(POST)[0].form()[0] == ("name", None, name.encode())


class TestAddRejected:
    def test_the_first_twenty_errors_are_a_table(self, fake: FakeServer, archive: Path, capsys: Printed) -> None:
        fake.on(f"{FLOWERS}/events", events(state_event(2, "REJECTED")))
        fake.on(FLOWERS, Reply(rejected(250)))
        assert run(["dataset", "add", str(archive)]) == 1
        shown = capsys.readouterr().out
        assert "flowers  REJECTED after 7.0 s" in shown
        assert "damaged images" in shown
        assert "rose/019.png the PNG image is truncated corrupt_image" in words(shown)
        assert "rose/020.png" not in shown
        assert "and 230 more" in shown

    def test_an_upload_refused_at_once_looks_the_same(self, fake: FakeServer, archive: Path, capsys: Printed) -> None:
        faults = [
            {"pointer": f"/file/rose~1{number}.png", "detail": "is a link", "code": "link"} for number in range(25)
        ]
        fake.on(POST, problem(422, "dataset_rejected", "the upload has 25 unusable files", errors=faults))
        assert run(["dataset", "add", str(archive)]) == 1
        shown = capsys.readouterr().out
        assert "REJECTED: the upload has 25 unusable files" in shown
        assert "rose/19.png is a link link" in words(shown)
        assert "and 5 more" in shown

    def test_names_in_an_upload_cannot_steer_the_terminal(
        self, fake: FakeServer, archive: Path, capsys: Printed
    ) -> None:
        fault = {"file": "\x1b[2J.png", "code": "corrupt_image", "detail": "damaged"}
        fake.on(f"{FLOWERS}/events", events(state_event(2, "REJECTED")))
        fake.on(FLOWERS, Reply({**rejected(1), "errors": [fault]}))
        assert run(["dataset", "add", str(archive)]) == 1
        shown = capsys.readouterr().out
        assert "\x1b" not in shown
        assert r"\x1b[2J.png" in shown

    @pytest.mark.parametrize(
        ("status", "code", "detail", "exit_code"),
        [
            (409, "dataset_exists", "flowers exists with other content", 2),
            (413, "upload_too_large", "the upload is larger than 5 bytes", 2),
            (422, "invalid_input", "the form has no file", 2),
            (507, "insufficient_storage", "no room for the upload", 1),
        ],
    )
    def test_refusals_are_told_with_their_code(
        self, status: int, code: str, detail: str, exit_code: int, fake: FakeServer, archive: Path, capsys: Printed
    ) -> None:
        fake.on(POST, problem(status, code, detail))
        assert run(["dataset", "add", str(archive)]) == exit_code
        assert f"kerasd: {detail} ({status} {code})" in capsys.readouterr().err


class TestAddInvalid:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "name a folder, a file or a built-in"),
            (["nothing.zip"], "no file or folder nothing.zip"),
            (["/dev/null"], "neither a file nor a folder"),
            (["flowers.zip", "My Photos"], "a folder must stand alone"),
            (["flowers.zip", "--name", "Bad Name"], "--name Bad Name: must be"),
            (["digits", "--name", "mine"], "digits is built in"),
            (["empty"], "there are no files in empty"),
            (["花"], "give one with --name"),
        ],
    )
    def test_it_is_refused_before_anything_is_sent(
        self,
        arguments: list[str],
        message: str,
        fake: FakeServer,
        archive: Path,
        photos: Path,
        tmp_path: Path,
        capsys: Printed,
    ) -> None:
        (tmp_path / "empty").mkdir()
        (tmp_path / "花").mkdir()
        assert run(["dataset", "add", *arguments]) == 2
        assert message in capsys.readouterr().err
        assert fake.asked == []

    def test_no_server_is_known_before_packing(self, photos: Path, capsys: Printed) -> None:
        with fake_server() as stopped:
            url = stopped.url
        assert run(["dataset", "add", str(photos), "--url", url]) == 3
        printed = capsys.readouterr()
        assert "kerasd up" in printed.err
        assert "packed" not in printed.out


class TestInterrupted:
    def test_the_import_goes_on_when_the_watching_stops(
        self, fake: FakeServer, archive: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
    ) -> None:
        def interrupted(self: Client, name: str) -> Iterator[None]:
            raise KeyboardInterrupt

        monkeypatch.setattr(Client, "dataset_events", interrupted)
        assert run(["dataset", "add", str(archive)]) == 130
        assert "the import goes on. See it with: kerasd dataset show flowers" in capsys.readouterr().out

    def test_a_terminated_upload_leaves_no_archive(self, fake: FakeServer, photos: Path, tmp_path: Path) -> None:
        scratch, never = tmp_path / "scratch", Event()
        scratch.mkdir()
        fake.on(POST, Reply(importing(), 202, after=never))
        command = [sys.executable, "-m", "cli.main", "dataset", "add", str(photos)]
        environment = {**os.environ, "TMPDIR": str(scratch), "PYTHONPATH": str(Path(__file__).parents[2])}
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
            assert fake.arrived.wait(60)
            assert list(scratch.iterdir()) != []
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 128 + signal.SIGTERM
        never.set()
        assert list(scratch.iterdir()) == []
