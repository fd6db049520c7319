"""The same main job on PostgreSQL, with two workers."""

from __future__ import annotations

from pathlib import Path

from servers import Postgres
from stack import Stack


class TestPostgres:
    def test_jobs_are_trained_once_each_and_served(self, postgres: Postgres, tmp_path: Path) -> None:
        with postgres.database(migrated=False) as url:
            stack = Stack(tmp_path, KERASD_DATABASE_URL=url)
            try:
                stack.start_all()
                stack.start("worker", name="second-worker")
                jobs = [stack.submit(epochs=2, seed=seed)["id"] for seed in range(4)]
                ended = [stack.wait_for(job, "SUCCEEDED") for job in jobs]
                assert {job["attempt"] for job in ended} == {1}
                assert sorted(job["model"]["version"] for job in ended) == [1, 2, 3, 4]
                workers = {
                    event["worker"] for job in jobs for event in stack.events(job) if event.get("cause") == "claimed"
                }
                assert len(workers) == 2
                answer = stack.http.post("/api/v1/predict/lenet", json={"instances": [[[[0]] * 32] * 32]})
                best = max(ended, key=lambda job: (job["best_epoch"]["val_accuracy"], -job["model"]["version"]))
                assert answer.json()["model"]["version"] == best["model"]["version"]
            finally:
                stack.close()
