"""A resource's server-sent events as one sequence, across any number of broken connections."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

import httpx2

from client.answers import TERMINAL_STATES, Event
from client.connection import MAX_PAUSE_SECONDS, Connection, describe, patience, pause_before
from client.errors import UnexpectedAnswer, Unreachable, problem_of

MAX_FRUITLESS_TRIES = 12
"""Connections in a row that bring nothing before giving up: about a minute."""

QUIET_SECONDS = 45.0
"""The server sends a comment every 15 s, so a longer silence means that the connection is dead."""


class EventStream:
    """Iterates over the events after `last_event_id`, once each and in order, until the job or dataset has ended.

    It has when a `state` event tells one of the `final` states.

    A dropped connection is taken up again where it broke: the server replays what came after the last whole event.
    """

    def __init__(
        self,
        connection: Connection,
        path: str,
        last_event_id: str | None,
        *,
        ended: Callable[[], bool],
        pause: Callable[[float], None],
        final: Collection[str] = TERMINAL_STATES,
    ) -> None:
        self._connection = connection
        self._path = path
        self._position = last_event_id
        self._has_ended = ended
        self._final = final
        self._pause = pause
        self._saw_end = False

    def __iter__(self) -> Iterator[Event]:
        """Raises ApiError, and Unreachable when the server stays away."""
        fruitless = 0
        while True:
            received, failure = False, "the stream ended early"
            try:
                for event in self._one_connection():
                    received = True
                    yield event
            except httpx2.TransportError as error:
                failure = describe(error)
            else:
                if self._saw_end or (not received and self._has_ended()):
                    return
            fruitless = 0 if received else fruitless + 1
            if fruitless >= MAX_FRUITLESS_TRIES:
                raise Unreachable(self._connection.url, failure)
            self._pause(min(pause_before(max(fruitless, 1)), MAX_PAUSE_SECONDS))

    def _one_connection(self) -> Iterator[Event]:
        headers = {"Last-Event-ID": self._position} if self._position else {}
        with self._connection.http.sse(self._path, headers=headers, timeout=patience(QUIET_SECONDS)) as source:
            self._check(source.response)
            for message in source:
                self._position = message.id or self._position
                yield self._event(message)

    def _check(self, response: httpx2.Response) -> None:
        if response.status_code == httpx2.codes.SERVICE_UNAVAILABLE:
            raise httpx2.ReadError("the server is not ready", request=response.request)
        if response.is_error:
            raise problem_of(response.status_code, response.reason_phrase, response.read())

    def _event(self, message: httpx2.ServerSentEvent) -> Event:
        try:
            data = message.json()
        except ValueError:
            data = None
        if not isinstance(data, dict):
            raise UnexpectedAnswer(self._connection.url, f"an event {message.event!r} whose data is no JSON object")
        if message.event == "state" and data.get("state") in self._final:
            self._saw_end = True
        return Event(self._position, message.event, data)
