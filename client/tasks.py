"""The requests about batch predictions and exports."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

from client.answers import Event
from client.connection import Connection
from client.datasets import UPLOAD_ANSWER_SECONDS, OnProgress, file_parts
from client.downloads import download
from client.events import EventStream
from client.resources import listed, wait_until_ended
from client.task_answers import BatchPrediction, Export

BATCHES = "/api/v1/batch-predictions"


class Tasks:
    """What a server's workers do beside training."""

    def __init__(self, connection: Connection, pause: Callable[[float], None]) -> None:
        self._connection = connection
        self._pause = pause

    def batch_of_dataset(self, wanted: Mapping[str, Any]) -> BatchPrediction:
        given = {key: value for key, value in wanted.items() if value is not None}
        headers = {"Content-Type": "application/json", "Idempotency-Key": uuid.uuid4().hex}
        content = json.dumps(given).encode()
        return BatchPrediction.parse(self._connection.json("POST", BATCHES, headers=headers, content=content))

    def batch_of_file(self, file: Path, wanted: Mapping[str, Any], on_progress: OnProgress | None) -> BatchPrediction:
        with ExitStack() as opened:
            answer = self._connection.json(
                "POST",
                BATCHES,
                headers={"Idempotency-Key": uuid.uuid4().hex},
                form={key: str(value) for key, value in wanted.items() if value is not None},
                files=file_parts([file], on_progress, opened),
                answer_seconds=UPLOAD_ANSWER_SECONDS,
            )
        return BatchPrediction.parse(answer)

    def batch(self, batch_id: str) -> BatchPrediction:
        return BatchPrediction.parse(self._connection.json("GET", _batch(batch_id)))

    def batches(self, state: str | None, limit: int | None) -> Iterator[BatchPrediction]:
        return (BatchPrediction.parse(item) for item in listed(self._connection, BATCHES, {"state": state}, limit))

    def batch_events(self, batch_id: str, last_event_id: str | None) -> Iterator[Event]:
        stream = EventStream(
            self._connection,
            f"{_batch(batch_id)}/events",
            last_event_id,
            ended=lambda: self.batch(batch_id).ended,
            pause=self._pause,
        )
        return iter(stream)

    def wait_batch(self, batch_id: str, timeout: float | None) -> BatchPrediction:
        name = f"batch prediction {batch_id}"
        return wait_until_ended(self._connection, _batch(batch_id), BatchPrediction.parse, name, timeout)

    def cancel_batch(self, batch_id: str) -> BatchPrediction:
        return BatchPrediction.parse(self._connection.json("POST", f"{_batch(batch_id)}:cancel"))

    def delete_batch(self, batch_id: str) -> None:
        self._connection.request("DELETE", _batch(batch_id))

    def download_results(self, batch_id: str, target: Path) -> int:
        return download(self._connection, f"{_batch(batch_id)}/results", {}, target, self._pause)

    def export(self, model: str, version: int, made: str, target: Path, timeout: float | None, *, retry: bool) -> int:
        """Waits until the file is made, and brings it here."""
        path = f"/api/v1/models/{quote(model, safe='')}/versions/{version}/artifact"
        params = {"format": made}
        # A HEAD has the answer's status and place, and leaves a file that is there already where it is.
        asked = self._connection.request("HEAD", path, params={**params, **({"retry": "true"} if retry else {})})
        if asked.status_code == HTTPStatus.ACCEPTED:
            own_path = asked.headers["location"]
            wait_until_ended(self._connection, own_path, Export.parse, f"export of {model} as {made}", timeout)
        return download(self._connection, path, params, target, self._pause)


def _batch(batch_id: str) -> str:
    return f"{BATCHES}/{quote(batch_id, safe='')}"
