"""Server-sent events of an ASGI app asked in-process, read until enough have come: such a stream may never end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp

PATIENCE_SECONDS = 30.0

Event = tuple[str, str, dict[str, Any]]
"""id, kind, data"""


def stream(
    app: ASGIApp,
    path: str,
    count: int,
    headers: dict[str, str] | None = None,
    between: Callable[[], object] = lambda: None,
) -> list[Event]:
    """The first `count` events; then the client leaves. `between` is called in a thread once the first has come."""

    async def read() -> list[Event]:
        text, heard = "", asyncio.Event()
        enough = asyncio.Event()

        async def receive() -> dict[str, Any]:
            await enough.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            nonlocal text
            if message["type"] == "http.response.start":
                assert message["status"] == 200
            else:
                text += message.get("body", b"").decode()
            found = len(_events(text))
            if found >= 1:
                heard.set()
            if found >= count:
                enough.set()

        async def interrupt() -> None:
            await heard.wait()
            await asyncio.to_thread(between)

        parts = urlsplit(path)
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": parts.path,
            "raw_path": parts.path.encode(),
            "query_string": parts.query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8000),
        }
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(app(scope, receive, send), interrupt())
        return _events(text)[:count]

    return asyncio.run(read())


def _events(text: str) -> list[Event]:
    """Those that have come whole, without comments."""
    blocks = [block.splitlines() for block in text.replace("\r\n", "\n").split("\n\n")[:-1]]
    found = [dict(line.split(": ", 1) for line in lines if not line.startswith(":")) for lines in blocks]
    return [(each.get("id", ""), each["event"], json.loads(each["data"])) for each in found if "data" in each]
