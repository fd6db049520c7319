"""NVIDIA's tritonclient, as it is installed from PyPI, against the API on a real port."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from listening import COLOURED, COLOURED_LABELS, COLOURED_SHAPE, Listening, listening
from numpy.typing import NDArray
from PIL import Image
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.http import aio as async_client
from tritonclient.utils import InferenceServerException

LENET = "digits.lenet"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path) -> Iterator[Listening]:
    with listening(tmp_path_factory.mktemp("triton"), migrated_sqlite) as api:
        yield api


@pytest.fixture
def client(server: Listening) -> Iterator[Any]:
    with InferenceServerClient(server.address) as client:
        yield client


def pictures(count: int = 2, dtype: Any = np.float32) -> NDArray[Any]:
    return np.random.default_rng(0).integers(0, 128, (count, *COLOURED_SHAPE)).astype(dtype)


def tensor(array: NDArray[Any], datatype: str, *, binary: bool = True) -> list[Any]:
    made = InferInput("pixels", list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return [made]


def as_v1(server: Listening, array: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The logits and probabilities that TensorFlow Serving's protocol gives."""
    answer = server.http.post(f"/v1/models/{COLOURED}:predict", json={"inputs": array.tolist()})
    outputs = answer.json()["outputs"]
    return np.array(outputs["logits"]), np.array(outputs["probabilities"])


class TestServerAndModels:
    def test_it_is_live_and_ready(self, client: Any) -> None:
        assert client.is_server_live()
        assert client.is_server_ready()

    def test_models_are_ready_where_there_is_one(self, client: Any) -> None:
        assert client.is_model_ready(LENET)
        assert client.is_model_ready(LENET, "1")
        assert client.is_model_ready(COLOURED)
        assert not client.is_model_ready(LENET, "3")
        assert not client.is_model_ready("digits.vgg")

    def test_metadata(self, client: Any) -> None:
        server = client.get_server_metadata()
        assert server["name"] == "kerasd"
        assert "binary_tensor_data" in server["extensions"]
        model = client.get_model_metadata(COLOURED)
        assert (model["name"], model["versions"]) == (COLOURED, ["1"])
        assert model["inputs"] == [{"name": "pixels", "datatype": "FP32", "shape": [-1, *COLOURED_SHAPE]}]
        assert [(output["name"], output["shape"]) for output in model["outputs"]] == [
            ("logits", [-1, 4]),
            ("probabilities", [-1, 4]),
        ]
        assert client.get_model_metadata(LENET, "1")["versions"] == ["1", "2"]

    def test_config_names_the_labels(self, client: Any) -> None:
        config = client.get_model_config(COLOURED)
        assert config["max_batch_size"] == 1024
        assert config["input"][0]["dims"] == list(COLOURED_SHAPE)
        assert config["parameters"]["labels"]["string_value"] == '["disc","square","stripes","rest"]'

    def test_the_repository_holds_every_version(self, client: Any) -> None:
        client.infer(LENET, tensor(np.zeros((1, 8, 8, 1), np.float32), "FP32"))
        index = {(entry["name"], entry["version"]): entry for entry in client.get_model_repository_index()}
        assert {(LENET, "1"), (LENET, "2"), ("shapes.lenet", "1"), (COLOURED, "1")} == set(index)
        assert index[LENET, "2"] == {"name": LENET, "version": "2", "state": "READY", "reason": ""}
        assert {entry["state"] for entry in index.values()} == {"READY"}

    def test_statistics_count_what_ran(self, client: Any) -> None:
        def counted() -> Any:
            stats = client.get_inference_statistics(COLOURED)["model_stats"]
            return stats[0] if stats else {"inference_count": 0, "execution_count": 0}

        before = counted()
        client.infer(COLOURED, tensor(pictures(5), "FP32"))
        after = counted()
        assert after["inference_count"] == before["inference_count"] + 5
        assert after["execution_count"] == before["execution_count"] + 1
        assert after["inference_stats"]["compute_infer"]["ns"] > 0
        assert 5 in {entry["batch_size"] for entry in after["batch_stats"]}
        everything = client.get_inference_statistics()["model_stats"]
        assert after in everything

    def test_what_is_not_there_is_told_in_words(self, client: Any) -> None:
        with pytest.raises(InferenceServerException, match="no model"):
            client.get_model_metadata("digits.vgg")
        with pytest.raises(InferenceServerException, match="has no version 9") as refused:
            client.infer(LENET, tensor(np.zeros((1, 8, 8, 1), np.float32), "FP32"), model_version="9")
        assert refused.value.status() == "404"
        with pytest.raises(InferenceServerException, match="nothing at"):
            client.get_log_settings()


class TestInfer:
    @pytest.mark.parametrize("binary", [True, False])
    @pytest.mark.parametrize(
        ("datatype", "dtype"),
        [
            ("FP32", np.float32),
            ("FP64", np.float64),
            ("FP16", np.float16),
            ("UINT8", np.uint8),
            ("UINT16", np.uint16),
            ("INT8", np.int8),
            ("INT32", np.int32),
            ("INT64", np.int64),
            ("UINT64", np.uint64),
        ],
    )
    def test_every_datatype_gives_the_same(
        self, server: Listening, client: Any, datatype: str, dtype: Any, binary: bool
    ) -> None:
        logits, probabilities = as_v1(server, pictures())
        result = client.infer(COLOURED, tensor(pictures(dtype=dtype), datatype, binary=binary))
        assert result.as_numpy("logits") == pytest.approx(logits, abs=1e-5)
        assert result.as_numpy("probabilities") == pytest.approx(probabilities, abs=1e-5)
        assert result.as_numpy("logits").dtype == np.float32

    def test_fractions_count(self, server: Listening, client: Any) -> None:
        logits, _ = as_v1(server, pictures() + 0.5)
        for binary in (True, False):
            result = client.infer(COLOURED, tensor(pictures() + np.float32(0.5), "FP32", binary=binary))
            assert result.as_numpy("logits") == pytest.approx(logits, abs=1e-5)

    def test_pictures_in_files(self, server: Listening, client: Any) -> None:
        file = io.BytesIO()
        Image.fromarray(pictures(1, np.uint8)[0]).save(file, "PNG")
        logits, _ = as_v1(server, pictures(1))
        for shape in ((2,), (2, 1)):
            files = np.array([file.getvalue()] * 2, dtype=np.object_).reshape(shape)
            result = client.infer(COLOURED, tensor(files, "BYTES"))
            assert result.as_numpy("logits") == pytest.approx(np.repeat(logits, 2, axis=0), abs=1e-5)

    def test_ids_and_parameters_come_and_go(self, client: Any) -> None:
        result = client.infer(
            COLOURED, tensor(pictures(), "FP32"), request_id="mine", priority=1, timeout=9, parameters={"team": "cv"}
        )
        assert result.get_response()["id"] == "mine"
        assert result.get_response()["model_version"] == "1"
        assert "id" not in client.infer(COLOURED, tensor(pictures(), "FP32")).get_response()

    @pytest.mark.parametrize("binary", [True, False])
    def test_only_requested_outputs_are_sent(self, client: Any, binary: bool) -> None:
        asked = [InferRequestedOutput("probabilities", binary_data=binary)]
        result = client.infer(COLOURED, tensor(pictures(), "FP32"), outputs=asked)
        assert result.as_numpy("logits") is None
        assert result.as_numpy("probabilities").sum(axis=1) == pytest.approx(1)

    @pytest.mark.parametrize("binary", [True, False])
    def test_classification(self, client: Any, binary: bool) -> None:
        logits = client.infer(COLOURED, tensor(pictures(), "FP32")).as_numpy("logits")
        asked = [
            InferRequestedOutput("logits", binary_data=not binary),
            InferRequestedOutput("probabilities", binary_data=binary, class_count=2),
        ]
        result = client.infer(COLOURED, tensor(pictures(), "FP32"), outputs=asked)
        assert result.as_numpy("logits") == pytest.approx(logits, abs=1e-5)
        classes = result.as_numpy("probabilities")
        assert classes.shape == (2, 2)
        for row, texts in zip(logits, classes, strict=True):
            for index, text in zip(np.argsort(-row), texts, strict=False):
                value, at, label = (text.decode() if isinstance(text, bytes) else text).split(":")
                assert (int(at), label) == (index, COLOURED_LABELS[index])
                assert 0 <= float(value) <= 1

    @pytest.mark.parametrize("response", [None, "gzip", "deflate"])
    @pytest.mark.parametrize("request_", ["gzip", "deflate"])
    def test_compression(self, server: Listening, client: Any, request_: str, response: str | None) -> None:
        logits, _ = as_v1(server, pictures(20))
        result = client.infer(
            COLOURED,
            tensor(pictures(20), "FP32"),
            request_compression_algorithm=request_,
            response_compression_algorithm=response,
        )
        assert result.as_numpy("logits") == pytest.approx(logits, abs=1e-5)

    def test_many_images_are_run_in_batches(self, client: Any) -> None:
        together = client.infer(COLOURED, tensor(pictures(100), "FP32")).as_numpy("logits")
        alone = [client.infer(COLOURED, tensor(one[np.newaxis], "FP32")).as_numpy("logits")[0] for one in pictures(100)]
        assert together == pytest.approx(np.array(alone), abs=1e-5)

    def test_pictures_of_other_sizes_are_resized_as_ever(self, server: Listening, client: Any) -> None:
        wide = np.random.default_rng(1).integers(0, 256, (1, 40, 90, 3)).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(wide[0]).save(file, "PNG")
        numbers = client.infer(COLOURED, tensor(wide, "UINT8")).as_numpy("probabilities")
        files = client.infer(COLOURED, tensor(np.array([file.getvalue()], dtype=np.object_), "BYTES"))
        assert numbers == pytest.approx(files.as_numpy("probabilities"), abs=1e-6)
        view, _, architecture = COLOURED.rpartition(".")
        top = server.http.post(
            f"/api/v1/predict/{architecture}",
            params={"dataset": view},
            content=file.getvalue(),
            headers={"Content-Type": "image/png"},
        ).json()["predictions"][0]["top"]
        by_label = dict(zip(COLOURED_LABELS, numbers[0], strict=True))
        assert {entry["label"]: entry["probability"] for entry in top} == pytest.approx(by_label, abs=1e-6)

    def test_the_asynchronous_client_works_too(self, server: Listening) -> None:
        async def infer() -> Any:
            async with async_client.InferenceServerClient(server.address) as client:
                assert await client.is_model_ready(COLOURED)
                return await client.infer(COLOURED, tensor(pictures(), "FP32"))

        assert asyncio.run(infer()).as_numpy("logits").shape == (2, 4)
