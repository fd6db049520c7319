"""The states of a job, the moves each allows, and the closed list of reasons for an end; the states of datasets, tasks and studies."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a job stands. Each state owns its legal moves; `move` refuses the others."""

    QUEUED = "QUEUED"  # waits for a worker
    RUNNING = "RUNNING"  # an attempt holds its lease
    PAUSING = "PAUSING"  # asked to pause; the attempt is still writing its checkpoint
    PAUSED = "PAUSED"  # checkpoint written, device free
    CANCELLING = "CANCELLING"  # asked to stop; the attempt has not ended yet
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def terminal(self) -> bool:
        return self in ENDED

    def may_become(self, other: State) -> bool:
        return other in NEXT[self]


NEXT: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.PAUSED, State.CANCELLED, State.FAILED}),
    State.RUNNING: frozenset({State.SUCCEEDED, State.FAILED, State.QUEUED, State.PAUSING, State.CANCELLING}),
    State.PAUSING: frozenset({State.PAUSED, State.SUCCEEDED, State.FAILED, State.CANCELLING}),
    State.PAUSED: frozenset({State.QUEUED, State.CANCELLED}),
    # A job that finishes while a cancel is on its way may still end as SUCCEEDED or FAILED.
    State.CANCELLING: frozenset({State.CANCELLED, State.SUCCEEDED, State.FAILED}),
    State.SUCCEEDED: frozenset(),
    # What ended without success may be tried again.
    State.FAILED: frozenset({State.QUEUED}),
    State.CANCELLED: frozenset({State.QUEUED}),
}

ENDED = (State.SUCCEEDED, State.FAILED, State.CANCELLED)
"""States that a job leaves only when somebody asks for another try."""

HELD = (State.RUNNING, State.PAUSING, State.CANCELLING)
"""States in which an attempt owns the job."""


class Reason(StrEnum):
    """Why a job ended as it did; null while there is nothing to explain."""

    USER_CANCELLED = "USER_CANCELLED"
    INVALID_DATASET = "INVALID_DATASET"
    DIVERGED = "DIVERGED"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    GPU_OUT_OF_MEMORY = "GPU_OUT_OF_MEMORY"
    TIMEOUT = "TIMEOUT"
    STALLED = "STALLED"
    WORKER_LOST = "WORKER_LOST"
    NATIVE_CRASH = "NATIVE_CRASH"
    DISK_FULL = "DISK_FULL"
    ARTIFACT_REJECTED = "ARTIFACT_REJECTED"
    PRUNED = "PRUNED"
    WEIGHTS_UNAVAILABLE = "WEIGHTS_UNAVAILABLE"
    INTERNAL_ERROR = "INTERNAL_ERROR"


class DatasetState(StrEnum):
    """Where a dataset stands."""

    IMPORTING = "IMPORTING"  # its files are here; a worker reads and checks them, or soon will
    READY = "READY"  # stored, and never changed again
    REJECTED = "REJECTED"  # its files cannot be used; the errors say why

    @property
    def terminal(self) -> bool:
        return self is not DatasetState.IMPORTING


class TaskState(StrEnum):
    """Where a task stands."""

    QUEUED = "QUEUED"  # waits for a worker
    RUNNING = "RUNNING"  # a worker holds its lease
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"  # its detail says why
    CANCELLED = "CANCELLED"

    @property
    def terminal(self) -> bool:
        return self not in UNFINISHED


UNFINISHED = (TaskState.QUEUED, TaskState.RUNNING)


class StudyState(StrEnum):
    """Where a study stands."""

    QUEUED = "QUEUED"  # no job of it has begun
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"  # starts nothing; its jobs pause after their epochs
    SUCCEEDED = "SUCCEEDED"  # every run has ended, and there is something to compare
    FAILED = "FAILED"  # no run succeeded, or its search cannot go on
    CANCELLED = "CANCELLED"

    @property
    def terminal(self) -> bool:
        return self in (StudyState.SUCCEEDED, StudyState.FAILED, StudyState.CANCELLED)


class RunState(StrEnum):
    """Where a run of a study stands while it has no job; then the job's state says it."""

    WAITING = "WAITING"
    SKIPPED = "SKIPPED"  # it will never have one
