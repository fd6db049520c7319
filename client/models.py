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


class ModelRequests:
    """The part of a Client that is about models."""

    _connection: Connection
    _pause: Callable[[float], None]

    def models(self) -> list[ModelSummary]:
        """The version that predictions use, for each model."""
        return [ModelSummary.parse(item) for item in self._connection.json("GET", MODELS)["items"]]

    def model(self, name: str) -> Model:
        """A model, named `<view>.<architecture>`, with all its versions."""
        return Model.parse(self._connection.json("GET", _path(name)))

    def model_version(self, name: str, version: int) -> VersionDetail:
        """One version with its card."""
        return VersionDetail.parse(self._connection.json("GET", f"{_path(name)}/versions/{version}"))

    def model_card(self, name: str, version: int) -> str:
        """The card of a version as a Markdown document."""
        return self._connection.request("GET", f"{_path(name)}/versions/{version}/card.md").text

    def model_events(self, name: str, last_event_id: str | None = None) -> Iterator[Event]:
        """What is published of a model and what becomes of its best version; resumes as `events` does, and never ends."""
        stream = EventStream(
            self._connection, f"{_path(name)}/events", last_event_id, ended=lambda: False, pause=self._pause, final=()
        )
        return iter(stream)

    def promote(self, name: str, version: int, *, etag: str | None = None) -> Model:
        """Has predictions use a version, and pins it. With the `etag` of the model as it was seen, only if it still is so.

        The same holds for the other changes: ApiError `precondition_failed` says that it has changed meanwhile.
        """
        return self._change(name, "promote", {"version": version}, etag)

    def rollback(self, name: str, *, etag: str | None = None) -> Model:
        """Goes back to the version that served before, and pins it. Raises ApiError `no_earlier_version`."""
        return self._change(name, "rollback", {}, etag, repeatable=False)

    def unpin(self, name: str, *, etag: str | None = None) -> Model:
        """Leaves the choice to the rules again: the best of all versions serves at once."""
        return self._change(name, "unpin", {}, etag)

    def gate(self, name: str, margin: float, *, etag: str | None = None) -> Model:
        """Sets by how much versions that are published from now on must beat the served one."""
        return self._change(name, "gate", {"margin": margin}, etag)

    def _change(
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
