"""A study whose worker and API are killed half-way: every run once, and nothing lost."""

from __future__ import annotations

from typing import Any

import pytest
from stack import Stack, until

STUDY = {
    "name": "which rate?",
    "base": {"dataset": "digits", "architecture": "lenet", "epochs": 2, "batch_size": 128},
    "space": {"optimizer.learning_rate": [0.001, 0.01]},
    "seeds": 2,
}
SECONDS = 120


def study_of(stack: Stack, own_id: str) -> dict[str, Any]:
    study: dict[str, Any] = stack.http.get(f"/api/v1/studies/{own_id}").json()
    return study


@pytest.mark.timeout(300)
def test_every_run_ends_once_whoever_is_killed(stack: Stack) -> None:
    stack.start_all()
    stack.wait_ready()
    own_id = stack.http.post("/api/v1/studies", json=STUDY).json()["id"]
    until(lambda: study_of(stack, own_id)["progress"]["succeeded"] >= 1, SECONDS, "a first run to succeed")
    stack.kill("worker")
    stack.kill("api")
    stack.start("api")
    stack.start("worker")
    stack.wait_ready()
    until(lambda: study_of(stack, own_id)["state"] == "SUCCEEDED", SECONDS, "the study to succeed")

    runs = stack.http.get(f"/api/v1/studies/{own_id}/runs").json()["items"]
    assert [(run["variant"], run["seed"]) for run in runs] == [(1, 0), (2, 0), (1, 1), (2, 1)]
    assert {run["state"] for run in runs} == {"SUCCEEDED"}
    jobs = stack.http.get("/api/v1/jobs").json()["items"]
    assert sorted(job["id"] for job in jobs) == sorted(run["job"] for run in runs)
    assert all([epoch["epoch"] for epoch in stack.epochs(job["id"])] == [1, 2] for job in jobs)

    effects = stack.http.get(f"/api/v1/studies/{own_id}/effects").json()
    (effect,) = effects["effects"]
    figures = {(run["variant"], run["seed"]): run["best_epoch"]["val_accuracy"] for run in runs}
    own = sum(figures[2, seed] - figures[1, seed] for seed in (0, 1)) / 2
    assert abs(effect["objective"]["difference"] - own) < 1e-12
    report = stack.http.get(f"/api/v1/studies/{own_id}/report")
    assert report.status_code == 200
    assert effect["sentence"] in report.text
