"""The event stream across broken connections: nothing lost, nothing twice."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pytest

from client import ApiError, Client, Event, UnexpectedAnswer, Unreachable


def message(number: int | None, kind: str, data: dict[str, Any]) -> str:
    identity = "" if number is None else f"id: {number}\n"
    return f"event: {kind}\n{identity}data: {json.dumps(data)}\n\n"


def epochs(first: int, last: int) -> str:
    return "".join(message(number, "epoch", {"epoch": number}) for number in range(first, last + 1))


HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
JSON_HEAD = "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"


def chunk(text: str) -> str:
    return f"{len(text.encode()):x}\r\n{text}\r\n"


def whole(text: str) -> str:
    """A stream that the server ends."""
    return HEAD + chunk(text) + "0\r\n\r\n"


def broken(text: str) -> str:
    """A stream whose connection breaks after this."""
    return HEAD + chunk(text)


def answer(body: dict[str, Any], status: int = 200) -> str:
    content = json.dumps(body)
    return JSON_HEAD.format(status=status, length=len(content)) + content


class RawServer:
    """Takes one connection an answer, writes the bytes and closes. Remembers each request's head."""

    def __init__(self, listener: socket.socket, answers: list[str]) -> None:
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.requests: list[str] = []
        self._listener, self._answers = listener, answers

    def run(self) -> None:
        for text in self._answers:
            connection, _ = self._listener.accept()
            with connection:
                head = b""
                while b"\r\n\r\n" not in head:
                    head += connection.recv(65536)
                self.requests.append(head.decode())
                connection.sendall(text.encode())

    def positions(self) -> list[str | None]:
        """The Last-Event-ID of each request for events."""
        found = []
        for request in self.requests:
            lines = request.lower().splitlines()
            if "/events" in lines[0]:
                found.append(
                    next((line.partition(": ")[2] for line in lines if line.startswith("last-event-id")), None)
                )
        return found


@contextmanager
def serving(*answers: str) -> Iterator[RawServer]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = RawServer(listener, list(answers))
        thread = Thread(target=server.run, daemon=True)
        thread.start()
        yield server


def watch(server: RawServer, last_event_id: str | None = None) -> list[Event]:
    with Client(server.url, pause=lambda seconds: None) as client:
        return list(client.events("a1", last_event_id))


END = message(9, "state", {"state": "SUCCEEDED"})


class TestEvents:
    def test_they_come_in_order_until_the_job_has_ended(self) -> None:
        with serving(whole(message(1, "state", {"state": "RUNNING"}) + epochs(2, 3) + END)) as server:
            seen = watch(server)
        assert [(event.id, event.kind) for event in seen] == [
            ("1", "state"),
            ("2", "epoch"),
            ("3", "epoch"),
            ("9", "state"),
        ]

    def test_a_break_is_taken_up_after_the_last_event(self) -> None:
        with serving(broken(epochs(1, 2)), broken(epochs(3, 3)), whole(epochs(4, 5) + END)) as server:
            seen = watch(server)
        assert [event.data.get("epoch") for event in seen] == [1, 2, 3, 4, 5, None]
        assert server.positions() == [None, "2", "3"]

    def test_an_event_that_broke_in_the_middle_is_asked_for_again(self) -> None:
        half = epochs(3, 3).removesuffix("}\n\n")
        with serving(broken(epochs(1, 2) + half), whole(epochs(3, 4) + END)) as server:
            seen = watch(server)
        assert [event.data.get("epoch") for event in seen] == [1, 2, 3, 4, None]
        assert server.positions() == [None, "2"]

    def test_progress_has_no_number_and_moves_no_position(self) -> None:
        progress = message(None, "progress", {"epoch": 1, "step": 5})
        with serving(broken(epochs(1, 1) + progress), whole(progress + END)) as server:
            seen = watch(server)
        assert [event.kind for event in seen] == ["epoch", "progress", "progress", "state"]
        assert server.positions() == [None, "1"]

    def test_events_after_the_end_of_the_job_are_not_dropped(self) -> None:
        log = message(10, "log", {"text": "bye", "attempt": 1})
        with serving(broken(END), whole(log)) as server:
            seen = watch(server)
        assert [event.kind for event in seen] == ["state", "log"]

    def test_a_stream_that_a_stopping_server_ended_goes_on_with_the_next(self) -> None:
        with serving(whole(epochs(1, 1)), whole(epochs(2, 2) + END)) as server:
            seen = watch(server)
        assert [event.id for event in seen] == ["1", "2", "9"]

    def test_resuming_after_the_last_event_of_an_ended_job_ends_at_once(self) -> None:
        ended = answer(_job("SUCCEEDED"))
        with serving(whole(": nothing new\n\n"), ended) as server:
            assert watch(server, last_event_id="9") == []
        assert server.positions() == ["9"]

    def test_a_server_that_is_not_ready_yet_is_waited_for(self) -> None:
        with serving(answer({"code": "database_unavailable"}, 503), whole(END)) as server:
            assert [event.id for event in watch(server)] == ["9"]


class TestStreamErrors:
    def test_an_unknown_job_is_an_api_error(self) -> None:
        problem = {"detail": "there is no job 'a1'", "code": "job_not_found"}
        with serving(answer(problem, 404)) as server, pytest.raises(ApiError, match="there is no job"):
            watch(server)

    def test_a_server_that_stays_away_is_given_up(self) -> None:
        pauses: list[float] = []
        with serving(broken(epochs(1, 1))) as server, Client(server.url, pause=pauses.append) as client:
            stream = client.events("a1")
            assert next(stream).id == "1"
            server._listener.close()
            with pytest.raises(Unreachable):
                list(stream)
        assert 30 < sum(pauses) < 120

    def test_data_that_is_no_json_is_not_kerasd(self) -> None:
        with serving(whole("event: state\ndata: hello\n\n")) as server, pytest.raises(UnexpectedAnswer):
            watch(server)


def _job(state: str) -> dict[str, Any]:
    return {
        "id": "a1",
        "state": state,
        "reason": None,
        "detail": None,
        "spec": {},
        "spec_hash": "ff",
        "attempt": 1,
        "progress": {"epoch": 2, "epochs": 2, "step": 40, "steps": 40, "eta_seconds": 0.0},
        "best_epoch": None,
        "evaluation": {"test_loss": 0.1, "test_accuracy": 0.9},
        "model": {"name": "digits.lenet", "version": 1},
        "warnings": [],
        "queue_position": None,
        "tags": {},
        "created_at": "2026-01-02T03:04:05Z",
        "started_at": "2026-01-02T03:04:06Z",
        "finished_at": "2026-01-02T03:04:07Z",
        "etag": '"9"',
    }
