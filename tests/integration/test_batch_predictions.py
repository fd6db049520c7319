"""Batch predictions through the API and a worker's supervisor, with a network published without training."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import orjson
import pytest
from answering import problem
from datasets import import_files
from networks import SIDE, publish
from pictures import png_claiming
from PIL import Image
from pyarrow import parquet
from starlette.testclient import TestClient

from cli import predict_batch
from cli.main import run
from cli.server import told_plainly
from client import ApiError, BatchPrediction, Client
from core.artifacts import ArtifactStore, open_store
from core.database import Database
from core.repositories.task_attempts import claim_task
from core.settings import Settings
from service.app import create_app
from worker.host import this_holder
from worker.imports.sweeper import sweep_store
from worker.tasks.supervisor import TaskSupervisor

BATCHES = "/api/v1/batch-predictions"


@pytest.fixture
def engine() -> str:
    return "sqlite"


@pytest.fixture
def settings(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("KERASD_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("KERASD_DATABASE_URL", database_url)
    return Settings(broker_url="redis://127.0.0.1:1/0", offline=True)


@pytest.fixture
def store(settings: Settings) -> ArtifactStore:
    return open_store(settings)


@pytest.fixture
def api(settings: Settings, database: Database, store: ArtifactStore) -> Iterator[TestClient]:
    publish(database, store)
    with TestClient(create_app(settings)) as client:
        yield client


@pytest.fixture
def worker(settings: Settings, database: Database) -> TaskSupervisor:
    return TaskSupervisor(settings, database, "batch_prediction")


def png(pixels: np.ndarray[Any, Any] | int) -> bytes:
    image = Image.new("L", (SIDE, SIDE), pixels) if isinstance(pixels, int) else Image.fromarray(pixels)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def send(api: TestClient, archive: bytes, **fields: Any) -> httpx2.Response:
    headers = {"Idempotency-Key": fields.pop("key")} if "key" in fields else {}
    form = {"model": "digits.lenet", **fields}
    answer: httpx2.Response = api.post(BATCHES, data=form, files={"file": ("many.zip", archive)}, headers=headers)
    return answer


def ended(api: TestClient, worker: TaskSupervisor, answer: httpx2.Response) -> dict[str, Any]:
    """The batch prediction after the worker's next try."""
    assert answer.status_code == 202, answer.text
    worker.work_once()
    body: dict[str, Any] = api.get(answer.headers["Location"]).json()
    return body


class TestArchives:
    def test_each_file_is_a_row_whatever_is_wrong_with_it(
        self, api: TestClient, worker: TaskSupervisor, store: ArtifactStore, database: Database
    ) -> None:
        members = {
            "a/bright.png": png(250),
            "b/c/dark.png": png(3),
            "b/torn.png": png(9)[:45],
            "b/vast.png": png_claiming(60_000, 60_000),
            "b/other.bin": b"\0" * 100,
            "README.txt": b"not looked at",
        }
        answer = send(api, zipped(members))
        batch = ended(api, worker, answer)
        assert (batch["state"], batch["version"], batch["file"]) == ("SUCCEEDED", 1, "many.zip"), batch["detail"]
        figures = {key: batch["result"][key] for key in ("images", "failed", "labelled", "accuracy")}
        assert figures == {"images": 5, "failed": 3, "labelled": 0, "accuracy": None}
        results = api.get(f"{answer.headers['Location']}/results")
        assert results.headers["content-type"] == "text/csv; charset=utf-8"
        assert results.headers["etag"] == f'"{batch["result"]["sha256"]}"'
        rows = {row["image"]: row for row in csv.DictReader(io.StringIO(results.text))}
        assert list(rows) == list(members)[:-1]
        assert (rows["a/bright.png"]["predicted"], rows["b/c/dark.png"]["predicted"]) == ("bright", "dark")
        assert rows["a/bright.png"]["label_2"] == "dark"
        assert [name for name, row in rows.items() if row["error"]] == ["b/torn.png", "b/vast.png", "b/other.bin"]
        assert list(store.entries("tasks")) == [f"{batch['id']}-1"]  # the upload is gone
        assert sweep_store(database, store, grace_seconds=-1) == []
        store.put(f"tasks/{batch['id']}-1/results.csv", b"something else")
        problem(api.get(f"{answer.headers['Location']}/results"), 503, "artifact_corrupt")
        assert api.delete(answer.headers["Location"]).status_code == 204
        assert not store.entries("tasks")
        problem(api.get(answer.headers["Location"]), 404, "task_not_found")

    def test_the_probabilities_are_those_of_predict(self, api: TestClient, worker: TaskSupervisor) -> None:
        noise = np.random.default_rng(0)
        pictures = {f"{number}.png": png(noise.integers(0, 256, (11, 9, 3), np.uint8)) for number in range(40)}
        answer = send(api, zipped(pictures), format="jsonl", top="2")
        ended(api, worker, answer)
        rows = [orjson.loads(line) for line in api.get(f"{answer.headers['Location']}/results").text.splitlines()]
        assert len(rows) == len(pictures)
        for row in rows[::8]:
            told = api.post(
                "/api/v1/predict/lenet", content=pictures[row["image"]], headers={"Content-Type": "image/png"}
            )
            (prediction,) = told.json()["predictions"]
            assert row["predicted"] == prediction["label"]
            assert row["top"][1]["probability"] == pytest.approx(prediction["top"][1]["probability"], abs=1e-5)

    def test_a_hostile_archive_ends_the_task_with_a_reason(self, api: TestClient, worker: TaskSupervisor) -> None:
        batch = ended(api, worker, send(api, zipped({"../evil.png": png(1)})))
        assert batch["state"] == "FAILED"
        assert "leads out of the archive" in batch["detail"]
        problem(api.get(f"{BATCHES}/{batch['id']}/results"), 409, "results_not_ready")


class TestStoredDatasets:
    def test_labels_are_known_and_counted(
        self, api: TestClient, worker: TaskSupervisor, database: Database, settings: Settings, tmp_path: Path
    ) -> None:
        archive = tmp_path / "shades.zip"
        shades = {f"train/dark/{number}.png": png(number) for number in range(20)}
        shades |= {f"train/bright/{number}.png": png(255 - number) for number in range(20)}
        shades |= {"test/dark/0.png": png(40), "test/bright/0.png": png(90), "test/bright/1.png": png(200)}
        archive.write_bytes(zipped(shades))
        import_files(database, settings, "shades", archive)
        wanted = {"model": "digits.lenet", "dataset": "shades", "split": "test", "format": "parquet"}
        answer = api.post(BATCHES, json=wanted)
        batch = ended(api, worker, answer)
        assert batch["state"] == "SUCCEEDED", batch["detail"]
        assert (batch["result"]["labelled"], batch["result"]["accuracy"]) == (3, pytest.approx(2 / 3))
        content = api.get(f"{answer.headers['Location']}/results").content
        rows = parquet.read_table(io.BytesIO(content)).to_pylist()
        told = [(row["image"], row["label"], row["predicted"]) for row in rows]
        assert told == [("test/0", "bright", "dark"), ("test/1", "bright", "bright"), ("test/2", "dark", "dark")]
        assert rows[0]["top"][0]["probability"] == rows[0]["probability"]

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({"model": "none.lenet", "dataset": "digits"}, "/model"),
            ({"model": "digits.lenet", "version": 9, "dataset": "digits"}, "/version"),
            ({"model": "digits.lenet", "dataset": "none"}, "/dataset"),
            ({"model": "digits.lenet", "dataset": "digits", "split": "test"}, "/split"),
            ({"model": "digits.lenet", "dataset": "digits", "top": 0}, "/top"),
            ({"model": "digits.lenet", "dataset": "digits", "fromat": "csv"}, "/fromat"),
        ],
    )
    def test_faults_are_named(self, api: TestClient, body: dict[str, Any], pointer: str) -> None:
        told = problem(api.post(BATCHES, json=body), 422, "invalid_input")
        assert [fault["pointer"] for fault in told["errors"]] == [pointer]


class TestClients:
    def test_it_uploads_waits_and_downloads(self, api: TestClient, worker: TaskSupervisor, tmp_path: Path) -> None:
        archive, target, told = tmp_path / "some.zip", tmp_path / "rows.jsonl", []
        archive.write_bytes(zipped({"a.png": png(250)}))
        with Client("http://localhost", api._transport) as client:
            batch = client.predict_batch(
                "digits.lenet", archive, format="jsonl", top=1, on_progress=lambda done, of: told.append((done, of))
            )
            worker.work_once()
            batch = client.wait_batch_prediction(batch.id)
            assert (batch.state, batch.progress.done, batch.progress.total) == ("SUCCEEDED", 1, 1)
            assert [event.kind for event in client.batch_prediction_events(batch.id)] == ["state"] * 3
            assert client.download_results(batch.id, target) == target.stat().st_size
            assert orjson.loads(target.read_bytes())["predicted"] == "bright"
            assert [each.id for each in client.batch_predictions(state="SUCCEEDED")] == [batch.id]
            client.delete_batch_prediction(batch.id)
            with pytest.raises(ApiError, match="no batch prediction"):
                client.download_results(batch.id, tmp_path / "more")
        assert told[-1] == (archive.stat().st_size, archive.stat().st_size)
        assert not (tmp_path / "more").exists()

    def test_the_command_packs_a_folder_and_says_what_came_of_it(
        self, api: TestClient, worker: TaskSupervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
    ) -> None:
        folder = tmp_path / "photos" / "mine"
        folder.mkdir(parents=True)
        for name, content in (("a.png", png(250)), ("b.png", b"torn")):
            (folder / name).write_bytes(content)

        @contextmanager
        def connected(url: str | None) -> Iterator[Client]:
            with Client("http://localhost", api._transport) as client, told_plainly():
                yield client

        def followed(client: Client, batch: BatchPrediction, console: Any) -> BatchPrediction:
            worker.work_once()
            return client.batch_prediction(batch.id)

        monkeypatch.setattr(predict_batch, "server", connected)
        monkeypatch.setattr(predict_batch, "_followed", followed)
        target = tmp_path / "rows.csv"
        arguments = ["predict-batch", str(tmp_path / "photos"), "--model", "digits.lenet", "--output", str(target)]
        assert run(arguments) == 0
        assert "2 images" in capsys.readouterr().out
        rows = list(csv.DictReader(io.StringIO(target.read_text(encoding="utf-8"))))
        assert [(row["image"], row["predicted"]) for row in rows] == [("mine/a.png", "bright"), ("mine/b.png", "")]
        assert run([*arguments, "--dataset", "digits"]) == 2
        assert run(["predict-batch", "--dataset", "none", "--model", "digits.lenet"]) == 2


class TestEnds:
    def test_a_dead_workers_task_is_taken_over(
        self, api: TestClient, worker: TaskSupervisor, database: Database
    ) -> None:
        answer = send(api, zipped({"a.png": png(1)}))
        with database.transaction() as session:
            dead = replace(this_holder(), process_started=1.0)
            assert claim_task(session, dead, "batch_prediction") is not None
        batch = ended(api, worker, answer)
        assert batch["state"] == "SUCCEEDED", batch["detail"]
        assert "its worker is gone" in api.get(f"{answer.headers['Location']}/events").text

    def test_a_killed_child_costs_one_try(
        self, api: TestClient, worker: TaskSupervisor, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answer = send(api, zipped({"a.png": png(1)}))
        monkeypatch.setenv("KERASD_FAILPOINT", "batch.before_finish")
        batch = ended(api, worker, answer)
        assert (batch["state"], batch["progress"]["phase"]) == ("QUEUED", "waiting")
        assert list(store.entries("tasks")) == [f"{batch['id']}-upload"]
        monkeypatch.delenv("KERASD_FAILPOINT")
        assert ended(api, worker, answer)["state"] == "SUCCEEDED"
        stream = api.get(f"{answer.headers['Location']}/events").text
        assert stream.count("event: state") == 5

    def test_cancelled_it_is_not_done(self, api: TestClient, store: ArtifactStore) -> None:
        batch = send(api, zipped({"a.png": png(1)})).json()
        cancelled = api.post(f"{BATCHES}/{batch['id']}:cancel").json()
        assert cancelled["state"] == "CANCELLED"
        assert api.get(BATCHES, params={"state": "CANCELLED"}).json()["items"] == [cancelled]

    def test_a_repeated_request_is_one_task(self, api: TestClient, store: ArtifactStore) -> None:
        archive = zipped({"a.png": png(1)})
        first, again = send(api, archive, key="once"), send(api, archive, key="once")
        assert first.json()["id"] == again.json()["id"]
        assert len(store.entries("tasks")) == 1
        problem(send(api, zipped({"a.png": png(2)}), key="once"), 422, "idempotency_key_reused")
