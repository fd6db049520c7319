"""Pure ASGI middleware: request ids, and one log line for each request that changed something or failed."""

from __future__ import annotations

import re
import time
import uuid

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger("kerasd.api")

_SANE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_QUIET_METHODS = ("GET", "HEAD", "OPTIONS")


class RequestIds:
    """Accepts or makes an X-Request-ID, returns it, and binds it to every log line of the request."""

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
            await self._app(scope, receive, send_with_id)


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
