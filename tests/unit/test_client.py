"""The client against small real servers that misbehave in every way that a network does."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from client import ApiError, Client, UnexpectedAnswer, Unreachable

JOB = {
    "id": "a1",
    "state": "QUEUED",
    "reason": None,
    "detail": None,
    "spec": {"dataset": {"name": "digits"}, "architecture": {"name": "lenet"}},
    "spec_hash": "ff",
    "attempt": 0,
    "progress": {"epoch": 0, "epochs": 2, "step": 0, "steps": 40, "eta_seconds": None},
    "best_epoch": None,
    "evaluation": None,
    "model": None,
    "warnings": [{"code": "chance_level", "detail": "no better than guessing", "job": "b2"}],
    "queue_position": 1,
    "tags": {},
    "created_at": "2026-01-02T03:04:05.678Z",
    "started_at": None,
    "finished_at": None,
    "etag": '"1"',
    "a_field_of_a_later_version": 1,
}


@dataclass
class Answer:
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    """close the connection instead of answering"""


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Script:
    """Answers requests one by one as written down; the last answer is repeated. Remembers what was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[Asked] = []

    def next(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


Serve = Callable[..., tuple[str, Script]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[ThreadingHTTPServer] = []

    def start(*answers: Answer) -> tuple[str, Script]:
        script = Script(*answers)
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(script))
        server.daemon_threads = True
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}", script

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def _handler(script: Script) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            script.asked.append(Asked(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            answer = script.next()
            if answer.cut:
                self.close_connection = True
                return
            content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = answer  # noqa: N815  (the names that http.server looks for)

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler


class Pauses(list[float]):
    """Records pauses instead of making them."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


class TestAnswers:
    def test_a_job_is_typed_and_unknown_fields_are_ignored(self, serve: Serve, pauses: Pauses) -> None:
        url, _ = serve(Answer(body=JOB))
        with Client(url, pause=pauses) as client:
            job = client.job("a1")
        assert job.progress.epochs == 2
        assert job.created_at.isoformat() == "2026-01-02T03:04:05.678000+00:00"
        assert job.warnings[0].detail == "no better than guessing"
        assert not job.ended

    def test_a_job_id_cannot_leave_its_place_in_the_path(self, serve: Serve, pauses: Pauses) -> None:
        url, script = serve(Answer(body=JOB))
        with Client(url, pause=pauses) as client:
            client.job("../models?x=/")
        assert script.asked[0].path == "/api/v1/jobs/..%2Fmodels%3Fx%3D%2F"

    def test_a_listing_goes_on_to_the_next_page_until_the_limit(self, serve: Serve, pauses: Pauses) -> None:
        page = [JOB | {"id": str(number)} for number in range(3)]
        url, script = serve(
            Answer(body={"items": page[:2], "next_page_token": "t"}),
            Answer(body={"items": page[2:], "next_page_token": "u"}),
        )
        with Client(url, pause=pauses) as client:
            assert [job.id for job in client.jobs(state="QUEUED", limit=3)] == ["0", "1", "2"]
        assert "page_size=3" in script.asked[0].path
        assert "page_size=1" in script.asked[1].path
        assert "page_token=t" in script.asked[1].path
        assert "architecture" not in script.asked[0].path

    def test_a_prediction_sends_the_image_as_it_is(self, serve: Serve, pauses: Pauses) -> None:
        label = {"label": "3", "probability": 0.9}
        url, script = serve(
            Answer(
                body={
                    "model": {"name": "digits.lenet", "version": 2, "job": "a1"},
                    "predictions": [{**label, "top": [label]}],
                }
            )
        )
        with Client(url, pause=pauses) as client:
            answer = client.predict("lenet", b"\x89PNG", dataset="digits@0a1b2c3d", top=1)
        assert (answer.model.view, answer.model.version, answer.predictions[0].label) == ("digits", 2, "3")
        assert script.asked[0].body == b"\x89PNG"
        assert script.asked[0].headers["content-type"] == "image/png"
        assert script.asked[0].path == "/api/v1/predict/lenet?dataset=digits%400a1b2c3d&top=1"

    def test_an_explanation_is_numbers_or_a_picture(self, serve: Serve, pauses: Pauses) -> None:
        explained = {
            "model": {"name": "digits.lenet", "version": 2, "job": "a1"},
            "label": "3",
            "probability": 0.9,
            "method": "grad_cam",
            "height": 1,
            "width": 2,
            "heat": [[0.25, 0.75]],
        }
        url, script = serve(Answer(body=explained), Answer(body=explained))
        with Client(url, pause=pauses) as client:
            answer = client.explain("lenet", b"\x89PNG", dataset="digits", label="3")
            client.heat_map("lenet", b"\x89PNG", method="occlusion")
        assert (answer.model.version, answer.label, answer.heat) == (2, "3", ((0.25, 0.75),))
        assert script.asked[0].path == "/api/v1/explain/lenet?dataset=digits&label=3&format=json"
        assert script.asked[1].path == "/api/v1/explain/lenet?method=occlusion&format=png"
        assert script.asked[1].body == b"\x89PNG"


class TestErrors:
    def test_a_problem_lists_every_fault(self, serve: Serve, pauses: Pauses) -> None:
        problem = {
            "status": 422,
            "detail": "the job spec has 2 faults",
            "code": "invalid_job_spec",
            "request_id": "r1",
            "errors": [
                {"pointer": "/epochs", "detail": "must be at least 1"},
                {"pointer": "/x", "detail": "unknown field"},
            ],
        }
        url, script = serve(Answer(422, problem))
        with Client(url, pause=pauses) as client, pytest.raises(ApiError) as caught:
            client.submit({"epochs": 0, "x": 1})
        error = caught.value
        assert (error.status, error.code, error.request_id) == (422, "invalid_job_spec", "r1")
        assert str(error).splitlines() == [
            "the job spec has 2 faults (422 invalid_job_spec)",
            "  /epochs: must be at least 1",
            "  /x: unknown field",
        ]
        assert len(script.asked) == 1

    def test_an_error_that_is_no_problem_document_is_still_an_api_error(self, serve: Serve, pauses: Pauses) -> None:
        url, _ = serve(Answer(502, b"<html>bad gateway</html>"))
        with Client(url, pause=pauses) as client, pytest.raises(ApiError, match=r"Bad Gateway \(502\)"):
            client.job("a1")

    def test_something_else_at_the_address_is_named_as_such(self, serve: Serve, pauses: Pauses) -> None:
        url, _ = serve(Answer(body=b"<html>hello</html>", headers={"Content-Type": "text/html"}))
        with Client(url, pause=pauses) as client, pytest.raises(UnexpectedAnswer, match="text/html instead of JSON"):
            client.job("a1")

    def test_nothing_at_the_address_says_how_to_start_one(self, pauses: Pauses) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        with Client(f"http://127.0.0.1:{port}", pause=pauses) as client, pytest.raises(Unreachable, match="kerasd up"):
            client.submit({})
        assert pauses == [0.1, 0.2, 0.4, 0.8]

    @pytest.mark.parametrize("address", ["127.0.0.1:8000", "ftp://host", "http://", ""])
    def test_an_address_that_is_none_is_refused_at_once(self, address: str) -> None:
        with pytest.raises(ValueError, match="not an address"):
            Client(address)


class TestRetries:
    def test_a_submit_is_repeated_with_the_same_key(self, serve: Serve, pauses: Pauses) -> None:
        url, script = serve(Answer(cut=True), Answer(503, {}, {"Retry-After": "2"}), Answer(201, JOB))
        with Client(url, pause=pauses) as client:
            assert client.submit({"dataset": "digits"}).id == "a1"
        keys = {asked.headers["idempotency-key"] for asked in script.asked}
        assert len(script.asked) == 3
        assert len(keys) == 1
        assert pauses == [0.1, 2.0]

    def test_two_submits_have_two_keys(self, serve: Serve, pauses: Pauses) -> None:
        url, script = serve(Answer(201, JOB))
        with Client(url, pause=pauses) as client:
            client.submit({})
            client.submit({})
        assert script.asked[0].headers["idempotency-key"] != script.asked[1].headers["idempotency-key"]

    def test_a_conflict_with_its_own_key_in_flight_is_waited_for(self, serve: Serve, pauses: Pauses) -> None:
        url, _ = serve(Answer(409, {"code": "in_flight"}, {"Retry-After": "1"}), Answer(201, JOB))
        with Client(url, pause=pauses) as client:
            assert client.submit({}, "mine").id == "a1"

    def test_any_other_conflict_is_not(self, serve: Serve, pauses: Pauses) -> None:
        url, script = serve(Answer(409, {"detail": "the job is SUCCEEDED", "code": "invalid_transition"}))
        with Client(url, pause=pauses) as client, pytest.raises(ApiError, match="invalid_transition"):
            client.cancel("a1")
        assert len(script.asked) == 1

    def test_moves_carry_what_is_asked_for(self, serve: Serve, pauses: Pauses) -> None:
        url, script = serve(*[Answer(body=JOB)] * 5)
        with Client(url, pause=pauses) as client:
            client.cancel("a1", keep_best=True)
            client.pause("a1")
            client.resume("a1")
            client.retry("a1")
            client.retry("a1", scratch=True)
        assert [asked.path.rpartition(":")[2] for asked in script.asked] == [
            "cancel",
            "pause",
            "resume",
            "retry",
            "retry",
        ]
        bodies = [json.loads(asked.body) for asked in script.asked]
        assert bodies == [{"keep_best": True}, {}, {}, {"from": "checkpoint"}, {"from": "scratch"}]

    def test_it_gives_up_after_a_few_tries(self, serve: Serve, pauses: Pauses) -> None:
        url, script = serve(Answer(503, {"detail": "not migrated", "code": "database_unavailable"}))
        with Client(url, pause=pauses) as client, pytest.raises(ApiError, match="not migrated"):
            client.job("a1")
        assert len(script.asked) == 5

    def test_a_long_retry_after_is_cut_short(self, serve: Serve, pauses: Pauses) -> None:
        url, _ = serve(Answer(503, {}, {"Retry-After": "86400"}), Answer(body=JOB))
        with Client(url, pause=pauses) as client:
            client.job("a1")
        assert pauses == [10.0]

    def test_a_proxy_of_the_environment_does_not_see_requests_to_this_machine(
        self, serve: Serve, pauses: Pauses, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        url, _ = serve(Answer(body=JOB))
        with Client(url, pause=pauses) as client:
            assert client.job("a1").id == "a1"


class TestWait:
    def test_it_polls_long_until_the_job_has_ended(self, serve: Serve, pauses: Pauses) -> None:
        done = JOB | {"state": "SUCCEEDED", "etag": '"9"'}
        url, script = serve(Answer(body=JOB), Answer(304, b""), Answer(body=done))
        with Client(url, pause=pauses) as client:
            assert client.wait("a1").state == "SUCCEEDED"
        assert script.asked[1].headers["if-none-match"] == '"1"'
        assert script.asked[1].headers["prefer"] == "wait=30"

    def test_it_says_where_the_job_stands_when_time_is_up(self, serve: Serve, pauses: Pauses) -> None:
        url, _ = serve(Answer(body=JOB))
        with Client(url, pause=pauses) as client, pytest.raises(TimeoutError, match="still QUEUED"):
            client.wait("a1", timeout=0)
