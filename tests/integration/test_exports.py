"""Exports: made once by a worker, compared with Keras, loaded without kerasd."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rows
from answering import problem
from datasets import import_files, stored
from starlette.testclient import TestClient

from client import Client
from core.artifacts import ArtifactStore, open_store
from core.database import Database
from core.layers import (
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    FlipChannels,
    GlobalAveragePooling2D,
    LayerSpec,
    Pooling2D,
    Rescaling,
    Residual,
)
from core.repositories.donors import WEIGHTS
from core.repositories.results import StoredArtifact
from core.settings import Settings
from core.validation import check_spec
from service.app import create_app
from worker.network import build_network
from worker.onnx_export import to_onnx
from worker.tasks.assignment import TaskFailed
from worker.tasks.export import compare
from worker.tasks.formats import FORMATS
from worker.tasks.supervisor import TaskSupervisor
from worker.weights import write_weights

LENET = "/api/v1/models/digits.lenet/versions/1/artifact"

CONVOLUTION = Conv2D("convolution", 4, 3, padding="same", use_bias=False)
LAYERS: list[LayerSpec] = [
    Rescaling("rescaling", 1 / 255),
    FlipChannels("flip"),
    Residual("sum", (CONVOLUTION, BatchNormalization("normalisation")), (Conv2D("shortcut", 4, 1),)),
    Pooling2D("pooling", "max", 2, 2),
    GlobalAveragePooling2D("average"),
    Dropout("dropout", 0.5),
    Dense("logits", 3),
]
"""of the kinds that recipes are made of, but for bases"""

PLAIN = """
import sys
import keras, numpy
assert not any(name.split(".")[0] in ("core", "worker", "service") for name in sys.modules)
network = keras.saving.load_model(sys.argv[1])
numpy.save(sys.argv[3], network.predict(numpy.load(sys.argv[2]), verbose=0))
"""
"""what a stranger to kerasd does with a .keras file"""


@dataclass(frozen=True)
class Published:
    """LeNet with its first weights, published as version 1 of digits.lenet."""

    database: Database
    settings: Settings
    store: ArtifactStore
    network: Any
    onnx: bytes
    weights: StoredArtifact


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path) -> Iterator[Published]:
    folder = tmp_path_factory.mktemp("exports")
    shutil.copy(migrated_sqlite, folder / "kerasd.sqlite3")
    settings = Settings(data_dir=folder, broker_url="redis://127.0.0.1:1/0", offline=True)
    store, database = open_store(settings), Database(settings.database)
    digits = stored(import_files(database, settings, "digits"))
    checked = check_spec({"dataset": "digits", "architecture": "lenet"})
    network = build_network(checked.layers, checked.input_shape)
    onnx, weights = to_onnx(network), BytesIO()
    write_weights(network, weights)
    kept = store.put("local/weights", weights.getvalue())
    model = store.put("local/model.onnx", onnx)
    made = replace(
        rows.publication(),
        artifact=StoredArtifact("onnx", model.path, model.sha256, model.bytes),
        weights=StoredArtifact(WEIGHTS, kept.path, kept.sha256, kept.bytes),
        dataset_digest=digits.digest,
        labels=list(digits.content.labels),
    )
    rows.finish(database, rows.start(database), made)
    yield Published(database, settings, store, network, onnx, made.weights)
    database.close()


@pytest.fixture
def api(published: Published) -> Iterator[TestClient]:
    with TestClient(create_app(published.settings)) as client:
        yield client


@pytest.fixture
def worker(published: Published, monkeypatch: pytest.MonkeyPatch) -> TaskSupervisor:
    monkeypatch.setenv("KERASD_DATA_DIR", str(published.settings.data_dir))
    return TaskSupervisor(published.settings, published.database, "export")


def export(api: TestClient, worker: TaskSupervisor, **query: Any) -> dict[str, Any]:
    """The export after the worker's next try."""
    asked = api.get(LENET, params=query)
    assert asked.status_code == 202, asked.text
    assert asked.headers["retry-after"]
    worker.work_once()
    made: dict[str, Any] = api.get(asked.headers["location"]).json()
    return made


def test_onnx_is_what_was_published(api: TestClient, published: Published) -> None:
    answer = api.get(LENET)
    assert answer.content == published.onnx
    assert answer.headers["content-disposition"] == 'attachment; filename="digits.lenet-1.onnx"'
    assert answer.headers["etag"] == f'"{sha256(published.onnx).hexdigest()}"'
    assert api.get(LENET, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    problem(api.get(LENET.replace("versions/1", "versions/2")), 404, "model_not_found")


def test_a_refusal_says_why_and_a_retry_makes_a_file_that_loads_where_kerasd_is_not(
    api: TestClient, worker: TaskSupervisor, published: Published, tmp_path: Path
) -> None:
    path = published.weights.path
    content = published.store.get(path, published.weights.sha256)
    published.store.put(path, content[:-1] + bytes([content[-1] ^ 1]))
    assert export(api, worker, format="keras")["state"] == "FAILED"
    refusal = problem(api.get(LENET, params={"format": "keras"}), 409, "export_refused")
    assert "does not match its recorded sha256" in refusal["detail"]
    published.store.put(path, content)

    made = export(api, worker, format="keras", retry=True)
    assert made["state"] == "SUCCEEDED", made["detail"]
    assert made["result"]["compared_on"] == "test images of the dataset"
    with Client("http://localhost", api._transport) as client:
        size = client.export_model("digits.lenet", 1, "keras", tmp_path / "lenet.keras")
    assert size == made["result"]["bytes"]
    file = api.get(LENET, params={"format": "keras"}, headers={"Prefer": "wait=5"})
    assert (file.status_code, sha256(file.content).hexdigest()) == (200, made["result"]["sha256"])

    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 1)).astype(np.float32)
    np.save(tmp_path / "pixels.npy", pixels)
    names = [str(tmp_path / name) for name in ("lenet.keras", "pixels.npy", "logits.npy")]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([sys.executable, "-I", "-c", PLAIN, *names], check=True, env=environment, cwd=tmp_path)
    assert np.load(tmp_path / "logits.npy") == pytest.approx(published.network.predict(pixels, verbose=0), abs=1e-5)


def test_a_file_that_was_damaged_in_the_store_is_made_anew_on_request(
    api: TestClient, worker: TaskSupervisor, published: Published
) -> None:
    asked = {"format": "saved_model"}
    made = export(api, worker, **asked)
    (path,) = published.store.files(f"tasks/{made['id']}-1")
    content = published.store.get(path, made["result"]["sha256"])
    assert api.get(LENET, params={**asked, "retry": True}).content == content
    published.store.put(path, content[:-1])
    problem(api.get(LENET, params=asked), 503, "artifact_corrupt")
    again = export(api, worker, **asked, retry=True)
    assert (again["id"], again["state"]) == (made["id"], "SUCCEEDED")
    assert api.get(LENET, params=asked).status_code == 200
    assert published.store.files(f"tasks/{made['id']}-1") == {}
    assert len(published.store.files(f"tasks/{made['id']}-2")) == 1


def test_a_killed_child_is_followed_by_another_try(
    api: TestClient, worker: TaskSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERASD_FAILPOINT", "export.before_build")
    first, second = export(api, worker, format="litert"), export(api, worker, format="tflite")
    assert (first["state"], first["format"]) == ("QUEUED", "tflite")
    assert first["id"] == second["id"]
    worker.work_once()
    refusal = problem(api.get(LENET, params={"format": "tflite"}), 409, "export_refused")
    assert "killed (SIGKILL); gave up after 3 tries" in refusal["detail"]


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_computes_what_keras_does(name: str, tmp_path: Path) -> None:
    network = build_network(LAYERS, (12, 12, 3))
    pixels = np.random.default_rng(0).integers(0, 256, (5, 12, 12, 3)).astype(np.float32)
    file = tmp_path / FORMATS[name].file
    FORMATS[name].write(network, file)
    agreement = compare(FORMATS[name].run(file, pixels), network.predict(pixels, verbose=0))
    assert agreement.max_difference <= 1e-5


def test_what_differs_is_refused() -> None:
    logits = np.array([[1.0, 2.0]], np.float32)
    for wrong in (0.01, np.nan):
        with pytest.raises(TaskFailed, match="differs from Keras"):
            compare(logits + np.float32(wrong), logits)
