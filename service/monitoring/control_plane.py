"""How often each route of the control plane is asked, and how long it takes."""

from __future__ import annotations

import time
from collections import defaultdict

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.monitoring.histogram import COARSE_SECONDS, Histogram

OTHER = "other"
"""in place of paths that no route takes, and methods that nobody has heard of: clients make up as many as they like"""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

Route = tuple[str, str]
"""method and path template"""


class Meter:
    """Answers by route and status, and how long they took."""

    def __init__(self) -> None:
        self.seconds: dict[Route, Histogram] = {}
        self.statuses: dict[tuple[Route, int], int] = defaultdict(int)

    def count(self, method: str, template: str, status: int, seconds: float) -> None:
        route = (method if method in METHODS else OTHER, template)
        if route not in self.seconds:
            self.seconds[route] = Histogram(COARSE_SECONDS)
        self.seconds[route].observe(seconds)
        self.statuses[route, status] += 1


class Metered:
    """ASGI middleware that counts what passes. A request lasts until its answer begins: streams go on."""

    def __init__(self, app: ASGIApp, meter: Meter) -> None:
        self._app = app
        self._meter = meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                template = getattr(scope.get("route"), "path", OTHER)
                self._meter.count(scope["method"], template, int(message["status"]), time.perf_counter() - started)
            await send(message)

        await self._app(scope, receive, send_counted)
