"""POST /api/v1/explain, with networks published without training."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from answering import problem
from networks import SIDE, brightness_network, publish
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient
from variants import options_of

from core.artifacts import ArtifactStore, open_store
from core.database import Database
from core.recipes import network_layers
from core.settings import Settings
from service.app import create_app
from service.explanations import explainer
from service.explanations.gradients import GradientNetwork, NotCoveredError
from service.explanations.occlusion import occlusion_heat

EXPLAIN = "/api/v1/explain/lenet?dataset=digits"


def quadrant() -> NDArray[np.float32]:
    """The lower left one."""
    seen = np.zeros((SIDE, SIDE), np.float32)
    seen[SIDE // 2 :, : SIDE // 2] = 1
    return seen


def convolutional() -> Any:
    """A Keras network that looks at the same quadrant, by a convolution."""
    import keras

    inputs = keras.Input((SIDE, SIDE, 1))
    features = keras.layers.Conv2D(2, 1, activation="relu")(keras.layers.Rescaling(1 / 255)(inputs))
    network = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(features)))
    convolution, dense = network.layers[2], network.layers[4]
    convolution.set_weights([np.array([[[[1.0, -1.0]]]]), np.array([0.0, 1.0])])  # how bright, and how dark
    weights = np.zeros((SIDE, SIDE, 2, 2), np.float32)
    weights[..., 0, 1] = weights[..., 1, 0] = quadrant() / quadrant().sum()
    dense.set_weights([weights.reshape(-1, 2), np.zeros(2)])
    return network


@pytest.fixture
def engine() -> str:
    return "sqlite"


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, database_url=database_url, broker_url="redis://127.0.0.1:1/0")


@pytest.fixture
def store(settings: Settings) -> ArtifactStore:
    return open_store(settings)


@pytest.fixture(scope="module")
def gradients() -> bytes:
    from worker.onnx_export import to_onnx

    return to_onnx(convolutional())


@pytest.fixture(params=["hand-made", "exported"])
def content(request: pytest.FixtureRequest, gradients: bytes) -> bytes:
    return brightness_network(seen=quadrant()) if request.param == "hand-made" else gradients


@pytest.fixture
def api(settings: Settings, database: Database, store: ArtifactStore, content: bytes) -> Iterator[TestClient]:
    publish(database, store, content=content)
    with TestClient(create_app(settings)) as client:
        yield client


def picture(quarter: int, seed: int = 0) -> bytes:
    """Noise, with `quarter` added to what the networks look at."""
    pixels = np.random.default_rng(seed).integers(60, 190, (SIDE, SIDE)) + quarter * quadrant()
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def explain(api: TestClient, body: bytes, accept: str = "*/*", **query: Any) -> httpx2.Response:
    headers = {"Content-Type": "image/png", "Accept": accept}
    answer: httpx2.Response = api.post(EXPLAIN, content=body, headers=headers, params=query)
    return answer


class TestHeat:
    @pytest.mark.parametrize(("quarter", "label"), [(120, "bright"), (-120, "dark")])
    def test_four_fifths_lie_where_the_network_looks(self, api: TestClient, quarter: int, label: str) -> None:
        for seed in range(5):
            told = explain(api, picture(quarter, seed)).json()
            heat = np.array(told["heat"])
            assert told["label"] == label
            assert heat.shape == (told["height"], told["width"]) == (SIDE, SIDE)
            assert heat.sum() == pytest.approx(1, abs=1e-4)
            assert heat.min() >= 0
            assert (heat * quadrant()).sum() >= 0.8

    def test_the_label_is_the_predicted_one_or_another(self, api: TestClient) -> None:
        body = picture(120)
        answer = api.post("/api/v1/predict/lenet", content=body, headers={"Content-Type": "image/png"}).json()
        told = explain(api, body).json()
        assert told["model"] == answer["model"]
        assert told["probability"] == pytest.approx(answer["predictions"][0]["probability"], abs=1e-6)
        other = explain(api, body, label="dark").json()
        assert (other["label"], other["probability"]) == ("dark", pytest.approx(1 - told["probability"], abs=1e-6))
        assert other["heat"] != told["heat"]

    def test_it_is_a_picture_for_who_wants_one(self, api: TestClient) -> None:
        body = picture(120)
        for answer in (explain(api, body, accept="image/png"), explain(api, body, format="png")):
            assert answer.headers["content-type"] == "image/png"
            assert Image.open(io.BytesIO(answer.content)).size == (256, 256)
        assert explain(api, body, accept="image/png", format="json").json()["label"] == "bright"


class TestMethods:
    @pytest.fixture(params=["hand-made"])
    def content(self) -> bytes:
        return brightness_network(seen=quadrant())

    def test_what_has_no_feature_map_is_covered_up(self, api: TestClient) -> None:
        assert explain(api, picture(120)).json()["method"] == "occlusion"
        told = problem(explain(api, picture(120), method="grad_cam"), 422, "invalid_query")
        assert told["errors"][0]["pointer"] == "/query/method"

    def test_a_feature_map_is_used(
        self, settings: Settings, database: Database, store: ArtifactStore, gradients: bytes
    ) -> None:
        publish(database, store, content=gradients)
        with TestClient(create_app(settings)) as api:
            methods = [explain(api, picture(120), method=method).json() for method in ("auto", "grad_cam", "occlusion")]
        assert [told["method"] for told in methods] == ["grad_cam", "grad_cam", "occlusion"]
        for told in methods:
            assert (np.array(told["heat"]) * quadrant()).sum() >= 0.8

    def test_large_files_are_not_loaded_twice(
        self,
        settings: Settings,
        database: Database,
        store: ArtifactStore,
        gradients: bytes,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(explainer, "LARGEST_BYTES", len(gradients) - 1)
        publish(database, store, content=gradients)
        with TestClient(create_app(settings)) as api:
            assert explain(api, picture(120)).json()["method"] == "occlusion"


class TestRefusals:
    @pytest.fixture
    def content(self) -> bytes:
        return brightness_network(seen=quadrant())

    def test_faults_are_named(self, api: TestClient) -> None:
        for query, pointer in (
            ({"label": "purple"}, "/query/label"),
            ({"method": "guess"}, "/query/method"),
            ({"format": "gif"}, "/query/format"),
            ({"version": 0}, "/query/version"),
            ({"top": 3}, "/query/top"),
        ):
            told = problem(explain(api, picture(0), **query), 422, "invalid_query")
            assert [fault["pointer"] for fault in told["errors"]] == [pointer]

    def test_bodies_are_those_of_predictions(self, api: TestClient, settings: Settings) -> None:
        problem(explain(api, b"no picture"), 422, "invalid_image")
        problem(explain(api, b"0" * (settings.max_predict_bytes + 1)), 413, "body_too_large")
        problem(api.post(EXPLAIN, content=b"x", headers={"Content-Type": "text/plain"}), 415, "unsupported_media_type")
        image = np.zeros((SIDE, SIDE, 1), int).tolist()
        assert api.post(EXPLAIN, json={"instances": [image]}).status_code == 200
        problem(api.post(EXPLAIN, json={"instances": [image, image]}), 422, "invalid_input")

    def test_models_are_those_of_predictions(self, api: TestClient) -> None:
        problem(api.post("/api/v1/explain/vgg", content=picture(0)), 404, "no_model")
        assert explain(api, picture(0), version=1).status_code == 200
        problem(explain(api, picture(0), version=2), 404, "model_not_found")

    def test_only_so_many_wait(self, api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
        go_on = threading.Event()

        def held(*arguments: Any) -> Any:
            go_on.wait(30)
            return occlusion_heat(*arguments)

        monkeypatch.setattr(explainer, "occlusion_heat", held)
        many = explainer.MOST_WAITING + 4
        with ThreadPoolExecutor(many) as threads:
            answers = [threads.submit(explain, api, picture(0)) for _ in range(many)]
            while_held = [answer.result() for answer in islice(as_completed(answers), 4)]
            go_on.set()
            statuses = sorted(answer.result().status_code for answer in answers)
        for refused in while_held:
            problem(refused, 503, "overloaded")
            assert refused.headers["retry-after"] == "1"
        assert statuses == [200] * explainer.MOST_WAITING + [503] * 4


class TestGradients:
    """Against TensorFlow's own."""

    @pytest.mark.parametrize(
        ("document", "feature_map"),
        [
            ({"name": "lenet"}, "conv2"),
            ({"name": "lenet", "pooling": "max", "batch_norm": True, "activation": "tanh"}, "bn2"),
            ({"name": "lenet", "pooling": None, "activation": "sigmoid"}, "conv2"),
        ],
        ids=str,
    )
    def test_the_heat_is_the_gradient_times_the_activations(self, document: dict[str, Any], feature_map: str) -> None:
        import tensorflow as tf

        from worker.network import build_network
        from worker.onnx_export import to_onnx

        network = build_network(network_layers(options_of(document), 5), (32, 32, 1))
        pixels = np.random.default_rng(3).integers(0, 256, (1, 32, 32, 1)).astype(np.float32)
        with tf.GradientTape() as tape:
            tensor = tf.constant(pixels)
            for layer in network.layers[1:]:
                tensor = layer(tensor)
                if layer.name == feature_map:
                    activations = tensor
                    tape.watch(activations)
            logit = tensor[0, 2]
        expected = np.maximum((activations * tape.gradient(logit, activations)).numpy()[0].sum(axis=2), 0)
        heat = GradientNetwork(to_onnx(network), (32, 32, 1), 5).map_heat(pixels, 2)
        np.testing.assert_allclose(heat / heat.sum(), expected / expected.sum(), atol=1e-6)

    def test_a_network_that_averages_its_map_has_grad_cam(self) -> None:
        import keras

        from worker.onnx_export import to_onnx

        inputs = keras.Input((12, 12, 3))
        features = keras.layers.Conv2D(4, 3, activation="relu")(inputs)
        network = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(features)))
        pixels = np.random.default_rng(0).integers(0, 256, (1, 12, 12, 3)).astype(np.float32)
        activations = np.asarray(keras.Model(inputs, features)(pixels))[0]
        kernel = network.layers[-1].get_weights()[0]
        expected = np.maximum(activations @ kernel[:, 1], 0)
        heat = GradientNetwork(to_onnx(network), (12, 12, 3), 3).map_heat(pixels, 1)
        np.testing.assert_allclose(heat, expected, rtol=1e-4, atol=1e-3)

    def test_a_map_of_few_places_says_too_little(self) -> None:
        import keras

        from worker.onnx_export import to_onnx

        inputs = keras.Input((6, 6, 1))
        features = keras.layers.Conv2D(2, 4)(inputs)
        network = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(features)))
        with pytest.raises(NotCoveredError, match="3 x 3 places only"):
            GradientNetwork(to_onnx(network), (6, 6, 1), 2)
