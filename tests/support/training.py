"""Jobs that train while a test does something to them."""

from __future__ import annotations

from typing import Any

import psutil
from stack import TRAIN_SECONDS, Stack, until

SLOW: dict[str, Any] = {"batch_size": 4, "epochs": 6}
"""An epoch takes about a second: long enough to be killed in."""


def trainer_of(stack: Stack, job: str) -> psutil.Process:
    """The process that trains: the one that has used most processor time."""
    until(lambda: stack.job(job)["progress"]["step"] > 0 or None, 60, "training has begun", lambda: stack.log("worker"))
    trainers = [child for child in stack.trainers() if "worker.trainer" in child.cmdline()]
    return max(trainers, key=lambda process: sum(process.cpu_times()[:2]))


def wait_epochs(stack: Stack, job: str, count: int) -> None:
    until(
        lambda: len(stack.epochs(job)) >= count, TRAIN_SECONDS, f"{count} epochs are done", lambda: stack.log("worker")
    )


def assert_whole(stack: Stack, job: str, epochs: int) -> None:
    """Every epoch is there once."""
    assert [entry["epoch"] for entry in stack.epochs(job)] == list(range(1, epochs + 1))


def resumption(stack: Stack, job: str) -> dict[str, Any]:
    """The event that tells where a later attempt went on."""
    return next(event for event in stack.events(job) if event["kind"] == "checkpoint")
