"""The requests about batch predictions and exports."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from client.answers import Event
from client.connection import Connection
from client.datasets import UPLOAD_ANSWER_SECONDS, OnProgress, file_parts
from client.downloads import download
from client.events import EventStream
from client.resources import listed, wait_until_ended
from client.task_answers import BatchPrediction, Export

BATCHES = "/api/v1/batch-predictions"


class TaskRequests:
    """The part of a Client that is about batch predictions and exports."""

    _connection: Connection
    _pause: Callable[[float], None]

    def predict_batch(
        self,
        model: str,
        source: Path | str,
        *,
        version: int | None = None,
        split: Literal["train", "validation", "test"] | None = None,
        format: Literal["csv", "jsonl", "parquet"] | None = None,  # noqa: A002  (as the server calls it)
        top: int | None = None,
        on_progress: OnProgress | None = None,
    ) -> BatchPrediction:
        """Has all images of an archive (a path), or of a stored dataset (its name), classified by a worker.

        `model` is named `<view>.<architecture>`; without a `version` the one that is best now is used. Raises OSError.
        """
        wanted = {"model": model, "version": version, "format": format, "top": top}
        if isinstance(source, Path):
            return self._batch_of_file(source, wanted, on_progress)
        return self._batch_of_dataset({**wanted, "dataset": source, "split": split})

    def batch_prediction(self, batch_id: str) -> BatchPrediction:
        return BatchPrediction.parse(self._connection.json("GET", _batch(batch_id)))

    def batch_predictions(self, *, state: str | None = None, limit: int | None = None) -> Iterator[BatchPrediction]:
        """Batch predictions, newest first, page by page; `limit` None means all."""
        return (BatchPrediction.parse(item) for item in listed(self._connection, BATCHES, {"state": state}, limit))

    def batch_prediction_events(self, batch_id: str, last_event_id: str | None = None) -> Iterator[Event]:
        """How it goes, until it has ended; resumes as `events` does."""
        stream = EventStream(
            self._connection,
            f"{_batch(batch_id)}/events",
            last_event_id,
            ended=lambda: self.batch_prediction(batch_id).ended,
            pause=self._pause,
        )
        return iter(stream)

    def wait_batch_prediction(self, batch_id: str, timeout: float | None = None) -> BatchPrediction:
        """It once it has ended. Raises TimeoutError after `timeout` seconds, if given."""
        name = f"batch prediction {batch_id}"
        return wait_until_ended(self._connection, _batch(batch_id), BatchPrediction.parse, name, timeout)

    def cancel_batch_prediction(self, batch_id: str) -> BatchPrediction:
        return BatchPrediction.parse(self._connection.json("POST", f"{_batch(batch_id)}:cancel"))

    def delete_batch_prediction(self, batch_id: str) -> None:
        """Deletes it with its results; one that has not ended is stopped."""
        self._connection.request("DELETE", _batch(batch_id))

    def download_results(self, batch_id: str, target: Path) -> int:
        """Writes the rows to a file; tells its bytes. Raises ApiError `results_not_ready`, and OSError."""
        return download(self._connection, f"{_batch(batch_id)}/results", {}, target, self._pause)

    def export_model(
        self,
        name: str,
        version: int,
        format: Literal["onnx", "keras", "saved_model", "tflite", "litert"],  # noqa: A002  (as the server calls it)
        target: Path,
        *,
        timeout: float | None = None,
        retry: bool = False,
    ) -> int:
        """Writes a version to a file once a worker has made that; tells its bytes.

        `retry` makes anew what was refused, or is damaged by now. Raises ApiError `export_refused`, TimeoutError after
        `timeout` seconds, if given, and OSError.
        """
        path = f"/api/v1/models/{quote(name, safe='')}/versions/{version}/artifact"
        params = {"format": format}
        # A HEAD has the answer's status and place, and leaves a file that is there already where it is.
        asked = self._connection.request("HEAD", path, params={**params, **({"retry": "true"} if retry else {})})
        if asked.status_code == HTTPStatus.ACCEPTED:
            own_path = asked.headers["location"]
            wait_until_ended(self._connection, own_path, Export.parse, f"export of {name} as {format}", timeout)
        return download(self._connection, path, params, target, self._pause)

    def _batch_of_dataset(self, wanted: Mapping[str, Any]) -> BatchPrediction:
        given = {key: value for key, value in wanted.items() if value is not None}
        headers = {"Content-Type": "application/json", "Idempotency-Key": uuid.uuid4().hex}
        content = json.dumps(given).encode()
        return BatchPrediction.parse(self._connection.json("POST", BATCHES, headers=headers, content=content))

    def _batch_of_file(self, file: Path, wanted: Mapping[str, Any], on_progress: OnProgress | None) -> BatchPrediction:
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


def _batch(batch_id: str) -> str:
    return f"{BATCHES}/{quote(batch_id, safe='')}"
