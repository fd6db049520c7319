"""Waiting for a resource to change, and its events as a stream that can be resumed."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from threading import Event
from typing import Annotated, Any, Protocol, TypeVar

from fastapi import Depends, Header, Query, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import ServerSentEvent

from core.errors import Fault, InvalidQuery, NotFound

POLL_SECONDS = 0.2
LINGER_SECONDS = 1.0
"""A trainer's last log lines come a moment after the job's end."""
MAX_WAIT_SECONDS = 60.0
EVENTS_A_READ = 500

_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d{1,6})(?:$|[,;\s])")
_ETAG = re.compile(r'(?:W/)?("[^"]*")')


class Watchable(Protocol):
    """A resource's view."""

    etag: str

    @property
    def ended(self) -> bool:
        """Whether it will never change again."""

    def model_dump_json(self) -> str: ...


class StoredEvent(Protocol):
    """An event's row."""

    sequence: int
    kind: str
    data: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True)
class Moment:
    """What one read of a resource told: its progress, whether it has ended, and its events since the last read."""

    progress: dict[str, Any]
    ended: bool
    events: Sequence[StoredEvent]


View = TypeVar("View", bound=Watchable)


def wait_preference(prefer: str | None) -> float:
    """Seconds of `Prefer: wait=N` (RFC 7240), at most MAX_WAIT_SECONDS; 0 without one."""
    match = _WAIT.search(prefer or "")
    return min(float(match.group(1)), MAX_WAIT_SECONDS) if match else 0.0


def known_etags(if_none_match: str | None) -> list[str]:
    """The entity tags of an If-None-Match, weak ones without their mark."""
    return _ETAG.findall(if_none_match or "")


async def answer_watch(
    read: Callable[[], Watchable], if_none_match: str | None, prefer: str | None, stopping: Event
) -> Response:
    """The resource, or 304 where the caller knows it; with `Prefer: wait=N`, once it has changed or time is up."""
    seconds = wait_preference(prefer)
    known = known_etags(if_none_match)
    view = await _wait_for_change(read, known, seconds, stopping)
    headers = {"ETag": view.etag, "Cache-Control": "no-cache"}
    if seconds:
        headers["Preference-Applied"] = f"wait={seconds:.0f}"
    if view.etag in known or (if_none_match or "").strip() == "*":
        return Response(status_code=304, headers=headers)
    return Response(view.model_dump_json(), media_type="application/json", headers=headers)


async def _wait_for_change(read: Callable[[], View], known: Sequence[str], seconds: float, stopping: Event) -> View:
    """The view once its ETag is none of `known` (by default its present one), it has ended, or time is up."""
    deadline = time.monotonic() + seconds
    view = await run_in_threadpool(read)
    known = known or [view.etag]
    while view.etag in known and not view.ended and time.monotonic() < deadline and not stopping.is_set():
        await asyncio.sleep(POLL_SECONDS)
        view = await run_in_threadpool(read)
    return view


async def resume_after(
    last_event_id: Annotated[str | None, Header()] = None,
    after: Annotated[
        str | None, Query(description="as the header Last-Event-ID, for clients that cannot set it")
    ] = None,
) -> int:
    """The number of the last event that the caller has seen. Raises InvalidQuery."""
    return parse_event_id(last_event_id or after)


ResumeDep = Annotated[int, Depends(resume_after)]


def parse_event_id(value: str | None) -> int:
    """The number behind a Last-Event-ID; 0 without one. Raises InvalidQuery."""
    if not value:
        return 0
    if not value.isdecimal() or not value.isascii() or len(value) > 9:
        raise InvalidQuery(
            "Last-Event-ID is not one of this stream's ids", [Fault("/header/last-event-id", "must be a number")]
        )
    return int(value)


async def stream_events(
    read: Callable[[int], Moment], after: int, stopping: Event, linger_seconds: float = 0.0
) -> AsyncIterator[ServerSentEvent]:
    """Every event after number `after`, then new ones as they happen; ends once the resource or the service has.

    Progress is told between them without an id: it is a state to show, not an event to replay.
    """
    shown: dict[str, object] = {}
    ended: float | None = None
    while (ended is None or time.monotonic() - ended < linger_seconds) and not stopping.is_set():
        try:
            moment = await run_in_threadpool(read, after)
        except NotFound:  # deleted meanwhile: there is nothing more to tell
            return
        for event in moment.events:
            yield ServerSentEvent(event=event.kind, id=str(event.sequence), data=_with_time(event))
            after = event.sequence
        if len(moment.events) == EVENTS_A_READ:
            continue
        if moment.progress != shown and not moment.ended:
            shown = moment.progress
            yield ServerSentEvent(event="progress", data=shown)
        if moment.ended:
            ended = ended or time.monotonic()
        if not moment.ended or linger_seconds:
            await asyncio.sleep(POLL_SECONDS)


def _with_time(event: StoredEvent) -> dict[str, object]:
    return {**event.data, "at": event.created_at.isoformat().replace("+00:00", "Z")}
