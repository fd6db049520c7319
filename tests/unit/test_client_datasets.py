"""The client and datasets: uploads that cost no memory, imports followed to their end."""

from __future__ import annotations

import json
import socket
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import httpx2
import pytest
from fakes import (
    DATASETS,
    FakeServer,
    Reply,
    dataset,
    events,
    fake_server,
    importing,
    problem,
    progress_event,
    rejected,
    state_event,
)

from client import ApiError, Client

FLOWERS = f"{DATASETS}/flowers"
MEBIBYTE = 1 << 20


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with fake_server() as server:
        yield server


@pytest.fixture
def client(fake: FakeServer) -> Iterator[Client]:
    with Client(fake.url, pause=lambda seconds: None) as client:
        yield client


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    file = tmp_path / "photos.zip"
    file.write_bytes(b"PK" + b"\x00\r\n--" * 50_000)
    return file


class Swallowing(httpx2.BaseTransport):
    """Takes a request's body piece by piece, keeps none of it, and answers that the import has begun."""

    def __init__(self) -> None:
        self.declared, self.received, self.largest = 0, 0, 0

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.declared = int(request.headers["content-length"])
        assert isinstance(request.stream, httpx2.SyncByteStream)
        for piece in request.stream:
            self.received += len(piece)
            self.largest = max(self.largest, len(piece))
        return httpx2.Response(202, json=importing())


class TestUpload:
    def test_the_form_has_the_fields_before_the_file(self, fake: FakeServer, client: Client, archive: Path) -> None:
        fake.on(f"POST {DATASETS}", Reply(importing(), 202))
        added = client.add_dataset("flowers", [archive], on_corrupt="skip", labels="coarse")
        assert (added.name, added.state) == ("flowers", "IMPORTING")
        assert fake.asked[0].form() == [
            ("name", None, b"flowers"),
            ("on_corrupt", None, b"skip"),
            ("labels", None, b"coarse"),
            ("file", "photos.zip", archive.read_bytes()),
        ]

    def test_what_is_not_chosen_is_left_to_the_server(self, fake: FakeServer, client: Client, archive: Path) -> None:
        fake.on(f"POST {DATASETS}", Reply(importing(), 202))
        client.add_dataset("flowers", [archive])
        assert [name for name, *_ in fake.asked[0].form()] == ["name", "file"]

    def test_shards_go_in_one_form_in_order(self, fake: FakeServer, client: Client, tmp_path: Path) -> None:
        shards = [tmp_path / f"train-{number}-of-2.tfrecord" for number in (0, 1)]
        for number, shard in enumerate(shards):
            shard.write_bytes(b"%d" % number)
        fake.on(f"POST {DATASETS}", Reply(importing(), 202))
        client.add_dataset("flowers", shards)
        assert fake.asked[0].form()[1:] == [
            ("file", "train-0-of-2.tfrecord", b"0"),
            ("file", "train-1-of-2.tfrecord", b"1"),
        ]

    def test_its_memory_does_not_grow_with_the_file(self, tmp_path: Path) -> None:
        file = tmp_path / "large.zip"
        with file.open("wb") as stream:
            stream.truncate(256 * MEBIBYTE)
        transport = Swallowing()
        with Client(transport=transport) as client:
            tracemalloc.start()
            client.add_dataset("large", [file])
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert transport.declared == transport.received > 256 * MEBIBYTE
        assert transport.largest <= MEBIBYTE
        assert peak < 4 * MEBIBYTE

    def test_progress_counts_the_bytes_of_all_files(self, tmp_path: Path) -> None:
        files = [tmp_path / "a.tfrecord", tmp_path / "b.tfrecord"]
        for file in files:
            file.write_bytes(bytes(100_000))
        told: list[tuple[int, int]] = []
        with Client(transport=Swallowing()) as client:
            client.add_dataset("flowers", files, on_progress=lambda sent, total: told.append((sent, total)))
        assert told == sorted(told)
        assert (100_000, 200_000) in told
        assert told[-1] == (200_000, 200_000)
        assert len(told) >= 4

    def test_a_broken_upload_is_sent_again_from_the_start(
        self, fake: FakeServer, client: Client, archive: Path
    ) -> None:
        fake.on(f"POST {DATASETS}", Reply(cut=True), Reply(importing(), 202))
        client.add_dataset("flowers", [archive])
        assert [asked.form()[-1][2] == archive.read_bytes() for asked in fake.asked] == [True, True]

    def test_the_same_content_again_is_the_dataset_itself(
        self, fake: FakeServer, client: Client, archive: Path
    ) -> None:
        fake.on(f"POST {DATASETS}", Reply(dataset(), 200))
        assert client.add_dataset("flowers", [archive]).ended

    def test_a_file_that_is_not_there_is_an_os_error(self, client: Client, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            client.add_dataset("flowers", [tmp_path / "none.zip"])

    def test_no_file_is_a_value_error(self, client: Client) -> None:
        with pytest.raises(ValueError, match="at least one file"):
            client.add_dataset("flowers", [])


class TestRefusals:
    @pytest.mark.parametrize(
        ("status", "code"), [(409, "dataset_exists"), (413, "upload_too_large"), (507, "insufficient_storage")]
    )
    def test_a_refusal_is_not_tried_again(
        self, status: int, code: str, fake: FakeServer, client: Client, archive: Path
    ) -> None:
        fake.on(f"POST {DATASETS}", problem(status, code, "no"))
        with pytest.raises(ApiError) as caught:
            client.add_dataset("flowers", [archive])
        assert (caught.value.status, caught.value.code) == (status, code)
        assert len(fake.asked) == 1

    def test_a_rejected_upload_names_its_files(self, fake: FakeServer, client: Client, archive: Path) -> None:
        fault = {"pointer": "/file/rose/1.png", "detail": "is a link", "code": "link"}
        fake.on(f"POST {DATASETS}", problem(422, "dataset_rejected", "1 file is unusable", errors=[fault]))
        with pytest.raises(ApiError) as caught:
            client.add_dataset("flowers", [archive])
        (found,) = caught.value.errors
        assert (found.pointer, found.detail, found.code) == ("/file/rose/1.png", "is a link", "link")

    def test_an_answer_before_the_end_of_the_upload_is_heard(self, tmp_path: Path) -> None:
        file = tmp_path / "large.zip"
        with file.open("wb") as stream:
            stream.truncate(64 * MEBIBYTE)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            Thread(target=_refuse_early, args=(listener,), daemon=True).start()
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with Client(url) as client, pytest.raises(ApiError, match="at most 1 MB"):
                client.add_dataset("large", [file])


class TestBuiltins:
    def test_a_builtin_is_named_in_json(self, fake: FakeServer, client: Client) -> None:
        fake.on(f"POST {DATASETS}", Reply(importing(name="digits", source={"builtin": "digits"}), 202))
        assert client.add_builtin("digits").source == {"builtin": "digits"}
        assert fake.asked[0].headers["content-type"] == "application/json"
        assert json.loads(fake.asked[0].body) == {"builtin": "digits"}


class TestRead:
    def test_a_dataset_is_typed_and_unknown_fields_are_ignored(self, fake: FakeServer, client: Client) -> None:
        fake.on(f"GET {FLOWERS}", Reply(dataset()))
        found = client.dataset("flowers")
        assert [(entry.label, entry.train, entry.test) for entry in found.classes] == [
            ("rose", 80, 20),
            ("tulip", 16, 4),
        ]
        assert found.images is not None
        assert (found.images.total, found.images.validation) == (120, None)
        assert found.image_sizes is not None
        assert found.image_sizes.largest == (768, 1024)
        assert found.warnings[0].code == "class_imbalance"
        assert found.created_at.isoformat() == "2026-01-02T03:04:05.678000+00:00"

    def test_one_that_is_importing_knows_little_yet(self, fake: FakeServer, client: Client) -> None:
        fake.on(f"GET {FLOWERS}", Reply(importing()))
        found = client.dataset("flowers")
        assert not found.ended
        assert (found.images, found.digest, found.warnings, found.progress.phase) == (None, None, (), "waiting")

    def test_a_rejected_one_has_errors(self, fake: FakeServer, client: Client) -> None:
        fake.on(f"GET {FLOWERS}", Reply(rejected(250)))
        found = client.dataset("flowers")
        assert (len(found.errors), found.errors_total) == (100, 250)
        assert found.errors[0].file == "rose/000.png"

    def test_a_name_cannot_leave_its_place_in_the_path(self, fake: FakeServer, client: Client) -> None:
        with pytest.raises(ApiError):
            client.dataset("../jobs?x=/")
        assert fake.asked[0].target == f"{DATASETS}/..%2Fjobs%3Fx%3D%2F"

    def test_a_listing_has_all_pages(self, fake: FakeServer, client: Client) -> None:
        fake.on(
            f"GET {DATASETS}",
            Reply({"items": [dataset(name="a"), dataset(name="b")], "next_page_token": "t"}),
            Reply({"items": [dataset(name="c")], "next_page_token": None}),
        )
        assert [found.name for found in client.datasets(state="READY")] == ["a", "b", "c"]
        assert "state=READY" in fake.asked[1].target
        assert "page_token=t" in fake.asked[1].target


class TestEvents:
    def test_they_end_with_the_import(self, fake: FakeServer, client: Client) -> None:
        fake.on(
            f"GET {FLOWERS}/events",
            events(state_event(1, "IMPORTING"), progress_event("importing", files_done=3), state_event(2, "READY")),
        )
        assert [(event.id, event.kind) for event in client.dataset_events("flowers")] == [
            ("1", "state"),
            ("1", "progress"),
            ("2", "state"),
        ]
        assert len(fake.asked) == 1

    def test_a_stream_that_ended_early_is_taken_up_where_it_was(self, fake: FakeServer, client: Client) -> None:
        fake.on(
            f"GET {FLOWERS}/events",
            events(state_event(1, "IMPORTING")),
            Reply(cut=True),
            events(state_event(2, "REJECTED")),
        )
        assert [event.id for event in client.dataset_events("flowers")] == ["1", "2"]
        assert [asked.headers.get("last-event-id") for asked in fake.asked] == [None, "1", "1"]


class TestWait:
    def test_it_polls_long_until_the_import_has_ended(self, fake: FakeServer, client: Client) -> None:
        fake.on(f"GET {FLOWERS}", Reply(importing()), Reply(status=304), Reply(dataset()))
        assert client.wait_dataset("flowers").state == "READY"
        assert fake.asked[1].headers["if-none-match"] == '"1"'
        assert fake.asked[1].headers["prefer"] == "wait=30"

    def test_it_says_where_the_import_stands_when_time_is_up(self, fake: FakeServer, client: Client) -> None:
        fake.on(f"GET {FLOWERS}", Reply(importing()))
        with pytest.raises(TimeoutError, match="dataset flowers is still IMPORTING"):
            client.wait_dataset("flowers", timeout=0)


class TestDelete:
    def test_it_is_gone(self, fake: FakeServer, client: Client) -> None:
        fake.on(f"DELETE {FLOWERS}", Reply(status=204))
        client.delete_dataset("flowers")
        assert fake.asked[0].method == "DELETE"

    def test_one_in_use_stays(self, fake: FakeServer, client: Client) -> None:
        fake.on(f"DELETE {FLOWERS}", problem(409, "dataset_in_use", "job a1 needs it"))
        with pytest.raises(ApiError, match="job a1 needs it"):
            client.delete_dataset("flowers")


def _refuse_early(listener: socket.socket) -> None:
    """Reads the head and a little more, says 413 and closes, while the client is still sending."""
    connection, _ = listener.accept()
    with connection:
        connection.recv(MEBIBYTE)
        body = json.dumps({"code": "upload_too_large", "detail": "at most 1 MB"}).encode()
        head = f"HTTP/1.1 413 X\r\nContent-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
