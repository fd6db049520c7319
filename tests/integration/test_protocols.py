"""What holds for all serving protocols: the same answers, compression, and no rubbish that is an error of ours."""

from __future__ import annotations

import gzip
import json
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from listening import COLOURED, COLOURED_LABELS, listening
from networks import publish
from numpy.typing import NDArray
from protocols import (
    HEADER_LENGTH,
    INFER,
    LENET,
    PREDICT,
    binary,
    binary_document,
    infer_document,
    pictures,
    png,
    refused,
)
from starlette.testclient import TestClient

from core.artifacts import open_store
from core.database import Database
from core.settings import Settings
from service.app import create_app

LIMIT = 4 << 20


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path) -> Iterator[httpx2.Client]:
    with listening(tmp_path_factory.mktemp("protocols"), migrated_sqlite, max_predict_bytes=LIMIT) as api:
        yield api.http


class TestBothAgree:
    def test_the_same_pictures_give_the_same_everywhere(self, http: httpx2.Client) -> None:
        view, _, architecture = COLOURED.rpartition(".")
        images = pictures(40)
        rows = http.post(PREDICT, json={"instances": images.tolist()}).json()["predictions"]
        logits = np.array([row["logits"] for row in rows])
        probabilities = np.array([row["probabilities"] for row in rows])
        close = 1e-4 + 1e-5 * abs(logits).max()

        def matches(found: Any, expected: NDArray[Any]) -> bool:
            return bool(abs(np.array(found).reshape(expected.shape) - expected).max() <= close)

        columns = http.post(PREDICT, json={"inputs": images.tolist()}).json()["outputs"]
        assert matches(columns["logits"], logits)
        in_json = http.post(INFER, json=infer_document(images)).json()["outputs"]
        assert matches(in_json[0]["data"], logits)
        assert matches(in_json[1]["data"], probabilities)
        in_binary = binary(http, binary_document(images), images.tobytes()).json()["outputs"]
        assert matches(in_binary[0]["data"], logits)
        alone = [http.post(PREDICT, json={"inputs": [one.tolist()]}).json()["outputs"]["logits"][0] for one in images]
        assert abs(np.array(alone) - logits).max() <= 1e-5

        predict, query = f"/api/v1/predict/{architecture}", {"dataset": view}
        by_name = http.post(predict, params=query, json={"instances": images.tolist()}).json()["predictions"]
        assert matches([in_order(entry) for entry in by_name], probabilities)
        first = http.post(predict, params=query, content=png(images[0]), headers={"Content-Type": "image/png"})
        assert matches(in_order(first.json()["predictions"][0]), probabilities[0])


def in_order(prediction: Any) -> list[float]:
    named = {entry["label"]: entry["probability"] for entry in prediction["top"]}
    return [named[label] for label in COLOURED_LABELS]


class TestCompression:
    def test_answers_are_compressed_when_asked_for(self, http: httpx2.Client) -> None:
        document = infer_document(pictures())
        plain = http.post(INFER, json=document, headers={"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers
        for asked, given_ in (("gzip", "gzip"), ("br, deflate", "deflate"), ("gzip;q=0.1, deflate;q=0.5", "deflate")):
            answer = http.post(INFER, json=document, headers={"Accept-Encoding": asked})
            assert answer.headers["content-encoding"] == given_
            assert answer.json() == plain.json()
        for path in (PREDICT, f"/api/v1/predict/mycnn?dataset={COLOURED.rpartition('.')[0]}"):
            body = gzip.compress(json.dumps({"instances": pictures().tolist()}).encode())
            headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
            assert http.post(path, content=body, headers=headers).status_code == 200

    def test_what_is_not_compressed_as_told_is_refused(self, http: httpx2.Client) -> None:
        good = gzip.compress(json.dumps(infer_document(pictures())).encode())
        for body in (b"", b"rubbish", good[:-9], good + b"x", zlib.compress(b"{}")):
            refused(http.post(INFER, content=body, headers={"Content-Encoding": "gzip"}), 400, "Content-Encoding")
        refused(http.post(INFER, content=good, headers={"Content-Encoding": "br"}), 415, "'br'")

    def test_bombs_cost_nothing(self, http: httpx2.Client) -> None:
        bomb = zlib.compress(bytes(200 << 20))
        process = psutil.Process()
        http.post(INFER, content=zlib.compress(bytes(LIMIT)), headers={"Content-Encoding": "deflate"})
        before = process.memory_info().rss
        for path in (INFER, PREDICT):
            refused(http.post(path, content=bomb, headers={"Content-Encoding": "deflate"}), 413, str(LIMIT))
        assert process.memory_info().rss - before < 4 * LIMIT

    def test_large_bodies_are_refused_before_they_are_read(self, http: httpx2.Client) -> None:
        refused(http.post(INFER, content=bytes(LIMIT + 1)), 413, str(LIMIT))


class TestRequestIds:
    def test_they_are_echoed_or_made(self, http: httpx2.Client) -> None:
        for path in ("/v2/health/live", "/v1/models", "/v2/nowhere"):
            assert http.get(path, headers={"X-Request-ID": "mine"}).headers["x-request-id"] == "mine"
            assert len(http.get(path).headers["x-request-id"]) == 32


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
fuzzed = settings(max_examples=60, deadline=None)


class TestRubbish:
    """Nothing that a client sends is an error of ours."""

    def check(self, answer: httpx2.Response) -> None:
        assert answer.status_code in (200, 400, 413), answer.text
        if answer.status_code != 200:
            refused(answer, answer.status_code)

    @fuzzed
    @given(json_values, st.sampled_from(["shape", "datatype", "data", "parameters", "name"]))
    def test_any_field_of_an_input(self, http: httpx2.Client, value: Any, field: str) -> None:
        self.check(http.post(INFER, json=infer_document(pictures(1), **{field: value})))
        self.check(binary(http, binary_document(pictures(1), **{field: value}), pictures(1).tobytes()))

    @fuzzed
    @given(json_values, st.sampled_from(["id", "parameters", "inputs", "outputs"]))
    def test_any_field_of_an_infer_request(self, http: httpx2.Client, value: Any, field: str) -> None:
        self.check(http.post(INFER, json={**infer_document(pictures(1)), field: value}))

    @fuzzed
    @given(json_values, st.sampled_from(["instances", "inputs", "signature_name"]))
    def test_any_field_of_a_predict_request(self, http: httpx2.Client, value: Any, field: str) -> None:
        self.check(http.post(PREDICT, json={field: value}))
        self.check(http.post(PREDICT, json={"instances": [{"pixels": value}]}))

    @fuzzed
    @given(st.data())
    def test_a_changed_byte(self, http: httpx2.Client, data: st.DataObject) -> None:
        head = json.dumps(binary_document(pictures(1), "FP32")).encode()
        body = bytearray(head + pictures(1).astype("<f4").tobytes())
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
        self.check(http.post(INFER, content=bytes(body), headers={HEADER_LENGTH: str(len(head))}))

    @fuzzed
    @given(st.binary(max_size=200), st.sampled_from([INFER, PREDICT]))
    def test_any_bytes(self, http: httpx2.Client, body: bytes, path: str) -> None:
        self.check(http.post(path, content=body))
        self.check(http.post(path, content=body, headers={"Content-Encoding": "gzip"}))

    def test_lists_in_lists(self, http: httpx2.Client) -> None:
        for depth in (30, 900, 1100, 100_000):
            nested = b"[" * depth + b"]" * depth
            self.check(http.post(PREDICT, content=b'{"instances":' + nested + b"}"))
            self.check(http.post(INFER, content=b'{"inputs":' + nested + b"}"))
            tensor = b'{"inputs":[{"name":"pixels","shape":[1,1,1,3],"datatype":"FP32","data":' + nested + b"}]}"
            self.check(http.post(INFER, content=tensor))


class TestTrouble:
    @pytest.fixture
    def chosen(self, tmp_path: Path, migrated_sqlite: Path) -> Settings:
        shutil.copy(migrated_sqlite, tmp_path / "kerasd.sqlite3")
        url = f"sqlite:///{tmp_path / 'kerasd.sqlite3'}"
        return Settings(data_dir=tmp_path, database_url=url, broker_url="redis://127.0.0.1:1/0")

    def test_both_tell_of_corrupt_versions_and_of_what_stands_in(self, chosen: Settings) -> None:
        database, store = Database(chosen.database), open_store(chosen)
        publish(database, store, "only.onnx", view="alone")
        publish(database, store, "first.onnx", val_accuracy=0.1)
        publish(database, store, "second.onnx", val_accuracy=0.9)
        database.close()
        for name in ("only", "second"):
            file = Path(chosen.artifacts.removeprefix("file://")) / f"local/{name}.onnx"
            file.write_bytes(file.read_bytes()[:-1] + b"!")
        with TestClient(create_app(chosen)) as api:
            refused(api.get("/v2/models/alone.lenet/ready"), 503)
            assert api.get("/v2/models/digits.lenet/ready").status_code == 200
            status = api.get("/v1/models/alone.lenet").json()
            assert not status["ready"]
            assert status["model_version_status"][0]["state"] == "END"
            assert status["model_version_status"][0]["status"]["error_code"] == "DATA_LOSS"
            states = api.get("/v1/models/digits.lenet").json()["model_version_status"]
            assert [(entry["version"], entry["state"]) for entry in states] == [("2", "END"), ("1", "AVAILABLE")]
            answer = api.post("/v1/models/alone.lenet:predict", json={"instances": [[[0] * 8] * 8]})
            refused(answer, 503)
            assert answer.headers["retry-after"]
            index = api.post("/v2/repository/index").json()
            assert [entry["state"] for entry in index if entry["name"] == "alone.lenet"] == ["UNAVAILABLE"]
            assert "alone.lenet" not in api.post("/v2/repository/index", json={"ready": True}).text

    def test_too_many_waiting_and_what_nobody_foresaw(self, chosen: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        database = Database(chosen.database)
        publish(database, open_store(chosen))
        database.close()
        pixels = np.zeros((1, 8, 8, 1), np.uint8)
        asked = (
            (f"/v1/models/{LENET}:predict", {"instances": pixels.tolist()}),
            (f"/v2/models/{LENET}/infer", infer_document(pixels)),
        )
        with TestClient(create_app(chosen)) as api:
            with monkeypatch.context() as full:
                full.setattr("service.predictions.predictor.SLOW_SECONDS", -1.0)
                full.setattr("service.predictions.lane.LEAST_QUEUE", 0)
                full.setattr("service.predictions.lane.LONGEST_QUEUE_SECONDS", -1.0)
                for path, document in asked:
                    answer = api.post(path, json=document)
                    refused(answer, 429, "try again")
                    assert answer.headers["retry-after"]
            monkeypatch.delattr("service.predictions.predictor.Predictor.score")
            for path, document in asked:
                answer = api.post(path, json=document, headers={"X-Request-ID": "mine"})
                refused(answer, 500, "the log has it")
                assert answer.headers["x-request-id"] == "mine"

    def test_a_database_without_tables_is_told(self, chosen: Settings, tmp_path: Path) -> None:
        empty = chosen.model_copy(update={"database_url": f"sqlite:///{tmp_path / 'empty.sqlite3'}"})
        with TestClient(create_app(empty)) as api:
            for path in ("/v1/models", "/v2/models/digits.lenet"):
                refused(api.get(path), 503, "database")
            assert api.get("/v2/health/live").status_code == 200
            assert api.get("/v2/health/ready").status_code == 503
