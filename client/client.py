"""The client: one method for each thing that the server does."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import quote

import httpx2

from client.answers import Epoch, Evaluation, Event, Explanation, Job, Predictions, Validation
from client.comparisons import ComparisonRequests
from client.connection import Connection
from client.dataset_answers import Dataset, DatasetState
from client.datasets import Datasets, OnProgress
from client.events import EventStream
from client.model_answers import Model, ModelSummary, VersionDetail
from client.models import Models
from client.resources import listed, wait_until_ended
from client.studies import StudyRequests
from client.task_answers import BatchPrediction
from client.tasks import Tasks

DEFAULT_URL = "http://127.0.0.1:8000"

JOBS = "/api/v1/jobs"


class Client(StudyRequests, ComparisonRequests):
    """Talks to the kerasd at `base_url`. Not shared between threads; close it, or use it in a `with` block.

    Raises ValueError when that is no http or https URL.

    Every method raises ApiError when the server refuses, Unreachable when nothing answers after a few tries, and
    UnexpectedAnswer when what answers is not kerasd.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        transport: httpx2.BaseTransport | None = None,
        *,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connection = Connection(base_url, transport, pause)
        self._pause = pause
        self._datasets = Datasets(self._connection, pause)
        self._models = Models(self._connection, pause)
        self._tasks = Tasks(self._connection, pause)

    @property
    def url(self) -> str:
        return self._connection.url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def ready(self) -> Mapping[str, Any]:
        """What /readyz says. Raises ApiError with status 503 while the server is not ready."""
        answer: Mapping[str, Any] = self._connection.json("GET", "/readyz")
        return answer

    def submit(self, spec: Mapping[str, Any], idempotency_key: str | None = None) -> Job:
        """Creates a job. With the same key and spec, within a day, it returns the same job however often it is sent."""
        key = idempotency_key or uuid.uuid4().hex
        return Job.parse(self._post_spec(spec, {"Idempotency-Key": key}, {}))

    def validate(self, spec: Mapping[str, Any]) -> Validation:
        """Checks a job spec without creating anything."""
        return Validation.parse(self._post_spec(spec, {}, {"validate_only": "true"}))

    def job(self, job_id: str) -> Job:
        return Job.parse(self._connection.json("GET", _job_path(job_id)))

    def jobs(
        self,
        *,
        state: str | None = None,
        architecture: str | None = None,
        dataset: str | None = None,
        study: str | None = None,
        tag: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Job]:
        """Jobs, newest first, page by page. `tag` is a key or `key=value`; `limit` None means all."""
        filters = {"state": state, "architecture": architecture, "dataset": dataset, "study": study, "tag": tag}
        return (Job.parse(item) for item in listed(self._connection, JOBS, filters, limit))

    def epochs(self, job_id: str, after: int = 0) -> list[Epoch]:
        """The finished epochs with a number above `after`, in order."""
        answer = self._connection.json("GET", f"{_job_path(job_id)}/epochs", params={"after": after})
        return [Epoch.parse(item) for item in answer["items"]]

    def cancel(self, job_id: str, *, keep_best: bool = False) -> Job:
        """Cancels a job that has not ended; with `keep_best` its best epoch is published first."""
        return self._move(job_id, "cancel", {"keep_best": keep_best})

    def pause(self, job_id: str) -> Job:
        """Pauses a job: at once while it waits, after its present epoch while it runs."""
        return self._move(job_id, "pause")

    def resume(self, job_id: str) -> Job:
        """Queues a paused job again; it goes on from its checkpoint."""
        return self._move(job_id, "resume")

    def retry(self, job_id: str, *, scratch: bool = False) -> Job:
        """Queues a job that failed or was cancelled again, from its checkpoint or from scratch."""
        return self._move(job_id, "retry", {"from": "scratch" if scratch else "checkpoint"})

    def events(self, job_id: str, last_event_id: str | None = None) -> Iterator[Event]:
        """What happens to the job, from the start or after `last_event_id`, until it has ended.

        Progress comes in between; all other events come once each and in order, whatever happens to the connection.
        """
        stream = EventStream(
            self._connection,
            f"{_job_path(job_id)}/events",
            last_event_id,
            ended=lambda: self.job(job_id).ended,
            pause=self._pause,
        )
        return iter(stream)

    def wait(self, job_id: str, timeout: float | None = None) -> Job:
        """The job once it has ended. Raises TimeoutError after `timeout` seconds, if given."""
        return wait_until_ended(self._connection, _job_path(job_id), Job.parse, f"job {job_id}", timeout)

    def evaluation(self, job_id: str) -> Evaluation:
        return Evaluation.parse(self._connection.json("GET", f"{_job_path(job_id)}/evaluation"))

    def logs(self, job_id: str) -> str:
        """What the job's trainers printed."""
        return self._connection.request("GET", f"{_job_path(job_id)}/logs").text

    def predict(
        self,
        architecture: str,
        image: bytes,
        content_type: str = "image/png",
        *,
        dataset: str | None = None,
        version: int | None = None,
        top: int | None = None,
    ) -> Predictions:
        """Classifies one encoded image (PNG, JPEG or WebP) with the best model, or with one `version`.

        `dataset` names a view; without it the only one that has a model of this architecture is meant.
        """
        answer = self._connection.json(
            "POST",
            f"/api/v1/predict/{quote(architecture, safe='')}",
            params={"dataset": dataset, "version": version, "top": top},
            headers={"Content-Type": content_type},
            content=image,
        )
        return Predictions.parse(answer)

    def explain(
        self,
        architecture: str,
        image: bytes,
        content_type: str = "image/png",
        *,
        dataset: str | None = None,
        version: int | None = None,
        label: str | None = None,
        method: Literal["auto", "grad_cam", "occlusion"] | None = None,
    ) -> Explanation:
        """What in one encoded image speaks for its label, or for another `label`, as numbers."""
        query = {"dataset": dataset, "version": version, "label": label, "method": method}
        return Explanation.parse(self._explained(architecture, image, content_type, query, "json").json())

    def heat_map(
        self,
        architecture: str,
        image: bytes,
        content_type: str = "image/png",
        *,
        dataset: str | None = None,
        version: int | None = None,
        label: str | None = None,
        method: Literal["auto", "grad_cam", "occlusion"] | None = None,
    ) -> bytes:
        """The same as a picture: PNG of the image in grey with the heat in colour over it."""
        query = {"dataset": dataset, "version": version, "label": label, "method": method}
        return self._explained(architecture, image, content_type, query, "png").content

    def models(self) -> list[ModelSummary]:
        """The version that predictions use, for each model."""
        return self._models.list()

    def model(self, name: str) -> Model:
        """A model, named `<view>.<architecture>`, with all its versions."""
        return self._models.get(name)

    def model_version(self, name: str, version: int) -> VersionDetail:
        """One version with its card."""
        return self._models.version(name, version)

    def model_card(self, name: str, version: int) -> str:
        """The card of a version as a Markdown document."""
        return self._models.card(name, version)

    def model_events(self, name: str, last_event_id: str | None = None) -> Iterator[Event]:
        """What is published of a model and what becomes of its best version; resumes as `events` does, and never ends."""
        return self._models.events(name, last_event_id)

    def promote(self, name: str, version: int, *, etag: str | None = None) -> Model:
        """Has predictions use a version, and pins it. With the `etag` of the model as it was seen, only if it still is so.

        The same holds for the other changes: ApiError `precondition_failed` says that it has changed meanwhile.
        """
        return self._models.change(name, "promote", {"version": version}, etag)

    def rollback(self, name: str, *, etag: str | None = None) -> Model:
        """Goes back to the version that served before, and pins it. Raises ApiError `no_earlier_version`."""
        return self._models.change(name, "rollback", {}, etag, repeatable=False)

    def unpin(self, name: str, *, etag: str | None = None) -> Model:
        """Leaves the choice to the rules again: the best of all versions serves at once."""
        return self._models.change(name, "unpin", {}, etag)

    def gate(self, name: str, margin: float, *, etag: str | None = None) -> Model:
        """Sets by how much versions that are published from now on must beat the served one."""
        return self._models.change(name, "gate", {"margin": margin}, etag)

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
            return self._tasks.batch_of_file(source, wanted, on_progress)
        return self._tasks.batch_of_dataset({**wanted, "dataset": source, "split": split})

    def batch_prediction(self, batch_id: str) -> BatchPrediction:
        return self._tasks.batch(batch_id)

    def batch_predictions(self, *, state: str | None = None, limit: int | None = None) -> Iterator[BatchPrediction]:
        """Batch predictions, newest first, page by page; `limit` None means all."""
        return self._tasks.batches(state, limit)

    def batch_prediction_events(self, batch_id: str, last_event_id: str | None = None) -> Iterator[Event]:
        """How it goes, until it has ended; resumes as `events` does."""
        return self._tasks.batch_events(batch_id, last_event_id)

    def wait_batch_prediction(self, batch_id: str, timeout: float | None = None) -> BatchPrediction:
        """It once it has ended. Raises TimeoutError after `timeout` seconds, if given."""
        return self._tasks.wait_batch(batch_id, timeout)

    def cancel_batch_prediction(self, batch_id: str) -> BatchPrediction:
        return self._tasks.cancel_batch(batch_id)

    def delete_batch_prediction(self, batch_id: str) -> None:
        """Deletes it with its results; one that has not ended is stopped."""
        self._tasks.delete_batch(batch_id)

    def download_results(self, batch_id: str, target: Path) -> int:
        """Writes the rows to a file; tells its bytes. Raises ApiError `results_not_ready`, and OSError."""
        return self._tasks.download_results(batch_id, target)

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
        return self._tasks.export(name, version, format, target, timeout, retry=retry)

    def add_dataset(
        self,
        name: str,
        files: Sequence[Path],
        *,
        on_corrupt: Literal["reject", "skip"] | None = None,
        labels: Literal["fine", "coarse"] | None = None,
        on_progress: OnProgress | None = None,
    ) -> Dataset:
        """Uploads an archive, an npz or TFRecord shards, straight from disk. The import goes on after the answer.

        `labels` chooses those of a CIFAR-100 archive; `on_progress` hears of bytes sent and bytes in all. Sending the
        same files under the same name again gives the same dataset. Raises OSError for files that cannot be read.
        """
        return self._datasets.upload(name, files, on_corrupt=on_corrupt, labels=labels, on_progress=on_progress)

    def add_builtin(self, name: str) -> Dataset:
        """Has a built-in dataset imported, such as cifar100."""
        return self._datasets.add_builtin(name)

    def dataset(self, name: str) -> Dataset:
        return self._datasets.get(name)

    def datasets(self, *, state: DatasetState | None = None, limit: int | None = None) -> Iterator[Dataset]:
        """Datasets, newest first, page by page; `limit` None means all."""
        return self._datasets.list(state, limit)

    def dataset_events(self, name: str, last_event_id: str | None = None) -> Iterator[Event]:
        """How the import goes, until the dataset is READY or REJECTED; resumes as `events` does."""
        return self._datasets.events(name, last_event_id)

    def wait_dataset(self, name: str, timeout: float | None = None) -> Dataset:
        """The dataset once it is READY or REJECTED. Raises TimeoutError after `timeout` seconds, if given."""
        return self._datasets.wait(name, timeout)

    def delete_dataset(self, name: str) -> None:
        """Raises ApiError `dataset_in_use` while a job needs it."""
        self._datasets.delete(name)

    def _explained(
        self, architecture: str, image: bytes, content_type: str, query: Mapping[str, Any], form: str
    ) -> httpx2.Response:
        return self._connection.request(
            "POST",
            f"/api/v1/explain/{quote(architecture, safe='')}",
            params={**query, "format": form},
            headers={"Content-Type": content_type},
            content=image,
        )

    def _move(self, job_id: str, move: str, body: Mapping[str, Any] | None = None) -> Job:
        return Job.parse(self._post_json(f"{_job_path(job_id)}:{move}", body or {}))

    def _post_spec(self, spec: Mapping[str, Any], headers: Mapping[str, str], params: Mapping[str, str]) -> Any:
        return self._post_json(JOBS, spec, headers, params)

    def _post_json(
        self,
        path: str,
        body: Mapping[str, Any],
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Any:
        content = json.dumps(body, allow_nan=False).encode()
        return self._connection.json(
            "POST",
            path,
            headers={"Content-Type": "application/json", **(headers or {})},
            params=dict(params or {}),
            content=content,
        )


def _job_path(job_id: str) -> str:
    return f"{JOBS}/{quote(job_id, safe='')}"
