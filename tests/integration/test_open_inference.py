"""/v2 as the Open Inference Protocol describes it, over plain HTTP on a real port."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from listening import COLOURED, COLOURED_SHAPE, listening
from protocols import HEADER_LENGTH, INFER, LENET, b64, binary, binary_document, infer_document, pictures, png, refused


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path) -> Iterator[httpx2.Client]:
    with listening(tmp_path_factory.mktemp("open"), migrated_sqlite) as api:
        yield api.http


class TestOpenInference:
    def test_server(self, http: httpx2.Client) -> None:
        for path in ("/v2", "/v2/"):
            assert set(http.get(path).json()) == {"name", "version", "extensions"}
        assert http.get("/v2/health/live").json() == {"live": True}
        assert http.get("/v2/health/ready").json() == {"ready": True}
        assert http.get(f"/v2/models/{LENET}/versions/1/ready").json() == {"name": LENET, "ready": True}
        assert len(http.post("/v2/repository/index", json={"ready": True}).json()) == 4
        refused(http.post("/v2/repository/index", content=b"["), 400)
        for path in ("/v2/models", "/v2/x", "/v2//", f"/v2/models/{LENET}/", "/v2/health", f"/v2/models/{LENET}/x"):
            refused(http.get(path), 404)
        refused(http.get(INFER), 405)
        refused(http.post("/v2"), 405)

    def test_json_answers_when_nothing_binary_is_asked_for(self, http: httpx2.Client) -> None:
        answer = http.post(INFER, json={"id": "7", **infer_document(pictures())})
        assert HEADER_LENGTH not in answer.headers
        body = answer.json()
        assert (body["model_name"], body["model_version"], body["id"]) == (COLOURED, "1", "7")
        assert [(output["name"], output["datatype"], output["shape"]) for output in body["outputs"]] == [
            ("logits", "FP32", [2, 4]),
            ("probabilities", "FP32", [2, 4]),
        ]
        assert len(body["outputs"][0]["data"]) == 8

    def test_nested_and_flat_data_are_the_same(self, http: httpx2.Client) -> None:
        flat = http.post(INFER, json=infer_document(pictures())).json()
        assert http.post(INFER, json=infer_document(pictures(), data=pictures().tolist())).json() == flat

    def test_pictures_in_base64(self, http: httpx2.Client) -> None:
        numbers = http.post(INFER, json=infer_document(pictures())).json()["outputs"][0]["data"]
        files = [b64(one)["b64"] for one in pictures()]
        for shape, data in (([2], files), ([2, 1], [[file] for file in files])):
            document = infer_document(pictures(), datatype="BYTES", shape=shape, data=data)
            answer = http.post(INFER, json=document).json()
            assert answer["outputs"][0]["data"] == pytest.approx(numbers, abs=1e-5)

    def test_binary_in_binary_out(self, http: httpx2.Client) -> None:
        document = {**binary_document(pictures()), "parameters": {"binary_data_output": True}}
        answer = binary(http, document, pictures().tobytes())
        length = int(answer.headers[HEADER_LENGTH])
        assert answer.headers["content-type"] == "application/octet-stream"
        sizes = [out["parameters"]["binary_data_size"] for out in json.loads(answer.content[:length])["outputs"]]
        assert sizes == [32, 32]
        logits = np.frombuffer(answer.content[length : length + 32], "<f4")
        in_json = http.post(INFER, json=infer_document(pictures())).json()["outputs"][0]["data"]
        assert logits.tolist() == np.array(in_json, np.float32).tolist()

    @pytest.mark.parametrize(
        ("document", "words"),
        [
            ([], "must be an object"),
            ({}, "list of one tensor"),
            ({"inputs": []}, "list of one tensor"),
            ({"inputs": [1]}, "must be an object"),
            (infer_document(pictures(), name="x"), "called 'pixels'"),
            (infer_document(pictures(), datatype="BOOL"), "cannot read BOOL"),
            (infer_document(pictures(), datatype=None), "datatype"),
            (infer_document(pictures(), shape=[2, 6, 5]), "[n, height, width, 3]"),
            (infer_document(pictures(), shape=[2, 6, 5, 4]), "[n, height, width, 3]"),
            (infer_document(pictures(), shape=[-2, 6, 5, 3]), "whole numbers from 1"),
            (infer_document(pictures(), shape=[0, 6, 5, 3]), "whole numbers from 1"),
            (infer_document(pictures(), shape=[2.5, 6, 5, 3]), "whole numbers from 1"),
            (infer_document(pictures(), shape=[True, 6, 5, 3]), "whole numbers from 1"),
            (infer_document(pictures(), shape=[2**40, 6, 5, 3]), "limit is 1024"),
            (infer_document(pictures(), shape=[2**70, 6, 5, 3]), "not JSON"),
            (infer_document(pictures(), shape=[1, 2**40, 2**40, 3]), "means"),
            (infer_document(pictures(), shape=[1] * 100_000), "whole numbers from 1"),
            (infer_document(pictures(), shape=[]), "[n, height, width, 3]"),
            (infer_document(pictures(), data=[1, 2]), "data has 2"),
            (infer_document(pictures(), data="x"), "list of numbers"),
            (infer_document(pictures(), data=["1"] * 180), "nothing but whole numbers"),
            (infer_document(pictures(), data=[0.5] * 180), "nothing but whole numbers"),
            (infer_document(pictures(), data=[256] * 180), "0 to 255"),
            (infer_document(pictures(), datatype="FP32", data=[-0.5] * 180), "0 to 255"),
            (infer_document(pictures(), datatype="BYTES"), "[n] or [n, 1]"),
            (infer_document(pictures(), datatype="BYTES", shape=[1], data=["!"]), "not base64"),
            (infer_document(pictures(), datatype="BYTES", shape=[1], data=["AAAA"]), "not a PNG"),
            (infer_document(pictures(), datatype="BYTES", shape=[2], data=["AAAA"]), "list of 2 texts"),
            (infer_document(pictures(), parameters={"shared_memory_region": "x"}), "shared memory"),
            ({**infer_document(pictures()), "id": 7}, "id must be"),
            ({**infer_document(pictures()), "outputs": [{"name": "x"}]}, "no output 'x'"),
            ({**infer_document(pictures()), "outputs": [{"name": "logits"}] * 2}, "twice"),
            ({**infer_document(pictures()), "outputs": {}}, "must be a list"),
            ({**infer_document(pictures()), "parameters": {"binary_data_output": 1}}, "true or false"),
            ({**infer_document(pictures()), "parameters": {str(key): 1 for key in range(100)}}, "more than 64"),
            ({**infer_document(pictures()), "parameters": {"a\0b": 1}}, "NUL character"),
            ({**infer_document(pictures()), "a\0b": 1}, "NUL character"),
            (
                {**infer_document(pictures()), "outputs": [{"name": "logits", "parameters": {"classification": "x"}}]},
                "whole number",
            ),
        ],
    )
    def test_what_cannot_be_used_is_told_so(self, http: httpx2.Client, document: Any, words: str) -> None:
        refused(http.post(INFER, json=document), 400, words)

    def test_tensors_that_are_not_what_is_said_are_refused(self, http: httpx2.Client) -> None:
        array = pictures()
        data = array.tobytes()
        refused(binary(http, binary_document(array), data[:-1]), 400, "binary_data_size")
        refused(binary(http, binary_document(array), data, b"x"), 400, "binary_data_size")
        refused(binary(http, binary_document(array, "FP32"), data), 400, "takes 720 bytes")
        refused(binary(http, binary_document(array, shape=[1, 2**40, 2**40, 3]), data), 400, "bytes")
        refused(binary(http, binary_document(array, parameters={}), data), 400, "belong to no tensor")
        refused(binary(http, binary_document(array, parameters={"binary_data_size": -180}), data), 400)
        refused(binary(http, binary_document(array, data=[1]), data), 400)
        for length in (-1, 10**6, "x", "9" * 5000):
            refused(binary(http, binary_document(array), data, length=length), 400, HEADER_LENGTH)
        refused(binary(http, binary_document(array), data, length=5), 400, "not JSON")

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1, 256, 1e30])
    def test_values_that_are_no_pixels_are_refused(self, http: httpx2.Client, value: float) -> None:
        array = np.full((1, *COLOURED_SHAPE), 7, np.float32)
        array[0, 3, 2, 1] = value
        refused(binary(http, binary_document(array, "FP32"), array.tobytes()), 400, "0 to 255")

    def test_broken_bytes_elements_are_refused(self, http: httpx2.Client) -> None:
        file = png(pictures()[0])
        for data in (
            b"",
            b"\1",
            struct.pack("<I", 2**32 - 1),
            struct.pack("<I", len(file)) + file[:-1],
            struct.pack("<I", 0) + b"x",
            struct.pack("<I", len(file)) + file + struct.pack("<I", 0),
        ):
            array = np.frombuffer(data, np.uint8)
            refused(binary(http, binary_document(array, "BYTES", shape=[1]), data), 400)
