"""Studies as the API shows them, for tests of the client and the command line."""

from __future__ import annotations

from typing import Any

STUDIES = "/api/v1/studies"


def progress(**changes: Any) -> dict[str, Any]:
    counts = (
        "waiting",
        "queued",
        "running",
        "paused",
        "succeeded",
        "pruned",
        "failed",
        "cancelled",
        "skipped",
        "reused",
    )
    return {"runs": 4, **dict.fromkeys(counts, 0), "epochs": 0, "epochs_planned": 8, "eta_seconds": None, **changes}


def study(**changes: Any) -> dict[str, Any]:
    return {
        "id": "s1",
        "name": "which optimizer?",
        "question": None,
        "state": "SUCCEEDED",
        "detail": None,
        "spec": {"name": "which optimizer?"},
        "objective": {"metric": "val_accuracy", "direction": "max"},
        "dataset": "digits",
        "stand_in": False,
        "seeds": [0, 1],
        "progress": progress(succeeded=4, epochs=8),
        "warnings": [],
        "created_at": "2026-01-02T03:04:05Z",
        "started_at": "2026-01-02T03:04:06Z",
        "finished_at": "2026-01-02T03:05:16Z",
        "etag": '"9"',
        "a_field_of_a_later_version": 1,
        **changes,
    }


def running(**changes: Any) -> dict[str, Any]:
    counts = progress(running=1, waiting=2, succeeded=1, epochs=3, eta_seconds=61.0)
    return study(**{"state": "RUNNING", "finished_at": None, "progress": counts, **changes})


def epoch(number: int, val_accuracy: float) -> dict[str, Any]:
    figures = {"loss": 0.5, "accuracy": 0.8, "val_loss": 0.6, "learning_rate": 0.001, "seconds": 2.0}
    return {"epoch": number, "val_accuracy": val_accuracy, "images_per_second": 4321.0, **figures}


def study_run(**changes: Any) -> dict[str, Any]:
    return {
        "variant": 2,
        "name": "optimizer=sgd",
        "architecture": "lenet",
        "seed": 1,
        "job": "j4",
        "state": "RUNNING",
        "reason": None,
        "detail": None,
        "reused": False,
        "progress": {"epoch": 2, "epochs": 2, "step": 10, "steps": 40, "eta_seconds": 3.0},
        "best_epoch": epoch(1, 0.75),
        **changes,
    }


def page(*items: dict[str, Any]) -> dict[str, Any]:
    return {"items": list(items), "next_page_token": None}


def results() -> dict[str, Any]:
    return {
        "metric": "val_accuracy",
        "direction": "max",
        "target": None,
        "rows": [row(1, "optimizer=adam", 0.95), row(2, "optimizer=sgd", 0.875)],
        "winners": {"overall": winner("adam is best"), "by_architecture": [winner("adam is best on lenet")]},
    }


def row(rank: int, name: str, mean: float) -> dict[str, Any]:
    figures = {"n": 2, "mean": mean, "low": mean - 0.02, "high": mean + 0.02, "method": "t", "note": None}
    return {
        "rank": rank,
        "number": rank,
        "name": name,
        "architecture": "lenet",
        "optimizer": "adam",
        "loss": "sparse_categorical_crossentropy",
        "batch_size": 32,
        "epochs": 2,
        "train_accuracy": 0.97,
        "val_accuracy": mean,
        "test_accuracy": 0.91,
        "seeds": 2,
        "finished": 2,
        "objective": figures,
        "test": figures,
        "gap": 0.02,
        "epochs_to_target": None,
        "reached_target": None,
        "seconds": 4.2,
        "images_per_second": 4321.0,
        "states": {"SUCCEEDED": 2},
        "reused": 0,
        "jobs": ["j1", "j2"],
    }


def winner(sentence: str) -> dict[str, Any]:
    mean = {"n": 2, "mean": 0.95, "low": 0.93, "high": 0.97, "method": "t"}
    return {
        "architecture": None,
        "number": 1,
        "name": "optimizer=adam",
        "objective": mean,
        "others": [],
        "tied": [],
        "sentence": sentence,
    }


def effects() -> dict[str, Any]:
    difference = {
        "metric": "val_accuracy",
        "pairs": 2,
        "left_out": 0,
        "difference": -0.075,
        "low": -0.1,
        "high": -0.05,
        "p": 0.01,
        "p_holm": 0.01,
        "method": "t",
    }
    effect = {
        "factor": "optimizer",
        "level": "sgd",
        "baseline": "adam",
        "where": "",
        **dict.fromkeys(("objective", "test", "gap"), difference),
        "verdict": "worse",
        "sentence": "sgd is 7.5 points worse than adam",
    }
    return {
        "metric": "val_accuracy",
        "direction": "max",
        "factors": [{"name": "optimizer", "label": "optimizer", "levels": []}],
        "effects": [effect],
        "interactions": [],
        "warnings": [{"code": "too_few_seeds", "factors": ["optimizer"], "detail": "two seeds are few"}],
        "statement": "1 comparison",
    }
