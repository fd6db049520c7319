"""Artifacts on S3: the whole way of a job, and a server that goes away or refuses while it trains."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pictures import SHAPES, picture, zip_of_shapes
from servers import S3, Postgres
from stack import Stack, running_stack, until
from training import SLOW, assert_whole, resumption, trainer_of, wait_epochs
from uploads import upload, wait_imported


class S3Stack(Stack):
    """A kerasd whose artifacts lie in a bucket of its own."""

    def __init__(self, folder: Path, s3: S3) -> None:
        environment = s3.environment()
        super().__init__(folder, KERASD_STANDBY="false", **environment)
        self.bucket = environment["KERASD_ARTIFACTS_URL"]


@pytest.fixture
def stack(tmp_path: Path, s3: S3) -> Iterator[S3Stack]:
    stack = S3Stack(tmp_path, s3)
    try:
        stack.start_all()
        yield stack
    finally:
        stack.close()


def classify_disc(stack: Stack) -> dict[str, Any]:
    answer = stack.http.post(
        "/api/v1/predict/lenet?dataset=shapes", content=picture("disc", 999), headers={"Content-Type": "image/png"}
    )
    body: dict[str, Any] = answer.raise_for_status().json()
    return body


@pytest.mark.long
class TestJob:
    def test_an_upload_is_trained_on_killed_resumed_published_and_predicts(self, stack: S3Stack, s3: S3) -> None:
        assert upload(stack, "shapes", zip_of_shapes(60)).status_code == 202
        assert wait_imported(stack, "shapes")["state"] == "READY"
        assert stack.http.get("/api/v1/datasets/shapes/images/train/61").status_code == 200
        job = stack.submit(**{**SLOW, "dataset": "shapes", "batch_size": 1})["id"]
        wait_epochs(stack, job, 2)
        trainer_of(stack, job).kill()
        ended = stack.wait_for(job, "SUCCEEDED")
        assert ended["attempt"] == 2
        assert_whole(stack, job, 6)
        assert resumption(stack, job)["resumed_after_epoch"] >= 2
        assert {entry["label"] for entry in classify_disc(stack)["predictions"][0]["top"]} == set(SHAPES)
        kept = [key.partition("/")[0] for key in s3.keys(stack.bucket)]
        assert set(kept) == {"datasets", "local"}, "uploads and checkpoints are gone"
        assert not (stack.settings.data_dir / "artifacts").exists()


@pytest.mark.long
class TestTrouble:
    def test_a_server_that_is_away_for_a_while_costs_nothing(self, stack: S3Stack, s3: S3) -> None:
        stack.wait_for(stack.submit(epochs=1)["id"], "SUCCEEDED")
        job = stack.submit(**SLOW)["id"]
        wait_epochs(stack, job, 1)
        with s3.away():
            done = len(stack.epochs(job))
            until(lambda: self.stands_still(stack, job), 30, "the trainer waits")
            assert len(stack.epochs(job)) <= done + 1
            body = {"instances": [[[[0]] * 32] * 32]}
            assert stack.http.post("/api/v1/predict/lenet", json=body).status_code == 200
        assert stack.wait_for(job, "SUCCEEDED")["attempt"] == 1
        assert_whole(stack, job, 6)

    def test_one_that_stays_away_gives_the_job_back_which_then_goes_on(self, stack: S3Stack, s3: S3) -> None:
        job = stack.submit(**SLOW, max_attempts=1)["id"]
        wait_epochs(stack, job, 1)
        with s3.away():
            until(lambda: stack.job(job)["attempt"] > 1, 120, "it was given back", lambda: stack.log("worker"))
            given_back = [event for event in stack.events(job) if event.get("state") == "QUEUED"][-1]
            assert "the artifact store does not answer" in given_back["detail"]
        stack.wait_for(job, "SUCCEEDED")
        assert_whole(stack, job, 6)

    def test_one_that_refuses_ends_the_job_with_that_reason(self, stack: S3Stack, s3: S3) -> None:
        job = stack.submit(**SLOW)["id"]
        wait_epochs(stack, job, 1)
        with s3.refusing():
            ended = stack.wait_for(job, "FAILED")
        assert ended["reason"] == "INTERNAL_ERROR"
        assert "the artifact store refuses" in ended["detail"]
        stack.http.post(f"/api/v1/jobs/{job}:retry")
        stack.wait_for(job, "SUCCEEDED")
        assert_whole(stack, job, 6)

    @staticmethod
    def stands_still(stack: S3Stack, job: str) -> bool:
        """Whether the epoch that ran when the server went away has been trained."""
        progress = stack.job(job)["progress"]
        return bool(progress["step"] == progress["steps"])


@pytest.mark.long
class TestMigrateData:
    def test_a_laptop_goes_on_as_a_cluster(self, tmp_path: Path, s3: S3, postgres: Postgres) -> None:
        with running_stack(tmp_path / "laptop") as laptop:
            assert upload(laptop, "shapes", zip_of_shapes(60)).status_code == 202
            assert wait_imported(laptop, "shapes")["state"] == "READY"
            done = laptop.wait_for(laptop.submit(dataset="shapes", epochs=2)["id"], "SUCCEEDED")
            paused = laptop.submit(**{**SLOW, "dataset": "shapes", "batch_size": 1})["id"]
            wait_epochs(laptop, paused, 1)
            laptop.http.post(f"/api/v1/jobs/{paused}:pause")
            laptop.wait_for(paused, "PAUSED")
            laptop.kill("worker", signal.SIGTERM)  # it still stores the last lines of the log
            jobs = laptop.http.get("/api/v1/jobs").json()
        with postgres.database(migrated=True) as url:
            environment = {**s3.environment(), "KERASD_DATABASE_URL": url}
            subprocess.run(
                [sys.executable, "-m", "cli.main", "migrate-data", "--from", str(laptop.settings.data_dir)],
                env={**os.environ, **environment},
                check=True,
                timeout=120,
            )
            with running_stack(tmp_path / "cluster", environment) as cluster:
                assert cluster.http.get("/api/v1/jobs").json() == jobs
                answer = classify_disc(cluster)
                assert answer["model"]["version"] == done["model"]["version"]
                cluster.http.post(f"/api/v1/jobs/{paused}:resume")
                new = cluster.submit(dataset="shapes", epochs=1)["id"]
                assert cluster.wait_for(paused, "SUCCEEDED")["attempt"] == 2
                assert_whole(cluster, paused, 6)
                assert resumption(cluster, paused)["resumed_after_epoch"] >= 1
                assert cluster.wait_for(new, "SUCCEEDED")["model"]["version"] > 1
