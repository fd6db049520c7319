"""Exports of trained networks: made once by a worker, compared with Keras, loaded without kerasd."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from answering import problem
from laboratory import Laboratory
from sqlalchemy import delete, update
from starlette.testclient import TestClient

from core.artifacts import open_store
from core.settings import Settings
from core.tables import ArtifactRow
from service.app import create_app
from worker.tasks.supervisor import TaskSupervisor

LENET = "/api/v1/models/digits.lenet/versions/1/artifact"

PLAIN = """
import sys
import keras, numpy
assert not any(name.split(".")[0] in ("core", "worker", "service") for name in sys.modules)
network = keras.saving.load_model(sys.argv[1])
numpy.save(sys.argv[3], network.predict(numpy.load(sys.argv[2]), verbose=0))
"""
"""what a stranger to kerasd does with a .keras file"""


@pytest.fixture(scope="module")
def trained(lab: Laboratory) -> Laboratory:
    lab.train(architecture={"name": "lenet"}, epochs=1)
    return lab


@pytest.fixture
def api(trained: Laboratory) -> Iterator[TestClient]:
    settings = Settings(data_dir=trained.settings.data_dir, broker_url="redis://127.0.0.1:1/0", offline=True)
    with TestClient(create_app(settings)) as client:
        yield client


@pytest.fixture
def worker(trained: Laboratory, monkeypatch: pytest.MonkeyPatch) -> TaskSupervisor:
    monkeypatch.setenv("KERASD_DATA_DIR", str(trained.settings.data_dir))
    return TaskSupervisor(trained.settings, trained.database, "export")


def export(api: TestClient, worker: TaskSupervisor, path: str = LENET, **query: Any) -> dict[str, Any]:
    """The export after the worker's next try."""
    asked = api.get(path, params=query)
    assert asked.status_code == 202, asked.text
    assert asked.headers["retry-after"]
    worker.work_once()
    made: dict[str, Any] = api.get(asked.headers["location"]).json()
    return made


def logits_of_onnx(api: TestClient, pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    answer = api.get(LENET)
    assert answer.headers["content-disposition"] == 'attachment; filename="digits.lenet-1.onnx"'
    assert answer.headers["etag"] == f'"{sha256(answer.content).hexdigest()}"'
    assert api.get(LENET, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    session = onnxruntime.InferenceSession(answer.content, providers=["CPUExecutionProvider"])
    result: np.ndarray[Any, Any] = session.run(None, {session.get_inputs()[0].name: pixels})[0]
    return result


def test_a_keras_file_loads_where_kerasd_is_not(api: TestClient, worker: TaskSupervisor, tmp_path: Path) -> None:
    made = export(api, worker, format="keras")
    assert made["state"] == "SUCCEEDED", made["detail"]
    assert made["result"]["compared_on"] == "test images of the dataset"
    assert made["result"]["max_difference"] <= made["result"]["tolerance"]
    file = api.get(LENET, params={"format": "keras"}, headers={"Prefer": "wait=5"})
    assert (file.status_code, sha256(file.content).hexdigest()) == (200, made["result"]["sha256"])
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 1)).astype(np.float32)
    np.save(tmp_path / "pixels.npy", pixels)
    (tmp_path / "lenet.keras").write_bytes(file.content)
    names = [str(tmp_path / name) for name in ("lenet.keras", "pixels.npy", "logits.npy")]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([sys.executable, "-I", "-c", PLAIN, *names], check=True, env=environment, cwd=tmp_path)
    assert np.load(tmp_path / "logits.npy") == pytest.approx(logits_of_onnx(api, pixels), abs=1e-4)


def test_tflite_survives_a_killed_child_and_is_made_once(
    api: TestClient, worker: TaskSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERASD_FAILPOINT", "export.before_finish")
    assert export(api, worker, format="litert")["state"] == "QUEUED"
    monkeypatch.delenv("KERASD_FAILPOINT")
    made = export(api, worker, format="tflite")
    assert made["state"] == "SUCCEEDED", made["detail"]
    for name in ("tflite", "litert"):
        file = api.get(LENET, params={"format": name})
        assert sha256(file.content).hexdigest() == made["result"]["sha256"]
        assert file.headers["content-disposition"] == 'attachment; filename="digits.lenet-1.tflite"'


def test_a_refused_saved_model_says_why_and_can_be_tried_again(
    api: TestClient, worker: TaskSupervisor, trained: Laboratory, tmp_path: Path
) -> None:
    with trained.database.transaction() as session:
        weights = session.query(ArtifactRow).where(ArtifactRow.kind == "weights").one()
    store = open_store(trained.settings)
    content = store.get(weights.path, weights.sha256)
    store.put(weights.path, content[:-1] + bytes([content[-1] ^ 1]))
    assert export(api, worker, format="saved_model")["state"] == "FAILED"
    refusal = problem(api.get(LENET, params={"format": "saved_model"}), 409, "export_refused")
    assert "does not match its recorded sha256" in refusal["detail"]
    store.put(weights.path, content)
    made = export(api, worker, format="saved_model", retry=True)
    assert made["state"] == "SUCCEEDED", made["detail"]
    (tmp_path / "model.zip").write_bytes(api.get(LENET, params={"format": "saved_model"}).content)
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        assert "saved_model.pb" in archive.namelist()


def test_without_weights_there_is_nothing_to_export(api: TestClient, trained: Laboratory) -> None:
    with trained.database.transaction() as session:
        session.execute(update(ArtifactRow).where(ArtifactRow.kind == "weights").values(kind="none"))
    try:
        path = LENET.replace("versions/1", "versions/2")
        problem(api.get(path, params={"format": "keras"}), 404, "model_not_found")
    finally:
        with trained.database.transaction() as session:
            session.execute(update(ArtifactRow).where(ArtifactRow.kind == "none").values(kind="weights"))
