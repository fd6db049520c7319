"""Jobs side by side over HTTP: what differs, how far from the baseline, and curves that say what was left out."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from rows import EVALUATION, epoch, submit, write
from starlette.testclient import TestClient

from core.database import Database
from core.settings import Settings
from core.tables import LOCAL_TENANT, EpochRow, utc_now
from service.app import create_app
from service.comparisons.picture import MOST_COLORED
from service.comparisons.reading import MOST_JOBS

COMPARE = "/api/v1/compare"


@pytest.fixture
def http(database: Database, database_url: str, tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(
        create_app(Settings(data_dir=tmp_path / "data", database_url=database_url)), raise_server_exceptions=False
    ) as client:
        yield client


def compare(http: TestClient, *jobs: str, **params: Any) -> Any:
    answer = http.get(COMPARE, params={"jobs": ",".join(jobs), **params})
    assert answer.status_code == 200, answer.text
    return answer.json()


def faults(http: TestClient, **params: Any) -> list[tuple[str, str]]:
    answer = http.get(COMPARE, params=params)
    assert answer.status_code == 422, answer.text
    return [(fault["pointer"], fault["detail"]) for fault in answer.json()["errors"]]


def store_epochs(database: Database, job: str, epochs: int) -> None:
    with database.transaction() as session:
        session.add_all(
            EpochRow(
                job_id=job,
                epoch=number,
                tenant_id=LOCAL_TENANT,
                attempt=1,
                loss=1.0 / number,
                accuracy=0.5,
                val_loss=None,
                val_accuracy=0.4,
                learning_rate=0.01,
                seconds=2.0,
                images_per_second=100.0,
                created_at=utc_now(),
            )
            for number in range(1, epochs + 1)
        )


class TestFields:
    def test_only_those_that_differ_with_each_jobs_value(self, http: TestClient, database: Database) -> None:
        adam = submit(database)
        sgd = submit(database, optimizer={"name": "sgd", "momentum": 0.9}, batch_size=64)
        fields = {field["pointer"]: field["values"] for field in compare(http, adam, sgd)["fields"]}
        assert fields["/batch_size"] == {adam: 32, sgd: 64}
        assert fields["/optimizer/name"] == {adam: "adam", sgd: "sgd"}
        assert fields["/optimizer/momentum"] == {sgd: 0.9}
        assert "/epochs" not in fields

    def test_none_for_equal_specs_and_for_one_job(self, http: TestClient, database: Database) -> None:
        first, second = submit(database), submit(database)
        assert compare(http, first, second)["fields"] == []
        assert compare(http, first)["fields"] == []


class TestMetrics:
    def test_deltas_are_from_the_baseline_and_null_where_a_figure_is_missing(
        self, http: TestClient, database: Database
    ) -> None:
        worse, better = submit(database), submit(database)
        store_epochs(database, worse, 1)
        write(database, worse, best_epoch=asdict(epoch(1, val_accuracy=0.5)), evaluation=EVALUATION)
        store_epochs(database, better, 2)
        write(database, better, best_epoch=asdict(epoch(1, val_accuracy=0.7)))
        answer = compare(http, better, worse, baseline=worse)
        own, base = answer["jobs"]
        assert answer["baseline"] == base["id"] == worse
        assert own["metrics"]["best_epoch"] == 1
        assert own["metrics"]["seconds"] == 4.0
        assert own["metrics"]["images_per_second"] == pytest.approx(100)
        assert own["deltas"]["val_accuracy"] == pytest.approx(0.2)
        assert own["deltas"]["epochs"] == 1
        assert own["deltas"]["test_accuracy"] is None
        assert base["metrics"]["test_accuracy"] == 0.9
        assert base["deltas"]["val_accuracy"] == 0

    def test_the_first_job_is_the_baseline_unless_told(self, http: TestClient, database: Database) -> None:
        first, second = submit(database), submit(database)
        assert compare(http, second, first)["baseline"] == second


class TestCurves:
    def test_every_epoch_of_short_histories(self, http: TestClient, database: Database) -> None:
        first, second = submit(database), submit(database)
        store_epochs(database, first, 3)
        answer = compare(http, first, second)
        assert answer["downsampled"] is None
        assert [curve["epoch"] for curve in answer["curves"]] == [[1, 2, 3], []]
        assert answer["curves"][0]["loss"] == [1.0, 0.5, 1 / 3]
        assert answer["curves"][0]["val_loss"] == [None] * 3

    def test_long_ones_keep_first_best_and_last_on_common_epochs(self, http: TestClient, database: Database) -> None:
        long, short = submit(database), submit(database)
        store_epochs(database, long, 1000)
        write(database, long, best_epoch=asdict(epoch(2)))
        store_epochs(database, short, 10)
        answer = compare(http, long, short)
        long_curve, short_curve = (curve["epoch"] for curve in answer["curves"])
        assert long_curve[:4] == [1, 2, 5, 9]
        assert long_curve[-2:] == [997, 1000]
        assert short_curve == [1, 5, 9, 10]
        said = answer["downsampled"]
        assert (said["from"], said["to"], said["stride"]) == (1010, len(long_curve) + len(short_curve), 4)


class TestFiles:
    def test_csv_has_a_line_for_each_job(self, http: TestClient, database: Database) -> None:
        jobs = [submit(database, batch_size=size) for size in (32, 64)]
        answer = http.get(COMPARE, params={"jobs": jobs, "format": "csv"})
        assert answer.headers["content-type"].startswith("text/csv")
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert [(row["job"], row["/batch_size"], row["val_loss"]) for row in rows] == [
            (jobs[0], "32", ""),
            (jobs[1], "64", ""),
        ]

    def test_few_jobs_have_a_legend_entry_each(self, http: TestClient, database: Database) -> None:
        jobs = [submit(database, tags={"$": f"$x_{number}"}) for number in range(2)]
        for job in jobs:
            store_epochs(database, job, 3)
        answer = http.get(COMPARE, params={"jobs": ",".join(jobs), "format": "svg"})
        assert answer.headers["content-type"] == "image/svg+xml"
        for job in jobs:
            assert job[-8:] in answer.text
        assert "(baseline)" in answer.text

    def test_of_many_the_legend_tells_how_many_are_grey(self, http: TestClient, database: Database) -> None:
        jobs = [submit(database, seed=seed) for seed in range(MOST_COLORED + 1)]
        for job in jobs:
            store_epochs(database, job, 2)
        answer = http.get(COMPARE, params={"jobs": ",".join(jobs), "format": "svg"})
        assert "other jobs (coloured: best val_accuracy)" in answer.text


class TestFaults:
    def test_every_unknown_job_is_named(self, http: TestClient, database: Database) -> None:
        job = submit(database)
        assert faults(http, jobs=f"{job},nobody,nothing") == [
            ("/query/jobs", "there is no job 'nobody'"),
            ("/query/jobs", "there is no job 'nothing'"),
        ]

    def test_another_tenants_job_is_unknown(self, http: TestClient, database: Database) -> None:
        other = submit(database, tenant="other")
        assert faults(http, jobs=other) == [("/query/jobs", f"there is no job {other!r}")]

    @pytest.mark.parametrize("params", [{}, {"jobs": ""}, {"jobs": " , ,"}])
    def test_no_job(self, http: TestClient, params: dict[str, str]) -> None:
        assert faults(http, **params) == [("/query/jobs", "names no job")]

    def test_a_repeated_job_and_a_baseline_outside(self, http: TestClient) -> None:
        assert faults(http, jobs=["a,b", "a"], baseline="c") == [
            ("/query/jobs", "names 'a' 2 times"),
            ("/query/baseline", "'c' is not one of the jobs"),
        ]

    def test_too_many(self, http: TestClient) -> None:
        jobs = ",".join(map(str, range(MOST_JOBS + 1)))
        assert faults(http, jobs=jobs) == [("/query/jobs", "names 1,001 jobs; at most 1,000 are compared at once")]
