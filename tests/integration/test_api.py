"""The whole application in-process, on both engines: values that no route expects, and what browsers send."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from answering import problem
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from core.database import Database
from core.settings import Settings
from service.app import create_app
from service.problems import status_of

JOBS = "/api/v1/jobs"
SPEC = {"dataset": "digits", "architecture": "lenet"}


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, database_url=database_url, broker_url="redis://127.0.0.1:1/0")


@pytest.fixture
def api(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings)) as client:
        yield client


def token(*content: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


class TestValues:
    @pytest.mark.parametrize("version", ["0", "-1", str(2**31), "9999999999999999999", "9" * 5000])
    def test_a_version_is_bounded(self, api: TestClient, version: str) -> None:
        problem(api.request("GET", f"/api/v1/models/m/versions/{version}"), 422, "invalid_query")
        answer = api.request("POST", f"/api/v1/predict/lenet?dataset=digits&version={version}")
        problem(answer, 422, "invalid_query")

    def test_the_largest_version_is_only_unknown(self, api: TestClient) -> None:
        problem(api.request("GET", f"/api/v1/models/m/versions/{2**31 - 1}"), 404, "model_not_found")
        answer = api.request("POST", f"/api/v1/predict/lenet?dataset=digits&version={2**31 - 1}")
        problem(answer, 404, "model_not_found")

    @pytest.mark.parametrize(
        "content",
        [
            ("0001-01-01T00:00:00+14:00", "a"),
            ("9999-12-31T23:59:59-14:00", "a"),
            ("2026-01-01T00:00:00", "a"),
            ("2026-01-01T00:00:00+00:00", "a\0b"),
            ("2026-01-01T00:00:00+00:00", 3),
            ("2026-01-01T00:00:00+00:00",),
            (3, "a"),
        ],
    )
    def test_a_page_token_of_another_making_is_refused(self, api: TestClient, content: tuple[Any, ...]) -> None:
        problem(api.request("GET", JOBS, params={"page_token": token(*content)}), 422, "invalid_query")

    @pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59.999999+00:00"])
    def test_a_token_at_the_ends_of_the_calendar_is_one(self, api: TestClient, moment: str) -> None:
        assert api.request("GET", JOBS, params={"page_token": token(moment, "a")}).json()["items"] == []

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", f"{JOBS}/a%00b"),
            ("GET", f"{JOBS}?dataset=%00"),
            ("GET", f"{JOBS}?tag=a%00"),
            ("GET", "/api/v1/models/%00"),
            ("POST", f"{JOBS}/%00:cancel"),
            ("POST", "/api/v1/predict/le%00net"),
            ("POST", "/api/v1/predict/lenet?version=1&dataset=a%00"),
        ],
    )
    def test_a_nul_reaches_no_database(self, api: TestClient, method: str, path: str) -> None:
        problem(api.request(method, path), 422, "invalid_query")


class TestUnknownParameters:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", f"{JOBS}?satte=QUEUED"),
            ("GET", f"{JOBS}/a?wait=3"),
            ("GET", f"{JOBS}/a/events?since=3"),
            ("GET", f"{JOBS}/a/epochs?limit=3"),
            ("GET", f"{JOBS}/a/curves.png?width=3"),
            ("POST", f"{JOBS}/a:cancel?force=true"),
            ("GET", "/api/v1/models?x"),
            ("GET", "/api/v1/architectures/lenet?class=3"),
        ],
    )
    def test_they_are_named(self, api: TestClient, method: str, path: str) -> None:
        body = problem(api.request(method, path), 422, "invalid_query")
        name = path.partition("?")[2].partition("=")[0]
        assert [(fault["pointer"], fault["code"]) for fault in body["errors"]] == [
            (f"/query/{name}", "unknown_parameter")
        ]

    def test_a_misspelt_validate_only_creates_no_job(self, api: TestClient) -> None:
        body = problem(api.request("POST", f"{JOBS}?validateonly=true", json=SPEC), 422, "invalid_query")
        assert "validate_only" in body["errors"][0]["detail"]
        assert api.request("GET", JOBS).json()["items"] == []

    def test_the_known_ones_pass(self, api: TestClient) -> None:
        query = "state=QUEUED&architecture=lenet&dataset=digits&tag=a&page_size=3&order_by=created_at"
        assert api.request("GET", f"{JOBS}?{query}").status_code == 200
        assert api.request("GET", "/api/v1/architectures/lenet?classes=3&input_shape=32,32,1").status_code == 200
        problem(api.request("GET", f"{JOBS}/a/events?after=3"), 404, "job_not_found")

    def test_probes_may_carry_what_they_like(self, api: TestClient) -> None:
        assert api.request("GET", "/livez?nocache=1").status_code == 200


class TestBrowsers:
    def test_another_site_creates_no_job(self, api: TestClient) -> None:
        page = {"Origin": "https://evil.example", "Content-Type": "text/plain"}
        for headers in (page, {**page, "Sec-Fetch-Site": "cross-site"}):
            problem(api.request("POST", JOBS, json=SPEC, headers=headers), 403, "cross_site_request")
        assert api.request("GET", JOBS).json()["items"] == []

    def test_predictions_are_open_to_them(self, api: TestClient) -> None:
        headers = {"Origin": "https://other.example", "Sec-Fetch-Site": "cross-site"}
        problem(api.request("POST", "/api/v1/predict/lenet", headers=headers), 404, "no_model")


class TestHead:
    @pytest.mark.parametrize(
        "path", ["/livez", "/readyz", JOBS, "/api/v1/architectures/lenet", "/docs", "/openapi.json"]
    )
    def test_it_is_get_without_the_body(self, api: TestClient, path: str) -> None:
        get, head = (api.request(method, path) for method in ("GET", "HEAD"))
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == get.headers["content-length"]

    def test_errors_are_the_same(self, api: TestClient) -> None:
        assert api.request("HEAD", f"{JOBS}/nope").status_code == 404
        assert api.request("HEAD", "/api/v1/predict/lenet").status_code == 405


class TestFailures:
    def test_a_mistake_of_ours_is_500_and_logged_once(self, api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*_: Any) -> None:
            raise RuntimeError("it broke")

        monkeypatch.setattr("service.models.routes.list_models", broken)
        with capture_logs() as log:
            body = problem(api.request("GET", "/api/v1/models"), 500, "internal_error")
        assert "broke" not in body["detail"]
        assert [entry["event"] for entry in log if "exc_info" in entry] == ["unexpected error"]

    @pytest.mark.parametrize("engine", ["postgres"], indirect=True)
    @pytest.mark.parametrize(
        ("statement", "status"),
        [
            ("SELECT CAST('x' AS integer)", 500),
            ("SELECT 1 / 0", 500),
            ("SELEC", 500),
            ("SELECT * FROM not_migrated_yet", 503),
            ("SELECT not_migrated_yet FROM jobs", 503),
            ("SELECT pg_terminate_backend(pg_backend_pid())", 503),
        ],
    )
    def test_only_what_passes_is_worth_another_try(self, database: Database, statement: str, status: int) -> None:
        with pytest.raises(DBAPIError) as caught, database.snapshot() as session:
            session.execute(text(statement))
        assert status_of(caught.value) == status

    def test_a_database_that_is_away_is_503(self, tmp_path: Path) -> None:
        away = create_app(Settings(data_dir=tmp_path, database_url="postgresql+psycopg://x@127.0.0.1:1/x"))
        with TestClient(away) as client:
            answer = client.get(JOBS)
        problem(answer, 503, "database_unavailable")
        assert answer.headers["retry-after"] == "1"
