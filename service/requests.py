"""Pure ASGI middleware, from the outside in.

RequestIds   request ids, and one log line for each request that changed something or failed
Gate         refuses what no route should have to think of
HeadAsGet    HEAD is GET without the body
"""

from __future__ import annotations

import re
import time
import uuid
from http import HTTPStatus
from urllib.parse import urlsplit

import orjson
import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import Fault, InvalidQuery, KerasdError
from service.problems import MEDIA_TYPE, HttpError, problem

log = structlog.get_logger("kerasd.api")

_SANE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_QUIET_METHODS = ("GET", "HEAD", "OPTIONS")
"""They change nothing."""


class RequestIds:
    """Accepts or makes an X-Request-ID, returns it, and binds it to every log line of the request.

    An error that is logged goes no further: the server would log it again.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
                _log_request(scope, int(message["status"]), started)
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_with_id)
            except Exception as error:
                if scope["state"].get("logged") is not error:
                    raise


class Gate:
    """Answers requests that must not reach the app with a problem."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                refuse_nul(scope)
                _refuse_cross_site(scope)
            except KerasdError as error:
                await _send_problem(error, scope["state"]["request_id"], send)
                return
        await self._app(scope, receive, send)


class HeadAsGet:
    """Answers HEAD with the status and headers of GET. The answer is over with them, also where GET would stream."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b""})

        await self._app({**scope, "method": "GET"}, receive, send_head)


def refuse_nul(scope: Scope) -> None:
    """No name or parameter has a NUL, and Postgres takes none. Raises InvalidQuery."""
    if "\0" in scope["path"]:
        raise InvalidQuery("the path has a fault", [Fault("/path", "holds a NUL character")])
    if b"%00" in scope["query_string"] or b"\0" in scope["query_string"]:
        raise InvalidQuery("the query has a fault", [Fault("/query", "holds a NUL character")])


def _refuse_cross_site(scope: Scope) -> None:
    """Any web page can make a browser on this machine send a request. Raises HttpError (403) for one that writes."""
    if scope["method"] in _QUIET_METHODS:
        return
    headers = dict(scope["headers"])
    fetched_from = headers.get(b"sec-fetch-site")
    if fetched_from is None:
        own, origin = _host(b"//" + headers.get(b"host", b"")), headers.get(b"origin")
        refused = origin is not None and (own is None or _host(origin) != own)
    else:
        refused = fetched_from == b"cross-site"
    if refused:
        detail = "a page of another web site may not change anything here"
        raise HttpError(HTTPStatus.FORBIDDEN, "cross_site_request", detail)


def _host(url: bytes) -> str | None:
    """Without the port: pages of one machine trust each other, and a proxy may hide it."""
    try:
        return urlsplit(url.decode("latin-1")).hostname
    except ValueError:
        return None


async def _send_problem(error: KerasdError, request_id: str, send: Send) -> None:
    status, body = problem(error, request_id)
    content = orjson.dumps(body)
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": content})


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _SANE_ID.fullmatch(value):
            return str(value.decode())
    return uuid.uuid4().hex


def _log_request(scope: Scope, status: int, started: float) -> None:
    if scope["method"] in _QUIET_METHODS and status < 500:
        return
    milliseconds = round((time.perf_counter() - started) * 1000, 1)
    log.info("request", method=scope["method"], path=scope["path"], status=status, ms=milliseconds)
