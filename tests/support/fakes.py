"""A small real HTTP server that answers about datasets and models as it is told, for tests of the client and the command line."""

from __future__ import annotations

import email
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.parse import urlsplit

DATASETS = "/api/v1/datasets"
MODELS = "/api/v1/models"


def dataset(**changes: Any) -> dict[str, Any]:
    """A READY dataset as the API shows it."""
    return {
        "name": "flowers",
        "state": "READY",
        "detail": None,
        "source": {"files": ["photos.zip"], "bytes": 12_300_000, "sha256": "ab"},
        "progress": {
            "phase": "done",
            "files_done": 120,
            "files_total": 120,
            "bytes_done": 12_300_000,
            "bytes_total": 12_300_000,
            "eta_seconds": 0.0,
        },
        "classes": [
            {"label": "rose", "train": 80, "validation": None, "test": 20},
            {"label": "tulip", "train": 16, "validation": None, "test": 4},
        ],
        "images": {"train": 96, "validation": None, "test": 24},
        "image_sizes": {"uniform": False, "smallest": [48, 64], "largest": [768, 1024], "distinct": 37},
        "channels": 3,
        "channel_statistics": {"mean": [123.4, 117.0, 104.25], "std": [58.1, 57.5, 57.0]},
        "digest": "0123abcd",
        "bytes": 45_600_000,
        "report": {
            "on_corrupt": "reject",
            "skipped": 0,
            "skipped_files": [],
            "warnings": [{"code": "class_imbalance", "detail": "rose has 5 times the images of tulip"}],
            "duplicates": {},
        },
        "errors": [],
        "errors_total": 0,
        "created_at": "2026-01-02T03:04:05.678Z",
        "finished_at": "2026-01-02T03:04:12.678Z",
        "etag": '"7"',
        "a_field_of_a_later_version": 1,
        **changes,
    }


def importing(**changes: Any) -> dict[str, Any]:
    return dataset(
        **{
            "state": "IMPORTING",
            "progress": {"phase": "waiting", "files_done": 0, "files_total": None, "bytes_done": 0},
            "classes": [],
            "images": None,
            "image_sizes": None,
            "channels": None,
            "channel_statistics": None,
            "digest": None,
            "bytes": None,
            "report": None,
            "finished_at": None,
            "etag": '"1"',
            **changes,
        }
    )


def rejected(errors: int, named: int = 100) -> dict[str, Any]:
    faults = [
        {"file": f"rose/{number:03}.png", "code": "corrupt_image", "detail": "the PNG image is truncated"}
        for number in range(min(errors, named))
    ]
    return importing(
        state="REJECTED",
        detail="damaged images",
        errors=faults,
        errors_total=errors,
        finished_at="2026-01-02T03:04:12.678Z",
    )


def model_version(version: int = 2, **changes: Any) -> dict[str, Any]:
    """A version of digits.lenet as the API shows it in a model."""
    return {
        "name": "digits.lenet",
        "version": version,
        "job": f"job{version}",
        "architecture": "lenet",
        "view": "digits",
        "labels": ["0", "1"],
        "metrics": {"val_accuracy": 0.9123, "val_loss": 0.31, "test_accuracy": 0.905},
        "objective": {"metric": "val_accuracy", "direction": "max"},
        "created_at": "2026-01-02T03:04:05.678Z",
        "a_field_of_a_later_version": 1,
        **changes,
    }


def model(**changes: Any) -> dict[str, Any]:
    return {
        "name": "digits.lenet",
        "best": 2,
        "pinned": False,
        "margin": 0.0,
        "versions": [model_version(3, metrics={"val_accuracy": 0.5, "val_loss": None}), model_version(2)],
        "updated_at": "2026-01-02T03:04:05.678Z",
        "etag": '"3"',
        **changes,
    }


def model_card(**changes: Any) -> dict[str, Any]:
    return {
        "data": {"dataset": "digits", "view": "digits", "digest": "0123456789abcdef"},
        "sizes": {"parameters": 82826, "onnx_bytes": 334_000, "weights_bytes": 332_000},
        "latency": {"batch_1_ms": 0.0431, "batch_32_ms": 0.652, "threads": 2},
        "lineage": {"job": "job2", "attempts": 1, "spec_hash": "fedcba9876543210", "donor": None},
        **changes,
    }


def state_event(number: int, state: str) -> str:
    return f"event: state\nid: {number}\ndata: {json.dumps({'state': state, 'detail': None})}\n\n"


def progress_event(phase: str, **figures: Any) -> str:
    return f"event: progress\ndata: {json.dumps({'phase': phase, **figures})}\n\n"


@dataclass
class Reply:
    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    """close the connection instead of answering"""
    after: Event | None = None
    """answer when this is set"""


def events(*texts: str) -> Reply:
    return Reply("".join(texts).encode(), headers={"Content-Type": "text/event-stream"})


def problem(status: int, code: str, detail: str, **more: Any) -> Reply:
    return Reply({"status": status, "code": code, "detail": detail, **more}, status)


@dataclass
class Asked:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    def form(self) -> list[tuple[str, str | None, bytes]]:
        """The parts of a multipart body: field, file name, content."""
        head = f"Content-Type: {self.headers['content-type']}\r\n\r\n".encode()
        found = []
        for part in email.message_from_bytes(head + self.body).walk():
            content = part.get_payload(decode=True)
            if isinstance(content, bytes):  # a whole form has none of its own
                name = str(part.get_param("name", header="content-disposition"))
                found.append((name, part.get_filename(), content))
        return found


class FakeServer:
    """Answers each route (`POST /api/v1/datasets`) with its replies in order; the last one is repeated."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.asked: list[Asked] = []
        self.arrived = Event()
        """set when the first request that a reply waits for has come"""
        self._routes: dict[str, list[Reply]] = {"GET /readyz": [Reply({"status": "ready"})]}

    def on(self, route: str, *replies: Reply) -> None:
        self._routes[route] = list(replies)

    def of(self, route: str) -> list[Asked]:
        """The requests to a route so far."""
        return [asked for asked in self.asked if f"{asked.method} {urlsplit(asked.target).path}" == route]

    def reply(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        replies = self._routes.get(f"{asked.method} {urlsplit(asked.target).path}")
        if replies is None:
            return problem(404, "not_found", f"there is no {asked.target}")
        return replies.pop(0) if len(replies) > 1 else replies[0]


@contextmanager
def fake_server() -> Iterator[FakeServer]:
    http = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    http.daemon_threads = True
    fake = FakeServer(http.server_port)
    http.RequestHandlerClass = _handler(fake)
    Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    yield fake
    http.shutdown()
    http.server_close()


@contextmanager
def importing_server() -> Iterator[FakeServer]:
    """A server that imports whatever it gets as `flowers`."""
    with fake_server() as server:
        server.on(f"POST {DATASETS}", Reply(importing(), 202))
        server.on(
            f"GET {DATASETS}/flowers/events",
            events(
                state_event(1, "IMPORTING"),
                progress_event("importing", files_done=60, files_total=120, eta_seconds=4.2),
                progress_event("comparing", files_done=120, files_total=120),
                state_event(2, "READY"),
            ),
        )
        server.on(f"GET {DATASETS}/flowers", Reply(dataset()))
        yield server


def _handler(fake: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = fake.reply(Asked(self.command, self.path, headers, body))
            if reply.after is not None:
                fake.arrived.set()
                reply.after.wait()
            if reply.cut:
                self.close_connection = True
                return
            content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            content = b"" if reply.status in (204, 304) else content
            self.send_response(reply.status)
            for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            if reply.status not in (204, 304):
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815  (the names that http.server looks for)

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler
