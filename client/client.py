"""The client: one method for each thing that the server does."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, Self
from urllib.parse import quote

import httpx2

from client.answers import Epoch, Evaluation, Event, Explanation, Job, Predictions, Validation
from client.comparisons import ComparisonRequests
from client.connection import Connection
from client.datasets import DatasetRequests
from client.events import EventStream
from client.models import ModelRequests
from client.resources import listed, wait_until_ended
from client.studies import StudyRequests
from client.tasks import TaskRequests

DEFAULT_URL = "http://127.0.0.1:8000"

JOBS = "/api/v1/jobs"


class Client(DatasetRequests, ModelRequests, TaskRequests, StudyRequests, ComparisonRequests):
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
