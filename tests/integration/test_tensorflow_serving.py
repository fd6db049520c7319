"""/v1 as TensorFlow Serving describes its REST interface, over plain HTTP on a real port."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from listening import COLOURED, listening
from pictures import png_claiming
from protocols import LENET, PREDICT, b64, pictures, refused


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path) -> Iterator[httpx2.Client]:
    with listening(tmp_path_factory.mktemp("tensorflow"), migrated_sqlite) as api:
        yield api.http


class TestTensorFlowServing:
    def predictions(self, http: httpx2.Client, document: Any, path: str = PREDICT) -> Any:
        answer = http.post(path, json=document)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def test_rows_in_rows_out(self, http: httpx2.Client) -> None:
        rows = self.predictions(http, {"instances": pictures().tolist()})["predictions"]
        assert [set(row) for row in rows] == [{"logits", "probabilities"}] * 2
        assert sum(rows[0]["probabilities"]) == pytest.approx(1)
        named = {"signature_name": "serving_default", "instances": [{"pixels": one.tolist()} for one in pictures()]}
        assert self.predictions(http, named)["predictions"] == rows

    def test_columns_in_columns_out(self, http: httpx2.Client) -> None:
        rows = self.predictions(http, {"instances": pictures().tolist()})["predictions"]
        for inputs in (pictures().tolist(), {"pixels": pictures().tolist()}):
            outputs = self.predictions(http, {"inputs": inputs})["outputs"]
            assert outputs["logits"] == [row["logits"] for row in rows]
            assert outputs["probabilities"] == [row["probabilities"] for row in rows]

    def test_pictures_in_base64(self, http: httpx2.Client) -> None:
        numbers = self.predictions(http, {"inputs": pictures().tolist()})["outputs"]["logits"]
        files = [b64(one) for one in pictures()]
        for document in ({"instances": files}, {"instances": [{"pixels": file} for file in files]}):
            rows = self.predictions(http, document)["predictions"]
            assert np.array([row["logits"] for row in rows]) == pytest.approx(np.array(numbers), abs=1e-5)
        for inputs in (files, {"pixels": files}):
            columns = self.predictions(http, {"inputs": inputs})["outputs"]
            assert np.array(columns["logits"]) == pytest.approx(np.array(numbers), abs=1e-5)

    def test_versions_labels_and_short_names(self, http: httpx2.Client) -> None:
        blank = {"instances": [[[0] * 8] * 8]}
        for path in (
            f"/v1/models/{LENET}:predict",
            f"/v1/models/{LENET}/versions/1:predict",
            f"/v1/models/{LENET}/labels/best:predict",
            "/v1/models/digits.best:predict",
        ):
            assert self.predictions(http, blank, path)["predictions"][0]["logits"] == [127.5, -127.5]
        assert self.predictions(http, {"instances": pictures().tolist()}, "/v1/models/mycnn:predict")
        refused(http.post("/v1/models/lenet:predict", json=blank), 409, "<dataset>.lenet")
        refused(http.post(f"/v1/models/{LENET}/versions/3:predict", json=blank), 404, "no version 3")
        refused(http.post(f"/v1/models/{LENET}/versions/{'9' * 30}:predict", json=blank), 404, "no version")
        refused(http.post(f"/v1/models/{LENET}/labels/canary:predict", json=blank), 404, "'best'")
        refused(http.post("/v1/models/digits.vgg:predict", json=blank), 404, "no model")

    def test_status_and_metadata(self, http: httpx2.Client) -> None:
        assert http.get("/v1/models").json() == {"models": [LENET, "shapes.lenet", COLOURED]}
        status = http.get(f"/v1/models/{LENET}").json()
        assert (status["name"], status["ready"]) == (LENET, True)
        assert [(entry["version"], entry["state"]) for entry in status["model_version_status"]] == [
            ("2", "AVAILABLE"),
            ("1", "AVAILABLE"),
        ]
        assert status["model_version_status"][0]["status"] == {"error_code": "OK", "error_message": ""}
        for path, version in (("versions/1", "1"), ("labels/best", "2")):
            one = http.get(f"/v1/models/{LENET}/{path}").json()["model_version_status"]
            assert [entry["version"] for entry in one] == [version]
        metadata = http.get(f"/v1/models/{COLOURED}/metadata").json()
        assert metadata["model_spec"] == {"name": COLOURED, "signature_name": "", "version": "1"}
        signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
        sizes = [dimension["size"] for dimension in signature["inputs"]["pixels"]["tensor_shape"]["dim"]]
        assert sizes == ["-1", "6", "5", "3"]
        assert set(signature["outputs"]) == {"logits", "probabilities"}
        refused(http.get("/v1/models/digits.vgg/metadata"), 404)

    @pytest.mark.parametrize(
        ("document", "words"),
        [
            ({}, "one of instances"),
            ([], "must be an object"),
            ({"instances": [[[[0, 0, 0]]]], "inputs": [[[[0, 0, 0]]]]}, "not both"),
            ({"instances": []}, "at least one"),
            ({"instances": "x"}, "must be a list"),
            ({"instances": [[[[0, 0]]]]}, "2 channels"),
            ({"instances": [[[[0, 0, 256]]]]}, "0 to 255"),
            ({"instances": [[[[0, 0, -1]]]]}, "0 to 255"),
            ({"instances": [[[[0, 0, "1"]]]]}, "other than numbers"),
            ({"instances": [[[[0, 0, 0]], [[0, 0, 0], [0, 0, 0]]]]}, "ragged"),
            ({"instances": [{"x": 1}]}, "one input, 'pixels'"),
            ({"instances": [{"b64": "!"}]}, "not base64"),
            ({"instances": [{"b64": "AAAA"}]}, "not a PNG"),
            ({"instances": [{"b64": 1}]}, "b64"),
            ({"instances": [b64(pictures()[0]), [[[0, 0, 0]]]]}, "as others are"),
            ({"instances": [{"b64": base64.b64encode(png_claiming(30_000, 30_000)).decode()}]}, "30000"),
            ({"inputs": {"x": 1}}, "one input, 'pixels'"),
            ({"inputs": {"b64": "AAAA"}}, "must be a list"),
            ({"instances": [[[[0, 0, 0]]]], "signature_name": "other"}, "no signature"),
            ({"instances": [[[[0, 0, 0]]]], "more": 1}, "unknown field"),
            ({"instances": [b64(pictures()[0])] * 1025}, "limit is 1024"),
            ({"instances": [[[[0, 0, 0]]]] * 1025}, "limit is 1024"),
        ],
    )
    def test_what_cannot_be_used_is_told_so(self, http: httpx2.Client, document: Any, words: str) -> None:
        refused(http.post(PREDICT, json=document), 400, words)

    def test_other_methods_and_paths_are_refused(self, http: httpx2.Client) -> None:
        refused(http.post(PREDICT, content=b'{"instances": ['), 400, "not JSON")
        refused(http.post(PREDICT.replace("predict", "classify"), json={}), 400, "predict, not classify")
        refused(http.post(PREDICT.replace("predict", "regress"), json={}), 400)
        refused(http.get(PREDICT), 405)
        assert http.get(PREDICT).headers["allow"] == "POST"
        refused(http.delete("/v1/models"), 405)
        for path in ("/v1", "/v1/", "/v1/models/", f"/v1/models/{LENET}/", "/v1/x", f"/v1/models/{LENET}/versions/x"):
            refused(http.get(path), 404)
        head, got = http.head("/v1/models"), http.get("/v1/models")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == got.headers["content-length"]
