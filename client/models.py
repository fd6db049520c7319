"""The requests about models: which version serves, and what is known of each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from client.answers import Event
from client.connection import Connection
from client.events import EventStream
from client.model_answers import Model, ModelSummary, VersionDetail

MODELS = "/api/v1/models"


class Models:
    """A server's models."""

    def __init__(self, connection: Connection, pause: Callable[[float], None]) -> None:
        self._connection = connection
        self._pause = pause

    def list(self) -> list[ModelSummary]:
        return [ModelSummary.parse(item) for item in self._connection.json("GET", MODELS)["items"]]

    def get(self, name: str) -> Model:
        return Model.parse(self._connection.json("GET", _path(name)))

    def version(self, name: str, version: int) -> VersionDetail:
        return VersionDetail.parse(self._connection.json("GET", f"{_path(name)}/versions/{version}"))

    def card(self, name: str, version: int) -> str:
        return self._connection.request("GET", f"{_path(name)}/versions/{version}/card.md").text

    def events(self, name: str, last_event_id: str | None) -> Iterator[Event]:
        """Without an end, as a model has none."""
        stream = EventStream(
            self._connection, f"{_path(name)}/events", last_event_id, ended=lambda: False, pause=self._pause, final=()
        )
        return iter(stream)

    def change(
        self, name: str, move: str, body: Mapping[str, Any], etag: str | None, *, repeatable: bool = True
    ) -> Model:
        """Sent again when its answer was lost only if it is `repeatable` and not tied to an ETag, which it has changed."""
        headers = {"Content-Type": "application/json", **({} if etag is None else {"If-Match": etag})}
        answer = self._connection.json(
            "POST",
            f"{_path(name)}:{move}",
            headers=headers,
            content=json.dumps(body, allow_nan=False).encode(),
            repeatable=repeatable and etag is None,
        )
        return Model.parse(answer)


def _path(name: str) -> str:
    return f"{MODELS}/{quote(name, safe='')}"
