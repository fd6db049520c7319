"""An ASGI app asked in-process, without a server or a lifespan, and what its refusals look like."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
from starlette.types import ASGIApp


def ask(app: ASGIApp, method: str, path: str, **options: Any) -> httpx2.Response:
    """One answer. An exception that the app lets out is raised."""

    async def send() -> httpx2.Response:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost:8000") as client:
            return await client.request(method, path, **options)

    return asyncio.run(send())


def problem(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """Checks an RFC 9457 answer and gives its body."""
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == answer.json()["request_id"]
    body: dict[str, Any] = answer.json()
    return body
