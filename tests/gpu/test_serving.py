"""Predictions on a GPU: the CPU's logits, whoever asks together with whom, and over a swap. Needs no TensorFlow."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import convolutions, publish_random
from PIL import Image
from starlette.testclient import TestClient

from core.artifacts import ArtifactStore, open_store
from core.database import Database
from core.inference import Floats, Network, can_use_gpus
from core.parity import parity_of
from core.settings import Settings
from migrations.schema import upgrade
from service.app import create_app

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not can_use_gpus(), reason="ONNX Runtime is the build for processors; the gpu extra brings the other"
    ),
]

SHAPE = (32, 32, 3)
LABELS = [str(number) for number in range(10)]
INFER = "/v2/models/digits.mycnn/infer"
PREDICT = "/api/v1/predict/mycnn?dataset=digits&top=10"


class Served:
    """A view's MyCNN, its versions and what the CPU says of pictures by each."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(data_dir=folder, broker_url="redis://127.0.0.1:1/0")
        self.database = Database(self.settings.database)
        upgrade(self.database)
        self._store: ArtifactStore = open_store(self.settings)
        self._folder = folder
        self._networks: list[Network] = []

    def publish(self) -> int:
        version = len(self._networks) + 1
        content = convolutions(SHAPE, len(LABELS), seed=version)
        file = self._folder / f"{version}.onnx"
        file.write_bytes(content)
        self._networks.append(Network(file, threads=1))
        return publish_random(
            self.database,
            self._store,
            SHAPE,
            LABELS,
            view="digits",
            architecture="mycnn",
            content=content,
            val_accuracy=0.5 + version / 100,
        )

    def on_cpu(self, version: int, pixels: Floats) -> Floats:
        return self._networks[version - 1].logits(pixels)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path)
    served.publish()
    yield served
    served.database.close()


@pytest.fixture
def api(served: Served) -> Iterator[TestClient]:
    with TestClient(create_app(served.settings)) as client:
        yield client


def pictures(count: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE)).astype(np.float32)


def infer(api: TestClient, pixels: Floats) -> tuple[int, Floats]:
    """The version and its logits."""
    tensor = {"name": "pixels", "shape": pixels.shape, "datatype": "FP32", "data": pixels.ravel().tolist()}
    answer = api.post(INFER, json={"inputs": [tensor], "outputs": [{"name": "logits"}]})
    assert answer.status_code == 200, answer.text
    logits = np.array(answer.json()["outputs"][0]["data"], np.float32).reshape(len(pixels), len(LABELS))
    return int(answer.json()["model_version"]), logits


def test_the_gpu_says_what_the_cpu_says_for_each_size_of_batch(api: TestClient, served: Served) -> None:
    for count in (1, 2, 7, 64, 100):
        version, logits = infer(api, pictures(count))
        assert parity_of(logits, served.on_cpu(version, pictures(count))).holds
    loaded = [line for line in api.get("/metrics").text.splitlines() if line.startswith("kerasd_loaded_bytes{")]
    assert len(loaded) == 1
    assert 'device="gpu"' in loaded[0]


def test_each_of_many_that_ask_at_once_is_told_of_its_own_picture(api: TestClient, served: Served) -> None:
    pixels = pictures(400)
    expected = served.on_cpu(1, pixels)
    scores = np.exp(expected - expected.max(axis=1, keepdims=True))
    probabilities = scores / scores.sum(axis=1, keepdims=True)

    def ask(number: int) -> Any:
        file = io.BytesIO()
        Image.fromarray(pixels[number].astype(np.uint8)).save(file, "PNG")
        return api.post(PREDICT, content=file.getvalue(), headers={"Content-Type": "image/png"}).json()

    with ThreadPoolExecutor(32) as threads:
        for number, answer in enumerate(threads.map(ask, range(len(pixels)))):
            told = {each["label"]: each["probability"] for each in answer["predictions"][0]["top"]}
            for label, probability in zip(LABELS, probabilities[number], strict=True):
                assert told[label] == pytest.approx(probability, abs=1e-5)


def test_no_request_fails_when_a_better_version_takes_over(api: TestClient, served: Served) -> None:
    pixels = pictures(3)
    seen: set[int] = set()

    def ask(_: int) -> None:
        version, logits = infer(api, pixels)
        assert parity_of(logits, served.on_cpu(version, pixels)).holds
        seen.add(version)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(50)))
        served.publish()
        until = time.monotonic() + 60
        while 2 not in seen and time.monotonic() < until:
            list(threads.map(ask, range(50)))
    assert seen == {1, 2}
