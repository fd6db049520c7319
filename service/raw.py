"""What the applications outside FastAPI share: they run in the API's process, in front of it."""

from __future__ import annotations

import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, ClassVar, NamedTuple

import structlog
from starlette.types import Receive, Scope, Send

from service.monitoring.recorder import Recorder
from service.predictions.bodies import ClientGone
from service.predictions.predictor import Predictor
from service.problems import RETRY_AFTER_SECONDS, HttpError, problem
from service.requests import refuse_nul

log = structlog.get_logger("kerasd.predict")

Header = tuple[bytes, bytes]

JSON: Header = (b"content-type", b"application/json")

_SANE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}").fullmatch


class Request:
    """What the headers say, and who predicts. Of a header that comes twice, the last counts."""

    __slots__ = ("content_length", "content_type", "headers", "id", "predictor")

    def __init__(self, headers: Iterable[Header]) -> None:
        self.headers = dict(headers)
        self.content_type = self.headers.get(b"content-type", b"")
        length = self.headers.get(b"content-length", b"")
        self.content_length = int(length) if length.isdigit() else 0
        given = self.headers.get(b"x-request-id", b"")
        self.predictor: Predictor | None = None
        """set as soon as it is known"""
        self.id = given.decode() if _SANE_ID(given) else os.urandom(16).hex()


class MethodNotAllowed(HttpError):
    """The path is known, and takes the one method `allowed`."""

    def __init__(self, path: str, method: str, allowed: str) -> None:
        detail = f"{path} takes {allowed}, not {method}"
        super().__init__(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", detail)
        self.allowed = allowed


class Answer(NamedTuple):
    content: bytes
    headers: Sequence[Header] = (JSON,)
    status: int = 200


class Refusal(NamedTuple):
    """What is to be answered instead, whatever form the body takes."""

    status: HTTPStatus
    headers: list[Header]
    problem: dict[str, Any]


def refusal_of(error: Exception, request_id: str) -> Refusal:
    """Of any error. What is not the client's fault is logged."""
    status, body = problem(error, request_id)
    headers: list[Header] = []
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", error.allowed.encode()))
    match status:
        case HTTPStatus.REQUEST_TIMEOUT:
            headers.append((b"connection", b"close"))
        case HTTPStatus.SERVICE_UNAVAILABLE | HTTPStatus.TOO_MANY_REQUESTS:
            headers.append((b"retry-after", b"%d" % RETRY_AFTER_SECONDS))
            log.warning("cannot predict now", request_id=request_id, error=body["detail"])
        case HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("unexpected error", request_id=request_id, exc_info=error)
    return Refusal(status, headers, body)


class RawApp(ABC):
    """Subclasses answer, and give what they raise the form of their errors. Predictions and refusals are recorded."""

    protocol: ClassVar[str]

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        request = Request(scope["headers"])
        code: str | None = None
        try:
            refuse_nul(scope)
            content, headers, status = await self._answer(scope, receive, request)
        except ClientGone:
            return
        except Exception as error:  # noqa: BLE001  (each failure is answered; what is not ours is logged as well)
            refusal = refusal_of(error, request.id)
            code = refusal.problem["code"]
            content, headers, status = self._refused(error, refusal)
        own = ((b"content-length", b"%d" % len(content)), (b"x-request-id", request.id.encode()))
        await send({"type": "http.response.start", "status": int(status), "headers": [*headers, *own]})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else content})
        if request.predictor is not None or code is not None:
            seconds = time.perf_counter() - started
            self._recorder.answered(self.protocol, request.predictor, int(status), code, seconds)

    @abstractmethod
    async def _answer(self, scope: Scope, receive: Receive, request: Request) -> Answer: ...

    @abstractmethod
    def _refused(self, error: Exception, refusal: Refusal) -> Answer: ...
