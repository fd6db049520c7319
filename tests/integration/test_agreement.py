"""One trained network, asked in every way there is: the trainer's own network, three protocols, and a batch prediction."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Iterator

import numpy as np
import pytest
from laboratory import Laboratory
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from core.images import open_image, picture_pixels
from core.validation import builtin_dataset, check_spec
from service.app import create_app
from worker.network import build_network
from worker.tasks.supervisor import TaskSupervisor
from worker.weights import restore

SPEC = {"dataset": "digits", "architecture": "lenet", "epochs": 3}
NAME = "digits.lenet"
SIDE = 32


@pytest.fixture(scope="module")
def job(lab: Laboratory) -> str:
    return lab.train(**SPEC)


@pytest.fixture(scope="module")
def api(lab: Laboratory, job: str) -> Iterator[TestClient]:
    with TestClient(create_app(lab.settings)) as client:
        yield client


@pytest.fixture(scope="module")
def png() -> bytes:
    """Of a size that nothing was trained on."""
    pixels = np.random.default_rng(0).integers(0, 256, (45, 31), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def pixels(png: bytes, lab: Laboratory, job: str) -> NDArray[np.float32]:
    """What the network is given of the picture, (height, width, channels)."""
    reduced_to = lab.version(job).input_shape["reduced_to"]
    fitted: NDArray[np.uint8] = picture_pixels(open_image(png, max_pixels=10**6), SIDE, SIDE, 1, reduced_to)
    return fitted.astype(np.float32)


@pytest.fixture(scope="module")
def expected(lab: Laboratory, job: str, pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    """Logits of the Keras network with the published weights."""
    checked = check_spec(SPEC, builtin_dataset)
    network = build_network(checked.layers, checked.input_shape)
    restore(lab.weights(job), network)
    logits: NDArray[np.float64] = np.asarray(network(pixels[np.newaxis]), np.float64)[0]
    return logits


def agrees(logits: object, expected: NDArray[np.float64]) -> bool:
    """Within DESIGN's tolerance of publishing."""
    difference = np.abs(np.asarray(logits, np.float64).ravel() - expected).max()
    return bool(difference <= 1e-4 + 1e-5 * np.abs(expected).max())


def probabilities(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    exponentials = np.exp(logits - logits.max())
    return np.asarray(exponentials / exponentials.sum())


class TestLogits:
    def test_tensorflow_serving(
        self, api: TestClient, png: bytes, pixels: NDArray[np.float32], expected: NDArray[np.float64]
    ) -> None:
        encoded = {"b64": base64.b64encode(png).decode()}
        for instance in (encoded, pixels.tolist()):
            rows = api.post(f"/v1/models/{NAME}:predict", json={"instances": [instance]}).json()
            assert agrees(rows["predictions"][0]["logits"], expected)
        columns = api.post(f"/v1/models/{NAME}:predict", json={"inputs": [pixels.tolist()]}).json()
        assert agrees(columns["outputs"]["logits"], expected)

    def test_open_inference(self, api: TestClient, pixels: NDArray[np.float32], expected: NDArray[np.float64]) -> None:
        tensor = {"name": "pixels", "shape": [1, *pixels.shape], "datatype": "FP32"}
        numbers = {"inputs": [{**tensor, "data": pixels.ravel().tolist()}], "outputs": [{"name": "logits"}]}
        assert agrees(api.post(f"/v2/models/{NAME}/infer", json=numbers).json()["outputs"][0]["data"], expected)
        sized = {**tensor, "parameters": {"binary_data_size": pixels.nbytes}}
        header = json.dumps({"inputs": [sized], "outputs": [{"name": "logits"}]}).encode()
        lengths = {"Inference-Header-Content-Length": str(len(header))}
        binary = api.post(f"/v2/models/{NAME}/infer", content=header + pixels.tobytes(), headers=lengths)
        assert agrees(binary.json()["outputs"][0]["data"], expected)


class TestProbabilities:
    def test_predict(
        self, api: TestClient, png: bytes, pixels: NDArray[np.float32], expected: NDArray[np.float64]
    ) -> None:
        answers = [
            api.post("/api/v1/predict/lenet?top=10", content=png, headers={"Content-Type": "image/png"}),
            api.post("/api/v1/predict/lenet?top=10", json={"instances": [pixels.tolist()]}),
        ]
        for answer in answers:
            top = {each["label"]: each["probability"] for each in answer.json()["predictions"][0]["top"]}
            found = [top[str(digit)] for digit in range(10)]
            assert np.allclose(found, probabilities(expected), atol=1e-5)

    def test_batch_prediction(
        self,
        api: TestClient,
        lab: Laboratory,
        png: bytes,
        expected: NDArray[np.float64],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("KERASD_DATA_DIR", str(lab.settings.data_dir))  # for the worker's child
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as zipped:
            zipped.writestr("one.png", png)
        form = {"model": NAME, "format": "jsonl", "top": "10"}
        created = api.post("/api/v1/batch-predictions", data=form, files={"file": ("a.zip", archive.getvalue())})
        TaskSupervisor(lab.settings, lab.database, "batch_prediction").work_once()
        row = json.loads(api.get(f"{created.headers['Location']}/results").text)
        top = {each["label"]: each["probability"] for each in row["top"]}
        assert np.allclose([top[str(digit)] for digit in range(10)], probabilities(expected), atol=1e-5)
