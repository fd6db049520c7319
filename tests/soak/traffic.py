"""What the soak's clients do, over HTTP and with the project's own client: jobs of every kind, predictions, uploads."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from pictures import zip_of_shapes

from cli.digits import held_out_digit
from client.answers import Job
from client.client import Client
from client.errors import ApiError, Unreachable
from core.validation import check_spec

Answer = TypeVar("Answer")

PATIENCE_SECONDS = 120.0
"""for one request, through any number of restarts"""
END_SECONDS = 600.0
LOOK_SECONDS = 0.3
QUICK = {"dataset": "digits", "architecture": "lenet", "max_attempts": 50}
SLOW = {**QUICK, "batch_size": 8, "epochs": 6}
DETERMINISTIC = {**QUICK, "epochs": 4, "deterministic": True, "seed": 7}
DIVERGING = {**QUICK, "epochs": 3, "optimizer": {"name": "sgd", "learning_rate": 1e30}}

ENDINGS: dict[str, set[tuple[str, str | None]]] = {
    "plain": {("SUCCEEDED", None)},
    "deterministic": {("SUCCEEDED", None)},
    "paused": {("SUCCEEDED", None)},
    "retried": {("SUCCEEDED", None)},
    "diverging": {("FAILED", "DIVERGED")},
    # A job may be faster than the one who cancels it.
    "cancelled": {("CANCELLED", "USER_CANCELLED"), ("SUCCEEDED", None)},
    "best kept": {("CANCELLED", "USER_CANCELLED"), ("SUCCEEDED", None)},
}
WEIGHTS = {"plain": 6, "deterministic": 2, "paused": 3, "retried": 2, "diverging": 1, "cancelled": 2, "best kept": 2}


@dataclass
class Ledger:
    """What the clients were told; the product must never contradict it."""

    jobs: dict[str, str] = field(default_factory=dict)
    """id of every acknowledged job, by its key"""
    kinds: dict[str, str] = field(default_factory=dict)
    """by id"""
    endings: Counter[str] = field(default_factory=Counter)
    predictions: Counter[int] = field(default_factory=Counter)
    """by status"""
    answers: dict[tuple[str, int, str], tuple[str, float]] = field(default_factory=dict)
    """label and probability, by (model, version, job): each version has one answer to the one picture"""
    histories: set[tuple[tuple[float | None, ...], ...]] = field(default_factory=set)
    """of deterministic jobs: all the same"""
    datasets: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def fault(self, text: str) -> None:
        self.faults.append(text)


def persist(request: Callable[[], Answer]) -> Answer:
    """Asks until somebody answers, as a patient client does. Raises ApiError for a refusal."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return request()
        except Unreachable:
            if time.monotonic() > deadline:
                raise
        except ApiError as error:
            if error.status != HTTPStatus.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                raise
        time.sleep(LOOK_SECONDS)


class Traffic:
    """Threads that each have a client of their own; `stop` lets jobs under way end."""

    def __init__(self, url: str, folder: Path, seed: int, runners: int) -> None:
        self.ledger = Ledger()
        self._url = url
        self._folder = folder
        self._seed = seed
        self._stopping = threading.Event()
        self._predicting = threading.Event()
        self._numbers = itertools.count()
        self._threads = [threading.Thread(target=self._run_jobs, args=(number,)) for number in range(runners)]
        self._threads.append(threading.Thread(target=self._keep_datasets))
        self._predictor = threading.Thread(target=self._predict)

    def start(self) -> None:
        for thread in (*self._threads, self._predictor):
            thread.start()

    def stop(self, seconds: float) -> None:
        """Ends the flow. What does not end in time is a fault."""
        self._stopping.set()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                self.ledger.fault(f"a client still waits after {seconds:.0f} s")
        self._predicting.set()
        self._predictor.join()

    # Jobs.

    def _run_jobs(self, runner: int) -> None:
        chance = random.Random(f"{self._seed}/{runner}")
        with Client(self._url) as client:
            while not self._stopping.is_set():
                kind = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
                try:
                    self._run_job(client, kind, chance)
                except Exception as error:  # noqa: BLE001  (whatever it is, the soak must say so and go on)
                    self.ledger.fault(f"a {kind} job's client failed: {type(error).__name__}: {error}")

    def _run_job(self, client: Client, kind: str, chance: random.Random) -> None:
        key = f"{self._seed}-{next(self._numbers)}"
        job_id = self._submit(client, kind, key, chance)
        if kind in ("paused", "retried", "cancelled", "best kept"):
            self._interfere(client, job_id, kind, chance)
        job = self._wait(client, job_id, lambda job: job.ended)
        self.ledger.endings[f"{job.state} {job.reason or ''}".strip()] += 1
        if (job.state, job.reason) not in ENDINGS[kind]:
            self.ledger.fault(f"{kind} job {job_id} ended as {job.state} {job.reason}: {job.detail}")
        if kind == "deterministic":
            epochs = persist(lambda: client.epochs(job_id))
            self.ledger.histories.add(
                tuple((each.loss, each.accuracy, each.val_loss, each.val_accuracy) for each in epochs)
            )

    def _submit(self, client: Client, kind: str, key: str, chance: random.Random) -> str:
        spec = self._spec(kind, chance, {"soak": key, "kind": kind})
        ids = {persist(lambda: client.submit(spec, key)).id for _ in range(1 + (chance.random() < 0.2))}
        if len(ids) > 1:
            self.ledger.fault(f"the key {key} was answered with the jobs {sorted(ids)}")
        job_id = ids.pop()
        self.ledger.jobs[key] = job_id
        self.ledger.kinds[job_id] = kind
        return job_id

    def _spec(self, kind: str, chance: random.Random, tags: Mapping[str, str]) -> dict[str, Any]:
        plain = {**QUICK, "epochs": chance.randint(2, 6), "seed": chance.randint(0, 99)}
        specs = {"plain": plain, "deterministic": DETERMINISTIC, "diverging": DIVERGING}
        return {**specs.get(kind, SLOW), "priority": chance.randint(0, 2), "tags": dict(tags)}

    def _interfere(self, client: Client, job_id: str, kind: str, chance: random.Random) -> None:
        epochs = chance.randint(0, 3) if kind != "best kept" else chance.randint(1, 3)
        self._wait(client, job_id, lambda job: job.ended or len(client.epochs(job_id)) >= epochs)
        if kind == "paused":
            self._move(lambda: client.pause(job_id))
            self._wait(client, job_id, lambda job: job.ended or job.state == "PAUSED")
            self._move(lambda: client.resume(job_id))
            return
        self._move(lambda: client.cancel(job_id, keep_best=kind == "best kept"))
        if kind == "retried":
            self._wait(client, job_id, lambda job: job.ended)
            self._move(lambda: client.retry(job_id, scratch=chance.random() < 0.5))

    def _move(self, request: Callable[[], Job]) -> None:
        """A job that has moved on meanwhile, or moved at the first of two tries, refuses it."""
        try:
            persist(request)
        except ApiError as error:
            if error.code != "invalid_transition":
                raise

    def _wait(self, client: Client, job_id: str, reached: Callable[[Job], bool]) -> Job:
        deadline = time.monotonic() + END_SECONDS
        while True:
            job = persist(lambda: client.job(job_id))
            if persist(partial(reached, job)):
                return job
            if time.monotonic() > deadline:
                raise TimeoutError(f"job {job_id} is {job.state} after {END_SECONDS:.0f} s")
            time.sleep(LOOK_SECONDS)

    # Predictions.

    def _predict(self) -> None:
        spec = check_spec(dict(QUICK)).document
        picture = held_out_digit(spec).png
        with httpx2.Client(base_url=self._url, timeout=30) as http:
            while not self._predicting.is_set():
                try:
                    answer = self.ask(http, picture)
                except httpx2.TransportError:
                    self.ledger.predictions[0] += 1
                else:
                    self._judge(answer)
                time.sleep(0.1)

    @staticmethod
    def ask(http: httpx2.Client, picture: bytes, **query: Any) -> httpx2.Response:
        return http.post(
            "/api/v1/predict/lenet",
            content=picture,
            headers={"Content-Type": "image/png"},
            params={"dataset": "digits", **query},
        )

    def _judge(self, answer: httpx2.Response) -> None:
        self.ledger.predictions[answer.status_code] += 1
        if answer.status_code == HTTPStatus.OK:
            self._compare(answer.json())
        elif answer.status_code == HTTPStatus.NOT_FOUND and self.ledger.answers:
            self.ledger.fault(f"a prediction found no model any more: {answer.text}")
        elif answer.status_code not in (HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE):
            self.ledger.fault(f"a prediction was answered {answer.status_code}: {answer.text}")

    def _compare(self, document: Mapping[str, Any]) -> None:
        model, best = document["model"], document["predictions"][0]
        key = (model["name"], model["version"], model["job"])
        label, probability = self.ledger.answers.setdefault(key, (best["label"], best["probability"]))
        if label != best["label"] or abs(probability - best["probability"]) > 1e-6:
            self.ledger.fault(f"version {key} answered {label} {probability}, then {best}")

    # Datasets.

    def _keep_datasets(self) -> None:
        chance = random.Random(f"{self._seed}/datasets")
        with Client(self._url) as client:
            for number in itertools.count():
                if self._stopping.wait(chance.uniform(2, 8)):
                    return
                try:
                    self._one_dataset(client, f"shapes-{number}", chance.randint(40, 150))
                except Exception as error:  # noqa: BLE001  (whatever it is, the soak must say so and go on)
                    self.ledger.fault(f"dataset {number}'s client failed: {type(error).__name__}: {error}")

    def _one_dataset(self, client: Client, name: str, per_class: int) -> None:
        file = self._folder / f"{name}.zip"
        # Other pictures each time, or the import would find their twin and store nothing.
        file.write_bytes(zip_of_shapes(per_class, first=random.Random(name).randint(0, 10**6)))
        try:
            persist(lambda: client.add_dataset(name, [file]))
        except ApiError as error:
            if error.code != "dataset_exists":  # the first of two tries arrived
                raise
        dataset = persist(lambda: client.wait_dataset(name, PATIENCE_SECONDS))
        self.ledger.datasets[dataset.state] += 1
        if dataset.state != "READY" and "gave up" not in (dataset.detail or ""):
            self.ledger.fault(f"dataset {name} is {dataset.state}: {dataset.detail}")
        try:
            persist(lambda: client.delete_dataset(name))
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:  # the first of two tries arrived
                raise
        file.unlink()
