"""The contract over real HTTP: rubbish in, clear problems out, and the same service still works."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import numpy as np
import psutil
import pytest
from PIL import Image
from stack import Stack, until
from tritonclient.http import InferenceServerClient, InferInput

JOBS = "/api/v1/jobs"
SPEC = {"dataset": "digits", "architecture": "lenet", "epochs": 1}


def problem(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """Checks an RFC 9457 answer and gives its body."""
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail", "code", "request_id"} <= set(body)
    assert answer.headers["x-request-id"] == body["request_id"]
    return body


def png_claiming(width: int, height: int) -> bytes:
    """A small file whose header claims any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


def memory_of_api(service: Stack) -> int:
    return int(psutil.Process(service._parts["api"].pid).memory_info().rss)


@pytest.fixture(scope="module")
def model(service: Stack) -> str:
    """A published LeNet of digits."""
    return str(service.wait_for(service.submit(epochs=2)["id"], "SUCCEEDED")["id"])


class TestSubmit:
    def test_it_answers_201_with_location_and_etag(self, service: Stack) -> None:
        answer = service.http.post(JOBS, json=SPEC)
        assert answer.status_code == 201
        job = answer.json()
        assert answer.headers["location"] == f"{JOBS}/{job['id']}"
        assert answer.headers["etag"] == job["etag"]
        assert (job["state"], job["progress"]["epochs"]) == ("QUEUED", 1)

    def test_validate_only_describes_and_creates_nothing(self, service: Stack) -> None:
        before = len(service.http.get(JOBS, params={"page_size": 1000}).json()["items"])
        answer = service.http.post(JOBS, params={"validate_only": "true"}, json=SPEC)
        assert answer.status_code == 200
        assert answer.json()["network"] == {"parameters": 82826, "trainable_parameters": 82826, "output_shape": [10]}
        assert answer.json()["dataset"]["train"] == 1259
        assert len(service.http.get(JOBS, params={"page_size": 1000}).json()["items"]) == before

    def test_a_key_replays_the_first_answer_and_refuses_another_body(self, service: Stack) -> None:
        headers = {"Idempotency-Key": "replayed"}
        first, again = (service.http.post(JOBS, json=SPEC, headers=headers) for _ in range(2))
        assert first.json() == again.json()
        assert again.headers["location"] == first.headers["location"]
        problem(service.http.post(JOBS, json={**SPEC, "seed": 9}, headers=headers), 422, "idempotency_key_reused")

    def test_copies_of_one_keyed_submit_at_once_make_one_job(self, service: Stack) -> None:
        def answered(url: str) -> httpx2.Response | None:
            """PostgreSQL does not wait for the first of them, and says so."""
            answer = httpx2.post(url + JOBS, json=SPEC, headers={"Idempotency-Key": "at-once"}, timeout=30)
            if answer.status_code == 409:
                problem(answer, 409, "idempotency_key_in_flight")
                return None
            return answer

        def submit(number: int) -> httpx2.Response:
            url = service.urls[number % len(service.urls)]
            return until(lambda: answered(url), 30, "the submit is answered")

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(submit, range(8)))
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json()["id"] for answer in answers}) == 1

    def test_rubbish_is_explained(self, service: Stack) -> None:
        post = service.http.post
        problem(post(JOBS, content=b'{"dataset":'), 400, "malformed_json")
        problem(post(JOBS, content=b"\xff\xfe"), 400, "malformed_json")
        problem(post(JOBS), 422, "invalid_job_spec")
        body = problem(
            post(JOBS, json={"dataset": "nope", "architecture": "lenet", "epochs": "3", "x": 1}),
            422,
            "invalid_job_spec",
        )
        assert {error["pointer"] for error in body["errors"]} == {"/dataset", "/epochs", "/x"}
        problem(post(JOBS, json={**SPEC, "precision": "float8"}), 422, "invalid_job_spec")
        problem(post(JOBS, json=SPEC, headers={"Idempotency-Key": "k" * 300}), 422, "invalid_query")

    def test_a_body_of_20_mb_costs_no_memory(self, service: Stack) -> None:
        content = b'{"dataset": "' + b"a" * 20_000_000 + b'"}'
        before = memory_of_api(service)
        problem(service.http.post(JOBS, content=content), 413, "body_too_large")
        pieces = (content[start : start + 65_536] for start in range(0, len(content), 65_536))
        problem(service.http.post(JOBS, content=pieces), 413, "body_too_large")
        assert memory_of_api(service) - before < 10e6


class TestRead:
    def test_unknown_things_are_problems(self, service: Stack) -> None:
        get = service.http.get
        problem(get(f"{JOBS}/nope"), 404, "job_not_found")
        problem(get(f"{JOBS}/nope/events"), 404, "job_not_found")
        problem(get("/nowhere"), 404, "not_found")
        assert problem(service.http.delete(JOBS), 405, "method_not_allowed")
        for query in (
            {"page_size": "0"},
            {"page_size": "x"},
            {"page_token": "x"},
            {"state": "ASLEEP"},
            {"order_by": "name"},
        ):
            problem(get(JOBS, params=query), 422, "invalid_query")

    def test_pages_follow_each_other(self, service: Stack, model: str) -> None:
        seen: list[str] = []
        query: dict[str, Any] = {"page_size": 2, "order_by": "created_at"}
        while True:
            page = service.http.get(JOBS, params=query).json()
            seen += [job["id"] for job in page["items"]]
            if page["next_page_token"] is None:
                break
            query["page_token"] = page["next_page_token"]
        assert seen == sorted(set(seen))
        assert model in seen

    def test_an_unchanged_job_is_304(self, service: Stack, model: str) -> None:
        def unchanged() -> bool:
            etag = service.http.get(f"{JOBS}/{model}").headers["etag"]
            answer = service.http.get(f"{JOBS}/{model}", headers={"If-None-Match": etag})
            return (answer.status_code, answer.content) == (304, b"")

        until(unchanged, 10, "nothing is added any more to a job that has just ended")

    def test_prefer_wait_answers_when_the_job_changes(self, service: Stack) -> None:
        job = service.submit(epochs=1)
        etag = job["etag"]
        while (state := service.job(job["id"])["state"]) not in ("SUCCEEDED", "FAILED"):
            answer = service.http.get(f"{JOBS}/{job['id']}", headers={"Prefer": "wait=30", "If-None-Match": etag})
            assert answer.status_code == 200, "it changes within 30 s"
            assert answer.headers["etag"] != etag
            etag = answer.headers["etag"]
        assert state == "SUCCEEDED"


class TestEvents:
    def read(self, service: Stack, job: str, last: str | None = None) -> list[tuple[str | None, str]]:
        """(id, kind) of every event until the stream ends."""
        headers = {"Last-Event-ID": last} if last else {}
        events: list[tuple[str | None, str]] = []
        own_id, kind = None, ""
        with service.http.stream("GET", f"{JOBS}/{job}/events", headers=headers) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                own_id, kind = (value if name == "id" else own_id), (value if name == "event" else kind)
                if not line and kind:
                    events.append((own_id, kind))
                    own_id, kind = None, ""
        return events

    def test_a_stream_resumes_without_losing_or_repeating_one(self, service: Stack, model: str) -> None:
        whole = [event for event in self.read(service, model) if event[0]]
        assert [int(own_id or 0) for own_id, _ in whole] == list(range(1, len(whole) + 1))
        assert [kind for _, kind in whole].count("epoch") == 2
        assert self.read(service, model, last="3") == whole[3:]

    def test_an_id_of_another_making_is_refused(self, service: Stack, model: str) -> None:
        problem(service.http.get(f"{JOBS}/{model}/events", headers={"Last-Event-ID": "x"}), 422, "invalid_query")


class TestPredictRubbish:
    def predict(self, service: Stack, content: bytes, kind: str = "image/png", **query: Any) -> httpx2.Response:
        return service.http.post(
            "/api/v1/predict/lenet",
            content=content,
            headers={"Content-Type": kind},
            params={"dataset": "digits", **query},
        )

    def test_what_is_no_image_is_a_problem(self, service: Stack, model: str) -> None:
        problem(self.predict(service, b"Dear service, please classify me."), 422, "invalid_image")
        problem(self.predict(service, b""), 422, "invalid_image")
        gif = io.BytesIO()
        Image.new("RGB", (8, 8)).save(gif, "GIF")
        assert self.predict(service, gif.getvalue()).status_code in (415, 422)

    def test_a_pixel_bomb_is_refused_before_it_costs_memory(self, service: Stack, model: str) -> None:
        before = memory_of_api(service)
        body = problem(self.predict(service, png_claiming(30_000, 30_000)), 422, "invalid_image")
        assert "30000" in body["detail"].replace(",", "")
        assert memory_of_api(service) - before < 100e6

    def test_instances_of_the_wrong_make_are_problems(self, service: Stack, model: str) -> None:
        def send(value: Any) -> httpx2.Response:
            return self.predict(
                service, value if isinstance(value, bytes) else json.dumps(value).encode(), "application/json"
            )

        problem(send(b'{"instances": ['), 400, "malformed_json")
        pixel_rows = [[[0]] * 32] * 32
        unusable: list[Any] = [
            {},
            [],
            {"instances": []},
            {"instances": "x"},
            {"instances": [[["a"]]]},
            {"instances": [[[[0, 1]] * 32] * 32]},
            {"instances": [[[[300]] * 32] * 32]},
            {"instances": [[[[0]] * 31, [[0]] * 32]]},
            {"instances": [pixel_rows], "x": 1},
        ]
        for value in unusable:
            assert send(value).status_code == 422, value
        assert send({"instances": [pixel_rows, pixel_rows]}).status_code == 200

    def test_queries_that_cannot_be_met_are_problems(self, service: Stack, model: str) -> None:
        blank = png_of(8, 8)
        assert self.predict(service, blank, top=3).status_code == 200
        assert len(self.predict(service, blank, top=3).json()["predictions"][0]["top"]) == 3
        assert self.predict(service, blank, top=0).status_code == 422
        problem(self.predict(service, blank, version=999), 404, "model_not_found")
        problem(self.predict(service, blank, dataset="nowhere"), 404, "no_model")
        problem(
            service.http.post("/api/v1/predict/vgg", content=blank, headers={"Content-Type": "image/png"}),
            404,
            "no_model",
        )
        assert service.http.get("/api/v1/predict/lenet").status_code == 405

    def test_a_photograph_of_12_megapixels_is_answered(self, service: Stack, model: str) -> None:
        photograph = io.BytesIO()
        Image.effect_mandelbrot((4000, 3000), (-2, -1.5, 1, 1.5), 20).convert("RGB").save(photograph, "JPEG")
        answer = self.predict(service, photograph.getvalue(), "image/jpeg")
        assert answer.status_code == 200, answer.text

    def test_several_files_are_answered_in_order(self, service: Stack, model: str) -> None:
        files = [("file", (f"{n}.png", png_of(8, 8, n * 80), "image/png")) for n in range(3)]
        answer = service.http.post("/api/v1/predict/lenet", params={"dataset": "digits"}, files=files)
        together = answer.json()["predictions"]
        alone = [self.predict(service, png_of(8, 8, n * 80)).json()["predictions"][0] for n in range(3)]
        assert [entry["label"] for entry in together] == [entry["label"] for entry in alone]

    def test_the_service_still_works(self, service: Stack, model: str) -> None:
        assert service.http.get("/readyz").json()["status"] == "ready"
        assert self.predict(service, png_of(8, 8)).status_code == 200


class TestProtocols:
    def test_all_give_a_trained_model_the_same_say(self, service: Stack, model: str) -> None:
        picture = Image.effect_mandelbrot((40, 30), (-2, -1.5, 1, 1.5), 20)  # resized by all in the same way
        file = io.BytesIO()
        picture.save(file, "PNG")
        pixels = np.asarray(picture)[np.newaxis, :, :, np.newaxis]

        top = service.http.post(
            "/api/v1/predict/lenet",
            params={"dataset": "digits", "top": 10},
            content=file.getvalue(),
            headers={"Content-Type": "image/png"},
        ).json()["predictions"][0]["top"]
        by_label = {entry["label"]: entry["probability"] for entry in top}
        expected = pytest.approx([by_label[str(digit)] for digit in range(10)], abs=1e-5)

        encoded = base64.b64encode(file.getvalue()).decode()
        for document in ({"instances": [{"b64": encoded}]}, {"instances": pixels.tolist()}):
            answer = service.http.post("/v1/models/digits.lenet:predict", json=document)
            assert answer.json()["predictions"][0]["probabilities"] == expected

        with InferenceServerClient(service.url.removeprefix("http://")) as client:
            for array, datatype in ((pixels, "UINT8"), (np.array([file.getvalue()], dtype=np.object_), "BYTES")):
                tensor = InferInput("pixels", list(array.shape), datatype)
                tensor.set_data_from_numpy(array)
                result = client.infer("digits.lenet", [tensor])
                assert result.as_numpy("probabilities")[0].tolist() == expected


class TestPages:
    def test_docs_need_no_network(self, service: Stack) -> None:
        page = service.http.get("/docs").text
        assert "://" not in page.replace("http://www.w3.org", "")
        assert service.http.get("/docs/assets/swagger-ui-bundle.js").status_code == 200

    def test_openapi_names_every_path(self, service: Stack) -> None:
        paths = service.http.get("/openapi.json").json()["paths"]
        assert {
            "/api/v1/jobs",
            "/api/v1/jobs/{job_id}:cancel",
            "/api/v1/predict/{architecture}",
            "/v2/models/{model}/infer",
            "/readyz",
        } <= set(paths)


def png_of(width: int, height: int, value: int = 0) -> bytes:
    file = io.BytesIO()
    Image.new("L", (width, height), value).save(file, "PNG")
    return file.getvalue()
