"""What a request needs, handed to routes by FastAPI's dependency injection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from http import HTTPStatus
from threading import Event
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import Depends, Request
from pydantic import ValidationError

from core.artifacts import ArtifactStore
from core.database import Database
from core.errors import InvalidInput
from core.faults import validation_faults
from core.schema import Schema
from core.settings import Settings
from core.tables import LOCAL_TENANT
from core.wakeups import WakeUps
from service.problems import HttpError

BODY_DEADLINE_SECONDS = 30.0

S = TypeVar("S", bound=Schema)


@dataclass(frozen=True)
class Context:
    """The process's long-lived parts."""

    settings: Settings
    database: Database
    wakeups: WakeUps
    store: ArtifactStore
    stopping: Event = field(default_factory=Event)
    """set when the process is asked to end: streams and long polls let go"""


@dataclass(frozen=True)
class JsonBody:
    """A parsed body and the bytes that it came as."""

    raw: bytes
    value: Any

    def parsed(self, schema: type[S]) -> S:
        """As the schema says; no body is an empty object. Raises InvalidInput with every fault."""
        value = {} if self.value is None else self.value
        try:
            return schema.model_validate(value)
        except ValidationError as error:
            raise InvalidInput("the body has a fault", validation_faults(error, value)) from None


# Coroutines, because FastAPI hands plain functions to threads: each would cost a request more than they do.
async def get_context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


async def get_tenant() -> str:
    """There is one tenant until API keys exist."""
    return LOCAL_TENANT


async def get_request_id(request: Request) -> str:
    request_id: str = request.state.request_id
    return request_id


async def read_json(request: Request, context: Annotated[Context, Depends(get_context)]) -> JsonBody:
    """The JSON body. Raises HttpError: 413 past the limit, 408 past the deadline, 400 when it is not JSON."""
    raw = await _read_body(request, context.settings.max_body_bytes)
    if not raw.strip():
        return JsonBody(raw, None)
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise HttpError(HTTPStatus.BAD_REQUEST, "malformed_json", f"the body is not JSON: {error}") from None
    if rb"\u0000" in raw and _holds_nul(value):  # PostgreSQL cannot store it, and nobody means it
        raise HttpError(HTTPStatus.UNPROCESSABLE_ENTITY, "nul_character", "a text in the body holds a NUL character")
    return JsonBody(raw, value)


def _holds_nul(value: Any) -> bool:
    if isinstance(value, dict):
        return any("\0" in key or _holds_nul(item) for key, item in value.items())
    if isinstance(value, list):
        return any(map(_holds_nul, value))
    return isinstance(value, str) and "\0" in value


async def _read_body(request: Request, limit: int) -> bytes:
    too_large = HttpError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", f"the body is larger than the limit of {limit} bytes"
    )
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise too_large
    try:
        async with asyncio.timeout(BODY_DEADLINE_SECONDS):
            return await _collect(request.stream(), limit, too_large)
    except TimeoutError:
        detail = f"the body did not arrive within {BODY_DEADLINE_SECONDS:.0f} s"
        raise HttpError(HTTPStatus.REQUEST_TIMEOUT, "request_timeout", detail) from None


async def _collect(chunks: AsyncIterator[bytes], limit: int, too_large: HttpError) -> bytes:
    received = bytearray()
    async for chunk in chunks:
        received += chunk
        if len(received) > limit:
            raise too_large
    return bytes(received)


ContextDep = Annotated[Context, Depends(get_context)]
TenantDep = Annotated[str, Depends(get_tenant)]
RequestIdDep = Annotated[str, Depends(get_request_id)]
JsonBodyDep = Annotated[JsonBody, Depends(read_json)]
