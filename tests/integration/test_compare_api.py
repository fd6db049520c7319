"""/api/v1/compare over HTTP: what differs, figures against a baseline, curves, faults."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rows
from answering import problem
from sqlalchemy import insert
from starlette.testclient import TestClient

from core.database import Database
from core.settings import Settings
from core.tables import LOCAL_TENANT, EpochRow, utc_now
from service.app import create_app
from service.comparisons.sampling import POINTS_OF_A_JOB
from service.comparisons.selection import MOST_JOBS
from service.protocol import LARGEST_HEAD

COMPARE = "/api/v1/compare"
BEST = 3
"""the epoch that trained jobs reach most in"""


@pytest.fixture
def engine() -> str:
    """Where the queries are the same, one engine will do."""
    return "sqlite"


@pytest.fixture
def api(database_url: str, tmp_path: Path) -> Iterator[TestClient]:
    settings = Settings(data_dir=tmp_path, database_url=database_url, broker_url="redis://127.0.0.1:1/0")
    with TestClient(create_app(settings)) as client:
        yield client


def trained(database: Database, epochs: int, gain: float = 0.0, **spec: Any) -> str:
    """A job with so many epochs, of 2 s and alternately 100 and 300 images a second."""
    job = rows.submit(database, **spec)
    history = [
        {
            "epoch": number,
            "loss": 1 / number,
            "accuracy": 0.5 + gain,
            "val_loss": None if number == 1 else 2 / number,
            "val_accuracy": gain + (0.6 if number == BEST else 0.4),
            "learning_rate": 0.001,
            "seconds": 2.0,
            "images_per_second": 300.0 if number % 2 else 100.0,
            "phase": 1,
        }
        for number in range(1, epochs + 1)
    ]
    own = {"job_id": job, "tenant_id": LOCAL_TENANT, "attempt": 1, "created_at": utc_now()}
    with database.transaction() as session:
        session.execute(insert(EpochRow), [{**own, **values} for values in history])
    rows.write(database, job, state="SUCCEEDED", best_epoch=history[BEST - 1])
    return job


def compared(api: TestClient, *jobs: str, **query: Any) -> dict[str, Any]:
    answer = api.get(COMPARE, params={"jobs": ",".join(jobs), **query})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


class TestFields:
    def test_only_those_that_differ_are_told_and_absent_is_not_null(self, api: TestClient, database: Database) -> None:
        adam = rows.submit(database, batch_size=32, tags={"a": "1"})
        sgd = rows.submit(database, batch_size=64, tags={"a": "1"}, optimizer={"name": "sgd", "learning_rate": 0.001})
        answer = compared(api, adam, sgd)
        assert {"/batch_size", "/optimizer/name", "/optimizer/momentum", "/optimizer/beta_1"} < {*answer["fields"]}
        assert not {"/optimizer/learning_rate", "/epochs", "/tags/a", "/optimizer", "/seed"} & {*answer["fields"]}
        first, second = (job["spec"] for job in answer["jobs"])
        assert (first["/batch_size"], second["/batch_size"]) == (32, 64)
        assert "/optimizer/momentum" not in first
        assert second["/optimizer/momentum"] == 0.0

    def test_of_one_job_or_equal_ones_none_differs(self, api: TestClient, database: Database) -> None:
        one, same = rows.submit(database), rows.submit(database)
        assert compared(api, one)["fields"] == compared(api, one, same)["fields"] == []


class TestSums:
    @pytest.fixture(params=["sqlite", "postgres"])
    def engine(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    def test_they_are_of_the_best_epoch_with_sums_over_all(self, api: TestClient, database: Database) -> None:
        answer = compared(api, trained(database, 4))
        metrics = answer["jobs"][0]["metrics"]
        assert (metrics["epochs"], metrics["best_epoch"], metrics["seconds"]) == (4, BEST, 8.0)
        assert (metrics["train_accuracy"], metrics["val_accuracy"]) == (0.5, 0.6)
        assert metrics["images_per_second"] == pytest.approx(150)  # as many images at 100 a second as at 300
        assert metrics["parameters"] == 82_826
        assert metrics["test_accuracy"] is None
        assert answer["objective"] == {"metric": "val_accuracy", "direction": "max"}


class TestDeltas:
    def test_they_are_to_the_baseline_and_null_where_a_figure_is_missing(
        self, api: TestClient, database: Database
    ) -> None:
        plain, better, waiting = trained(database, 4), trained(database, 5, gain=0.25), rows.submit(database)
        answer = compared(api, plain, better, waiting)
        assert answer["baseline"] == plain
        own, other, none = (job["deltas"] for job in answer["jobs"])
        assert (own["val_accuracy"], own["epochs"], own["test_loss"]) == (0, 0, None)
        assert (other["val_accuracy"], other["epochs"], other["parameters"]) == (0.25, 1, 0)
        assert (none["val_accuracy"], none["seconds"], none["epochs"]) == (None, None, -4)
        answer = compared(api, plain, better, baseline=better)
        assert answer["jobs"][0]["deltas"]["val_accuracy"] == -0.25


class TestCurves:
    @pytest.fixture(params=["sqlite", "postgres"])
    def engine(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    def test_short_ones_are_whole(self, api: TestClient, database: Database) -> None:
        answer = compared(api, trained(database, 4), trained(database, 3), rows.submit(database))
        assert answer["downsampled"] is None
        curves = [job["curves"] for job in answer["jobs"]]
        assert [each["epochs"] for each in curves] == [[1, 2, 3, 4], [1, 2, 3], []]
        assert curves[0]["val_loss"] == [None, 1.0, 2 / 3, 0.5]
        assert curves[2]["loss"] == []

    def test_long_ones_are_thinned_out_and_it_is_said(self, api: TestClient, database: Database) -> None:
        long, short = trained(database, POINTS_OF_A_JOB + 3), trained(database, 5)
        answer = compared(api, long, short)
        first, second = (job["curves"] for job in answer["jobs"])
        even = [*range(2, POINTS_OF_A_JOB + 3, 2)]
        assert first["epochs"] == sorted({1, BEST, POINTS_OF_A_JOB + 3, *even})
        assert first["val_accuracy"][first["epochs"].index(BEST)] == 0.6
        assert {len(column) for column in first.values()} == {len(first["epochs"])}
        assert second["epochs"] == [1, 2, 3, 4, 5]
        told = answer["downsampled"]
        assert (told["epochs"], told["points"]) == (POINTS_OF_A_JOB + 8, len(first["epochs"]) + 5)
        assert told["method"] == (
            "stride: of a job with more than 1,000 epochs those that 2 divides, the first, last and best"
        )


class TestForms:
    def test_csv_has_a_line_a_job(self, api: TestClient, database: Database) -> None:
        one, other = trained(database, 4), trained(database, 4, gain=0.25, batch_size=64)
        answer = api.get(COMPARE, params={"jobs": [one, other], "format": "csv"})
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        first, second = csv.DictReader(io.StringIO(answer.text))
        assert (first["job"], first["/batch_size"], first["delta_val_accuracy"]) == (one, "32", "0.0")
        assert (second["/batch_size"], second["val_accuracy"], second["delta_val_accuracy"]) == ("64", "0.85", "0.25")
        assert second["test_accuracy"] == ""

    def test_or_a_line_an_epoch(self, api: TestClient, database: Database) -> None:
        job = trained(database, 4)
        text = api.get(COMPARE, params={"jobs": job, "format": "curves_csv"}).text
        assert text.splitlines()[:2] == ["job,epoch,loss,accuracy,val_loss,val_accuracy", f"{job},1,1.0,0.5,,0.4"]

    def test_pictures(self, api: TestClient, database: Database) -> None:
        jobs = ",".join((trained(database, 4), rows.submit(database)))
        svg = api.get(COMPARE, params={"jobs": jobs, "format": "svg"})
        assert svg.headers["content-type"] == "image/svg+xml"
        assert svg.content.startswith(b"<?xml")
        assert api.get(COMPARE, params={"jobs": jobs, "format": "png"}).content.startswith(b"\x89PNG")


class TestFaults:
    def told(self, api: TestClient, **query: Any) -> list[tuple[str, str]]:
        body = problem(api.get(COMPARE, params=query), 422, "invalid_query")
        return [(fault["pointer"], fault["code"]) for fault in body["errors"]]

    def test_every_unknown_id_and_every_other_fault_is_told(self, api: TestClient, database: Database) -> None:
        job = rows.submit(database)
        assert self.told(api, jobs=[f"{job},nope", f"nix,,{job}"], baseline="none") == [
            ("/query/jobs/3", "invalid"),
            ("/query/jobs/4", "duplicate"),
            ("/query/baseline", "invalid"),
            ("/query/jobs/1", "job_not_found"),
            ("/query/jobs/2", "job_not_found"),
        ]

    def test_an_empty_list_and_too_long_a_one(self, api: TestClient) -> None:
        for query in ({}, {"jobs": ""}, {"jobs": ["", ""]}):
            assert self.told(api, **query) == [("/query/jobs", "invalid")]
        body = problem(api.get(COMPARE, params={"jobs": "x," * MOST_JOBS + "x"}), 422, "invalid_query")
        assert [fault["detail"] for fault in body["errors"]] == ["names 1,001 jobs; 1,000 can be compared at once"]

    def test_another_tenants_job_is_unknown(self, api: TestClient, database: Database) -> None:
        assert self.told(api, jobs=rows.submit(database, tenant="other")) == [("/query/jobs/0", "job_not_found")]


def test_the_longest_list_leaves_room_for_headers() -> None:
    """With every comma escaped."""
    assert len(COMPARE) + MOST_JOBS * len("%2C" + 32 * "f") < LARGEST_HEAD - (16 << 10)
