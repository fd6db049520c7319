"""Predictions in-process, from networks published without training: what is kept loaded, and what pictures cost."""

from __future__ import annotations

import io
import logging
import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, Self

import httpx2
import numpy as np
import psutil
import pytest
from answering import problem
from networks import SIDE, publish
from PIL import Image
from servers import S3
from stack import until
from starlette.testclient import TestClient

from core.artifacts import ArtifactStore, open_store
from core.database import Database
from core.images import picture_pixels
from core.repositories.models import ServableVersion, list_best
from core.settings import Settings
from core.tables.base import LOCAL_TENANT
from service.app import create_app
from service.predictions.files import ModelFiles
from service.predictions.loading import SESSION_BYTES, Loader
from service.predictions.predictor import Predictor

PREDICT = "/api/v1/predict/lenet?dataset=digits"


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
def models(database: Database, store: ArtifactStore) -> None:
    """One version."""
    publish(database, store)


@pytest.fixture
def api(settings: Settings, models: None) -> Iterator[TestClient]:
    with TestClient(create_app(settings)) as client:
        yield client


def png(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def predict(api: TestClient, content: bytes, **query: Any) -> httpx2.Response:
    answer: httpx2.Response = api.post(PREDICT, content=content, headers={"Content-Type": "image/png"}, params=query)
    return answer


class TestPictures:
    def test_bright_and_dark_ones_are_told_apart(self, api: TestClient) -> None:
        for value, label in ((0, "dark"), (255, "bright")):
            answer = predict(api, png(Image.new("L", (SIDE, SIDE), value)))
            assert answer.json()["predictions"][0]["label"] == label

    def test_all_files_of_a_form_are_answered_in_order(self, api: TestClient) -> None:
        values = (0, 255, 255, 0)
        sizes = (8, 900, 20, 1200)
        files = [
            ("file", (f"{size}.png", png(Image.new("L", (size, size), value)), "image/png"))
            for value, size in zip(values, sizes, strict=True)
        ]
        labels = [entry["label"] for entry in api.post(PREDICT, files=files).json()["predictions"]]
        assert labels == ["dark", "bright", "bright", "dark"]

    def test_a_line_of_too_many_pixels_is_refused(self, api: TestClient) -> None:
        answer = api.post(PREDICT, json={"instances": [[[0]] * 65_536]})
        problem(answer, 422, "invalid_input")

    def test_a_malformed_form_leaves_nothing_in_the_log(
        self, api: TestClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING):
            for body in (b"rubbish", b"--b\r\nrubbish", b"--b\r\n\r\nx\r\n--bx"):
                headers = {"Content-Type": "multipart/form-data; boundary=b"}
                problem(api.post(PREDICT, content=body, headers=headers), 400, "malformed_multipart")
        assert not [record for record in caplog.records if record.name.startswith("python_multipart")]


class TestCost:
    """50 KB that hold 50 million pixels."""

    @pytest.fixture
    def heavy(self) -> bytes:
        return png(Image.new("P", (7070, 7070)), transparency=bytes(256))

    def test_many_at_once_cost_little_more_than_one(self, api: TestClient, heavy: bytes) -> None:
        assert predict(api, png(Image.new("L", (8, 8)))).status_code == 200
        before = psutil.Process().memory_info().rss
        with Peak() as peak, ThreadPoolExecutor(6) as threads:
            answers = list(threads.map(lambda _: predict(api, heavy), range(6)))
        assert [answer.status_code for answer in answers] == [200] * 6
        assert peak.bytes - before < 400e6
        assert psutil.Process().memory_info().rss - before < 100e6

    def test_only_one_is_decoded_at_a_time(
        self,
        api: TestClient,
        heavy: bytes,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        at_once, most = [0], [0]

        def counted(*arguments: Any) -> Any:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
            try:
                return picture_pixels(*arguments)
            finally:
                at_once[0] -= 1

        monkeypatch.setattr("service.predictions.pictures.picture_pixels", counted)
        with ThreadPoolExecutor(3) as threads:
            answers = list(threads.map(lambda _: predict(api, heavy), range(3)))
        assert [answer.status_code for answer in answers] == [200] * 3
        assert most == [1]

    def test_pixels_on_top_of_the_limit_are_refused_for_now(
        self, settings: Settings, models: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        go_on, begun = threading.Event(), threading.Event()

        def held(*arguments: Any) -> Any:
            begun.set()
            go_on.wait(30)
            return picture_pixels(*arguments)

        monkeypatch.setattr("service.predictions.pictures.picture_pixels", held)
        picture = png(Image.new("L", (600, 600)))
        tight = settings.model_copy(update={"max_image_pixels": 600 * 600})
        with TestClient(create_app(tight)) as api, ThreadPoolExecutor(12) as threads:
            answers = [threads.submit(predict, api, picture) for _ in range(12)]
            assert begun.wait(30)
            while_held = [answer.result().status_code for answer in islice(as_completed(answers), 4)]
            go_on.set()
            statuses = sorted(answer.result().status_code for answer in answers)
        assert while_held == [503] * 4
        assert statuses == [200] * 8 + [503] * 4


class TestNewModels:
    def test_one_is_found_right_after_a_miss(
        self, settings: Settings, database: Database, store: ArtifactStore
    ) -> None:
        """Whoever sees a job SUCCEEDED may predict at once, however short a time ago the database was read."""
        with TestClient(create_app(settings)) as api:
            problem(predict(api, png(Image.new("L", (SIDE, SIDE)))), 404, "no_model")
            publish(database, store)
            assert predict(api, png(Image.new("L", (SIDE, SIDE)))).status_code == 200


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The names and versions of what was loaded, in order."""
    loaded: list[tuple[str, int]] = []
    load = Loader.load

    def noted(loader: Loader, servable: ServableVersion) -> Predictor:
        loaded.append((servable.row.name, servable.row.version))
        return load(loader, servable)

    monkeypatch.setattr(Loader, "load", noted)
    return loaded


def serving(api: TestClient, view: str) -> int:
    answer = api.post(
        "/api/v1/predict/lenet",
        content=png(Image.new("L", (SIDE, SIDE))),
        headers={"Content-Type": "image/png"},
        params={"dataset": view},
    )
    assert answer.status_code == 200, answer.text
    return int(answer.json()["model"]["version"])


class TestLoading:
    def test_a_model_is_loaded_when_it_is_asked_for(
        self, settings: Settings, database: Database, store: ArtifactStore, loads: list[tuple[str, int]]
    ) -> None:
        for view in ("digits", "letters"):
            publish(database, store, f"{view}.onnx", view=view)
        with TestClient(create_app(settings)) as api:
            problem(api.post("/api/v1/predict/lenet"), 409, "dataset_required")  # so both are known by now
            assert loads == []
            assert serving(api, "letters") == 1
            assert serving(api, "letters") == 1
            assert loads == [("letters.lenet", 1)]

    def test_a_better_version_of_a_loaded_one_is_loaded_unasked(
        self, settings: Settings, database: Database, store: ArtifactStore, loads: list[tuple[str, int]]
    ) -> None:
        publish(database, store, "1.onnx", val_accuracy=0.5)
        with TestClient(create_app(settings)) as api:
            assert serving(api, "digits") == 1
            publish(database, store, "2.onnx", val_accuracy=0.6)
            until(lambda: len(loads) == 2, 20, "the second version is loaded")
            until(lambda: serving(api, "digits") == 2, 20, "the second version serves")
            assert loads == [("digits.lenet", 1), ("digits.lenet", 2)]

    def test_the_least_recently_used_makes_room(
        self, settings: Settings, database: Database, store: ArtifactStore, loads: list[tuple[str, int]]
    ) -> None:
        views = ["a", "b", "c"]
        for view in views:
            publish(database, store, f"{view}.onnx", view=view)
        for_two = settings.model_copy(update={"model_memory_bytes": 2 * SESSION_BYTES + (2 << 20)})
        with TestClient(create_app(for_two)) as api:
            for view in ("a", "b", "a", "c", "a", "b"):
                assert serving(api, view) == 1
        assert [name.removesuffix(".lenet") for name, _ in loads] == ["a", "b", "c", "b"]

    @pytest.mark.parametrize(("threads", "networks"), [(1, 1), (2, 2)])
    def test_a_slow_one_has_a_network_for_runs_side_by_side(
        self,
        settings: Settings,
        database: Database,
        store: ArtifactStore,
        monkeypatch: pytest.MonkeyPatch,
        threads: int,
        networks: int,
    ) -> None:
        monkeypatch.setattr("service.predictions.loading.SLOW_SECONDS", -1.0)
        publish(database, store)
        with database.snapshot() as session:
            (servable,) = list_best(session, LOCAL_TENANT)
        predictor = Loader(ModelFiles(store, settings.cache, 1 << 30), threads).load(servable)
        assert predictor.bytes // SESSION_BYTES == networks
        pictures = np.stack([np.full((SIDE, SIDE, 1), value, np.uint8) for value in (0, 255)])
        expected = predictor.score(pictures)
        for scores in (predictor.score_single(pictures), predictor.score(pictures[:1])):
            np.testing.assert_allclose(scores.logits, expected.logits[: len(scores.logits)], atol=1e-5)

    def test_one_model_may_take_more_than_all_may(
        self, settings: Settings, database: Database, store: ArtifactStore, loads: list[tuple[str, int]]
    ) -> None:
        publish(database, store)
        tiny = settings.model_copy(update={"model_memory_bytes": 0})
        with TestClient(create_app(tiny)) as api:
            assert [serving(api, "digits") for _ in range(3)] == [1, 1, 1]
        assert loads == [("digits.lenet", 1)]

    def test_many_who_ask_at_once_share_one_loading(
        self, settings: Settings, database: Database, store: ArtifactStore, loads: list[tuple[str, int]]
    ) -> None:
        publish(database, store)
        with TestClient(create_app(settings)) as api, ThreadPoolExecutor(8) as threads:
            assert list(threads.map(lambda _: serving(api, "digits"), range(16))) == [1] * 16
        assert loads == [("digits.lenet", 1)]

    def test_best_passes_over_one_that_cannot_be_loaded(
        self, settings: Settings, database: Database, store: ArtifactStore
    ) -> None:
        publish(database, store, "lenet.onnx", val_accuracy=0.9)
        publish(database, store, "vgg.onnx", architecture="vgg", val_accuracy=0.5)
        flip_a_bit(store, "local/lenet.onnx")
        blank = png(Image.new("L", (SIDE, SIDE)))
        with TestClient(create_app(settings)) as api:
            headers = {"Content-Type": "image/png"}
            answer = api.post("/api/v1/predict/best", content=blank, headers=headers)
            assert answer.json()["model"]["name"] == "digits.vgg"
            problem(api.post("/api/v1/predict/lenet", content=blank, headers=headers), 503, "artifact_corrupt")


def flip_a_bit(store: ArtifactStore, path: str) -> None:
    file = store.local_path(path)
    assert file is not None
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


class TestOldVersions:
    @pytest.fixture
    def models(self, database: Database, store: ArtifactStore, loads: list[tuple[str, int]]) -> None:
        """Four of them, of which the first stays the best."""
        for number in range(1, 5):
            publish(database, store, f"{number}.onnx", val_accuracy=0.9 - number / 10)

    def test_unknown_numbers_leave_the_loaded_ones_alone(self, api: TestClient, loads: list[tuple[str, int]]) -> None:
        blank = png(Image.new("L", (8, 8)))
        for version in (2, 3):
            assert predict(api, blank, version=version).json()["model"]["version"] == version
        for unknown in range(100, 110):
            problem(predict(api, blank, version=unknown), 404, "model_not_found")
        for version in (2, 3):
            assert predict(api, blank, version=version).status_code == 200
        assert loads == [("digits.lenet", 2), ("digits.lenet", 3)]

    def test_one_that_could_not_be_loaded_is_tried_again(self, api: TestClient, settings: Settings) -> None:
        file = Path(settings.artifacts.removeprefix("file://")) / "local/2.onnx"
        aside = file.with_suffix(".aside")
        file.rename(aside)
        file.mkdir()  # reading it is an OSError other than "not found"
        blank = png(Image.new("L", (8, 8)))
        problem(predict(api, blank, version=2), 503, "artifact_corrupt")
        file.rmdir()
        shutil.copy(aside, file)
        assert predict(api, blank, version=2).json()["model"]["version"] == 2

    @pytest.mark.parametrize("error", [RuntimeError("unexpected"), OSError(5, os.strerror(5))])
    def test_so_is_one_whose_failure_nobody_foresaw(
        self, api: TestClient, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        failures = [error]

        def failing_once(loader: Loader, servable: ServableVersion) -> Predictor:
            if servable.row.version == 2 and failures:
                raise failures.pop()
            return load(loader, servable)

        load = Loader.load
        monkeypatch.setattr(Loader, "load", failing_once)
        blank = png(Image.new("L", (8, 8)))
        assert predict(api, blank, version=2).status_code in (500, 503)
        assert predict(api, blank, version=2).status_code == 200


class Peak:
    """The most memory that this process takes within the block."""

    bytes = 0

    def __enter__(self) -> Self:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return self

    def __exit__(self, *_: object) -> None:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        self.bytes = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


class TestStoreAway:
    @pytest.fixture
    def settings(self, database_url: str, tmp_path: Path, s3: S3) -> Settings:
        broker = "redis://127.0.0.1:1/0"
        return Settings(data_dir=tmp_path, database_url=database_url, broker_url=broker, **s3.fields())

    @pytest.mark.parametrize(
        ("trouble", "code"), [("away", "artifact_store_unavailable"), ("refusing", "artifact_store_refused")]
    )
    def test_what_is_loaded_answers_and_the_rest_is_503(
        self,
        database: Database,
        store: ArtifactStore,
        settings: Settings,
        s3: S3,
        trouble: str,
        code: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        publish(database, store, "first.onnx", val_accuracy=0.1)
        publish(database, store, "second.onnx", val_accuracy=0.9)
        monkeypatch.setattr("core.s3.READ_SECONDS", 0.5)
        picture = png(Image.new("L", (SIDE, SIDE)))
        with TestClient(create_app(settings)) as api:
            assert predict(api, picture).json()["model"]["version"] == 2
            with getattr(s3, trouble)():
                old = predict(api, picture, version=1)
                assert (old.status_code, old.json()["code"]) == (503, code)
                assert old.headers["Retry-After"]
                assert predict(api, picture).json()["model"]["version"] == 2
            assert predict(api, picture, version=1).status_code == 200

    def test_a_best_version_that_could_not_be_had_is_tried_again(
        self, database: Database, store: ArtifactStore, settings: Settings, s3: S3, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        publish(database, store)
        monkeypatch.setattr("service.predictions.catalogue.RETRY_SECONDS", 0.1)
        picture = png(Image.new("L", (SIDE, SIDE)))
        with ExitStack() as trouble:
            trouble.enter_context(s3.refusing())
            with TestClient(create_app(settings)) as api:
                assert predict(api, picture).json()["code"] == "artifact_store_refused"
                trouble.close()
                until(lambda: predict(api, picture).status_code == 200, 20, "the model is loaded")
