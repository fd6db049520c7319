"""Metrics, traffic and drift in-process, with networks published without training."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from answering import problem
from networks import SIDE, publish
from PIL import Image
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import select, update
from stack import until
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from core.artifacts import ArtifactStore, open_store
from core.database import Database
from core.repositories.traffic import FORGOTTEN_AFTER
from core.settings import Settings
from core.tables import LOCAL_TENANT, ModelVersionRow, TrafficRow, utc_now
from service.app import create_app
from service.monitoring.drift import Verdict
from service.monitoring.recorder import LOOKS_AT_ONCE, SLICE_SECONDS, WINDOW_SECONDS, Recorder
from service.monitoring.reporting import Reporter
from service.predictions.predictor import scores_of
from worker.datasets.images import MemoryImages
from worker.reference import reference_statistics

PREDICT = "/api/v1/predict/lenet?dataset=digits"
TRAFFIC = "/api/v1/models/digits.lenet/traffic"
DAY = 86_400.0


@pytest.fixture
def engine() -> str:
    return "sqlite"


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, database_url=database_url, broker_url="redis://127.0.0.1:1/0")


@pytest.fixture
def store(settings: Settings) -> ArtifactStore:
    return open_store(settings)


@pytest.fixture
def api(settings: Settings, database: Database, store: ArtifactStore) -> Iterator[TestClient]:
    publish(database, store)
    with TestClient(create_app(settings)) as client:
        yield client


def png(pixels: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.broadcast_to(np.asarray(pixels, np.uint8), (SIDE, SIDE))).save(file, "PNG")
    return file.getvalue()


def predict(api: TestClient, pixels: Any, status: int = 200, **query: Any) -> None:
    answer = api.post(PREDICT, content=png(pixels), headers={"Content-Type": "image/png"}, params=query)
    assert answer.status_code == status


def metrics(api: TestClient) -> dict[str, Metric]:
    answer = api.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def value(family: Metric, suffix: str = "", **labels: str) -> float:
    """Of the one sample that has at least these labels."""
    found = [
        sample.value
        for sample in family.samples
        if sample.name == family.name + suffix and labels.items() <= sample.labels.items()
    ]
    assert len(found) == 1, (labels, family.samples)
    return float(found[0])


class TestMetrics:
    def test_predictions_are_counted_by_version_and_status(self, api: TestClient) -> None:
        for shade in (0, 255, 255):
            predict(api, shade)
        api.post(PREDICT, content=b"no picture", headers={"Content-Type": "image/png"})
        api.post("/api/v1/predict/alexnet", content=png(0), headers={"Content-Type": "image/png"})
        told = metrics(api)
        mine = {"model": "digits.lenet", "version": "1", "protocol": "/api/v1"}
        assert value(told["kerasd_predict_requests"], "_total", **mine, status="200") == 3
        assert value(told["kerasd_predict_requests"], "_total", **mine, status="422") == 1
        assert value(told["kerasd_predict_requests"], "_total", model="", status="404") == 1
        assert value(told["kerasd_predict_errors"], "_total", code="invalid_image") == 1
        assert value(told["kerasd_predict_errors"], "_total", code="no_model") == 1
        assert value(told["kerasd_predict_seconds"], "_count", **mine) == 4
        assert value(told["kerasd_predict_seconds"], "_bucket", **mine, le="+Inf") == 4
        assert 0 < value(told["kerasd_predict_seconds"], "_sum", **mine) < 10

    def test_the_protocols_are_told_apart(self, api: TestClient) -> None:
        pixels = np.zeros((1, SIDE, SIDE, 1), int).tolist()
        tensor = {"name": "pixels", "shape": [1, SIDE, SIDE, 1], "datatype": "FP32", "data": pixels}
        for _ in range(2):
            assert api.post("/v1/models/digits.lenet:predict", json={"instances": pixels}).status_code == 200
        assert api.post("/v2/models/digits.lenet/infer", json={"inputs": [tensor]}).status_code == 200
        assert api.post("/v2/models/digits.lenet/infer", json={"inputs": []}).status_code == 400
        assert api.get("/v2/health/ready").status_code == 200
        told = metrics(api)["kerasd_predict_requests"]
        assert value(told, "_total", protocol="/v1", model="digits.lenet", status="200") == 2
        assert value(told, "_total", protocol="/v2", model="digits.lenet", status="200") == 1
        assert value(told, "_total", protocol="/v2", model="digits.lenet", status="400") == 1
        assert len(told.samples) == 3

    def test_runs_are_counted_by_size(self, api: TestClient) -> None:
        predict(api, 0)
        api.post(PREDICT, json={"instances": np.zeros((3, SIDE, SIDE, 1), int).tolist()})
        told = metrics(api)
        assert value(told["kerasd_batch_images"], "_bucket", le="1") == 1
        assert value(told["kerasd_batch_images"], "_bucket", le="4") == 2
        assert value(told["kerasd_batch_images"], "_sum") == 4
        assert value(told["kerasd_run_seconds"], "_count") == 2
        assert not told["kerasd_queued_images"].samples
        assert value(told["kerasd_loaded_bytes"], model="digits.lenet", version="1", device="cpu") > 0

    def test_the_control_plane_is_counted_by_route(self, api: TestClient) -> None:
        for path in ("/api/v1/jobs/a", "/api/v1/jobs/b", "/nothing", "/nothing/either"):
            api.get(path)
        api.request("BREW", "/coffee")
        told = metrics(api)
        requests = told["kerasd_http_requests"]
        assert value(requests, "_total", route="/api/v1/jobs/{job_id}", status="404", method="GET") == 2
        assert value(requests, "_total", route="other", method="GET") == 2
        assert value(requests, "_total", route="other", method="other") == 1
        assert value(told["kerasd_http_seconds"], "_count", route="/api/v1/jobs/{job_id}") == 2

    def test_rows_and_the_process_are_told(self, api: TestClient) -> None:
        told = metrics(api)
        assert value(told["kerasd_database_up"]) == 1
        assert value(told["kerasd_jobs"], state="SUCCEEDED") == 1
        assert value(told["kerasd_datasets"], state="READY") == 1
        assert value(told["kerasd_best_version"], model="digits.lenet") == 1
        assert value(told["kerasd_best_changes"], "_total", model="digits.lenet") == 0
        assert value(told["process_resident_memory_bytes"]) > 0

    def test_without_a_database_the_rest_is_told(self, tmp_path: Path) -> None:
        away = Settings(
            data_dir=tmp_path, database_url=f"sqlite:///{tmp_path}/empty.sqlite3", broker_url="redis://x:1/0"
        )
        with TestClient(create_app(away)) as api:
            told = metrics(api)
        assert value(told["kerasd_database_up"]) == 0
        assert "kerasd_jobs" not in told


class Stub:
    """What a recorder asks of a predictor."""

    name, version, labels, input_shape = "digits.lenet", 1, ("dark", "bright"), (SIDE, SIDE, 1)


def asked(recorder: Recorder, *images: Any) -> None:
    """As if a request with one image had been answered, for each of them."""
    for image in images:
        pixels = np.broadcast_to(np.asarray(image, np.uint8), (SIDE, SIDE))[None, ..., None]
        logits = np.array([[127.5 - pixels.mean(), pixels.mean() - 127.5]], np.float32)
        recorder.ran(Stub(), pixels, scores_of(logits), 1, 0.001)  # type: ignore[arg-type]
        recorder.answered("/v2", Stub(), 200, None, 0.002)  # type: ignore[arg-type]


def rows(database: Database) -> list[TrafficRow]:
    with database.snapshot() as session:
        return list(session.scalars(select(TrafficRow)))


def traffic(api: TestClient) -> dict[str, Any]:
    answer = api.get(TRAFFIC)
    assert answer.status_code == 200, answer.text
    (version,) = answer.json()["versions"]
    found: dict[str, Any] = version
    return found


class TestTraffic:
    def test_it_says_what_was_asked_and_answered(self, api: TestClient) -> None:
        for shade in (0, 255, 255):
            predict(api, shade)
        api.post(PREDICT, content=b"no picture", headers={"Content-Type": "image/png"})
        told = traffic(api)
        latency = told.pop("latency_ms")
        assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"]
        assert told == {
            "version": 1,
            "processes": 1,
            "requests": 4,
            "errors": 1,
            "images": 3,
            "batch_mean": 1.0,
            "predicted": {"dark": 1, "bright": 2},
            "drift": {"verdict": "no_reference", "images": 0, "inputs": None, "labels": None},
        }

    def test_nobody_asked(self, api: TestClient) -> None:
        answer = api.get(TRAFFIC)
        assert answer.json() == {"name": "digits.lenet", "window_seconds": WINDOW_SECONDS, "versions": []}

    def test_of_no_model_there_is_none(self, api: TestClient) -> None:
        problem(api.get("/api/v1/models/digits.vgg/traffic"), 404, "model_not_found")

    def test_all_processes_are_added_up(self, api: TestClient, database: Database) -> None:
        recorder = Recorder()
        asked(recorder, 0, 0, 255)
        asyncio.run(Reporter(database, LOCAL_TENANT, recorder).report())
        predict(api, 255)
        told = traffic(api)
        assert (told["processes"], told["requests"], told["images"]) == (2, 4, 4)
        assert told["predicted"] == {"dark": 2, "bright": 2}

    def test_who_has_fallen_silent_is_forgotten(self, api: TestClient, database: Database) -> None:
        for image in (0, 255):
            recorder = Recorder()
            asked(recorder, image)
            with database.transaction() as session:
                long_ago = utc_now() - FORGOTTEN_AFTER
                session.execute(update(TrafficRow).values(updated_at=long_ago))
            asyncio.run(Reporter(database, LOCAL_TENANT, recorder).report())
            assert len(rows(database)) == 1
        assert api.get(TRAFFIC).json()["versions"][0]["predicted"] == {"bright": 1}
        with database.transaction() as session:
            session.execute(update(TrafficRow).values(updated_at=long_ago))
        assert api.get(TRAFFIC).json()["versions"] == []

    def test_an_idle_process_writes_nothing(self, api: TestClient, database: Database) -> None:
        recorder = Recorder()
        reporter = Reporter(database, LOCAL_TENANT, recorder)
        asyncio.run(reporter.report())
        assert rows(database) == []
        asked(recorder, 0)
        asyncio.run(reporter.report())
        (first,) = rows(database)
        asyncio.run(reporter.report())
        assert rows(database)[0].updated_at == first.updated_at

    def test_the_service_reports_by_itself(
        self, settings: Settings, database: Database, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("service.monitoring.reporting.REPORT_SECONDS", 0.01)
        publish(database, store)
        with TestClient(create_app(settings)) as api:
            predict(api, 0)
            (row,) = until(lambda: rows(database), 10, "the traffic is written")
        assert (row.name, row.version, row.data["requests"]) == ("digits.lenet", 1, 1)

    def test_a_database_that_is_away_is_told_once(self, tmp_path: Path) -> None:
        away = Database(f"sqlite:///{tmp_path}/empty.sqlite3")
        recorder = Recorder()
        asked(recorder, 0)
        reporter = Reporter(away, LOCAL_TENANT, recorder)
        with capture_logs() as logs:
            for _ in range(3):
                asyncio.run(reporter.report())
        away.close()
        assert [entry["event"] for entry in logs] == ["the traffic cannot be written"]


class TestDrift:
    """With a reference of noise about the middle."""

    @pytest.fixture
    def usual(self, database: Database, api: TestClient) -> list[Any]:
        """Images like those of training, of which half are called bright."""
        images = np.random.default_rng(0).normal(127, 30, (400, SIDE, SIDE)).clip(0, 255).astype(np.uint8)
        bright = images.mean(axis=(1, 2)) > 127.5
        training = MemoryImages(bright.astype(np.int32), (SIDE, SIDE, 1), images[..., None])
        reference = reference_statistics(training, np.diag([int((~bright).sum()), int(bright.sum())]).tolist())
        with database.transaction() as session:
            session.execute(update(ModelVersionRow).values(card={"reference": reference}))
        return list(images)

    def test_the_usual_images_are_not_flagged(self, api: TestClient, usual: list[Any]) -> None:
        for image in usual[:200]:
            predict(api, image)
        drift = traffic(api)["drift"]
        assert (drift["verdict"], drift["images"]) == ("none", 200)
        assert 0 <= drift["inputs"]["score"] < drift["inputs"]["suspected_above"] < drift["inputs"]["drift_above"]

    def test_a_few_are_too_few(self, api: TestClient, usual: list[Any]) -> None:
        for _ in range(5):
            predict(api, 255)
        assert traffic(api)["drift"]["verdict"] == "too_few"

    def test_changed_images_are_flagged(self, api: TestClient, usual: list[Any]) -> None:
        for image in usual[:200]:
            predict(api, image // 2)
        assert traffic(api)["drift"]["verdict"] == "drift"

    def test_the_log_tells_when_it_begins_and_ends(self, database: Database, usual: list[Any]) -> None:
        recorder = Recorder()
        reporter = Reporter(database, LOCAL_TENANT, recorder)
        with capture_logs() as logs:
            for images in ([image // 2 for image in usual[:120]], [0], usual, usual, usual):
                for figures in recorder.versions.values():
                    figures.looks = LOOKS_AT_ONCE
                asked(recorder, *images)
                asyncio.run(reporter.report())
        told = [(entry["log_level"], entry["event"]) for entry in logs if entry["event"].startswith("live images")]
        assert told == [
            ("warning", "live images differ from the training images"),
            ("info", "live images are like the training images again"),
        ]
        assert reporter.drifts[Stub.name, Stub.version].verdict is Verdict.NONE


class Clock:
    def __init__(self) -> None:
        self.seconds = DAY

    def __call__(self) -> float:
        return self.seconds


class TestRecorder:
    def test_what_is_minutes_past_is_no_traffic_any_more(self, settings: Settings, store: ArtifactStore) -> None:
        clock = Clock()
        recorder = Recorder(clock)
        for _ in range(int(2 * WINDOW_SECONDS / SLICE_SECONDS)):
            recorder.answered("/v1", Stub(), 200, None, 0.01)  # type: ignore[arg-type]
            recorder.rotate()
            clock.seconds += SLICE_SECONDS
        (figures,) = recorder.versions.values()
        assert figures.so_far()["requests"] == 40
        assert recorder.lately(figures)["requests"] == pytest.approx(WINDOW_SECONDS / SLICE_SECONDS, abs=1)
