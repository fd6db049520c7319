"""Tasks under a lease: claimed once, fenced, given back, ended, found again."""

from __future__ import annotations

from typing import Any

import pytest
from rows import HOLDER
from sqlalchemy import update

from core.database import Database, database_now
from core.errors import FencedOut, InvalidTransition, TaskNotFound
from core.repositories.claims import Holder
from core.repositories.events import task_events_after
from core.repositories.pages import Position
from core.repositories.task_attempts import (
    MOST_LOST_ATTEMPTS,
    claim_task,
    fail_task,
    finish_task,
    lost_tasks,
    record_task_progress,
    release_task,
    renew_task,
)
from core.repositories.tasks import (
    NewTask,
    TaskAttempt,
    TaskKind,
    cancel_task,
    create_task,
    delete_task,
    get_task,
    list_tasks,
    needed_folders,
    retry_task,
)
from core.states import TaskState
from core.tables import LOCAL_TENANT, TaskRow
from migrations.data_files import NamedFile, named_files

KIND: TaskKind = "batch_prediction"


def create(database: Database, key: str | None = None) -> str:
    with database.transaction() as session:
        return create_task(session, LOCAL_TENANT, NewTask(KIND, {"model": "m"}, key), "request-1").id


def claim(database: Database, holder: Holder = HOLDER) -> TaskAttempt | None:
    with database.transaction() as session:
        claimed = claim_task(session, holder, KIND)
    return claimed.attempt if claimed else None


def started(database: Database) -> TaskAttempt:
    create(database)
    attempt = claim(database)
    assert attempt is not None
    return attempt


def read(database: Database, task_id: str) -> TaskRow:
    with database.snapshot() as session:
        return get_task(session, LOCAL_TENANT, KIND, task_id)


def as_owner(database: Database, write: Any, *arguments: Any, **options: Any) -> Any:
    with database.transaction() as session:
        return write(session, *arguments, **options)


class TestClaim:
    def test_the_oldest_is_claimed_once(self, database: Database) -> None:
        first, second = create(database), create(database)
        attempts = [claim(database) for _ in range(3)]
        assert attempts == [TaskAttempt(LOCAL_TENANT, first, 1), TaskAttempt(LOCAL_TENANT, second, 1), None]

    def test_another_kind_is_let_alone(self, database: Database) -> None:
        create(database)
        with database.transaction() as session:
            assert claim_task(session, HOLDER, "export") is None

    def test_a_key_makes_one_task(self, database: Database) -> None:
        assert create(database, "digits.lenet:1:keras") == create(database, "digits.lenet:1:keras")


class TestOwning:
    def test_progress_and_result_are_written_by_the_owner(self, database: Database) -> None:
        attempt = started(database)
        as_owner(database, record_task_progress, attempt, {"phase": "predicting", "done": 3})
        assert as_owner(database, renew_task, attempt) == {"phase": "predicting", "done": 3}
        files = {"results": {"path": f"{attempt.folder}/r", "sha256": "0" * 64, "bytes": 1}}
        as_owner(database, finish_task, attempt, {"images": 3, "files": files})
        row = read(database, attempt.task_id)
        assert (row.state, row.result, row.progress["phase"]) == (
            TaskState.SUCCEEDED,
            {"images": 3, "files": files},
            "done",
        )
        with database.snapshot() as session:
            assert needed_folders(session) == {f"{attempt.task_id}-1"}
            assert named_files(session) == [NamedFile(f"{attempt.folder}/r", "0" * 64, 1)]

    @pytest.mark.parametrize("end", [cancel_task, delete_task])
    def test_cancelled_or_deleted_it_is_nobodys(self, database: Database, end: Any) -> None:
        attempt = started(database)
        as_owner(database, end, LOCAL_TENANT, KIND, attempt.task_id)
        for write, arguments in (
            (renew_task, ()),
            (record_task_progress, ({},)),
            (finish_task, ({},)),
            (fail_task, ("broken",)),
        ):
            with pytest.raises(FencedOut):
                as_owner(database, write, attempt, *arguments)
        as_owner(database, release_task, attempt, "gone", lost=True)
        assert claim(database) is None

    def test_the_next_attempt_fences_the_last(self, database: Database) -> None:
        attempt = started(database)
        as_owner(database, release_task, attempt, "its worker is gone", lost=False)
        again = claim(database)
        assert again is not None
        assert again.number == 2
        with pytest.raises(FencedOut):
            as_owner(database, finish_task, attempt, {})

    def test_lost_too_often_it_has_failed(self, database: Database) -> None:
        task = create(database)
        for _ in range(MOST_LOST_ATTEMPTS):
            attempt = claim(database)
            as_owner(database, release_task, attempt, "the task runner was killed (SIGKILL)", lost=True)
        row = read(database, task)
        detail = f"the task runner was killed (SIGKILL); gave up after {MOST_LOST_ATTEMPTS} tries"
        assert (row.state, row.detail) == (TaskState.FAILED, detail)

    def test_leases_that_ran_out_are_found_on_any_host(self, database: Database) -> None:
        attempt = started(database)
        with database.snapshot() as session:
            assert lost_tasks(session, "another boot") == []
            assert [(found, expired) for found, _, expired in lost_tasks(session, HOLDER.boot_id)] == [(attempt, False)]
        with database.transaction() as session:
            session.execute(update(TaskRow).values(lease_expires_at=database_now() - 1.0))
        with database.snapshot() as session:
            assert [(found, expired) for found, _, expired in lost_tasks(session, "another boot")] == [(attempt, True)]


class TestClients:
    def test_cancelling_twice_is_harmless_and_too_late_is_told(self, database: Database) -> None:
        task = create(database)
        for _ in range(2):
            assert as_owner(database, cancel_task, LOCAL_TENANT, KIND, task).state == TaskState.CANCELLED
        attempt = started(database)
        as_owner(database, fail_task, attempt, "broken")
        with pytest.raises(InvalidTransition, match="is FAILED"):
            as_owner(database, cancel_task, LOCAL_TENANT, KIND, attempt.task_id)

    def test_what_failed_is_tried_again_on_request(self, database: Database) -> None:
        attempt = started(database)
        as_owner(database, fail_task, attempt, "broken")
        as_owner(database, retry_task, LOCAL_TENANT, KIND, attempt.task_id)
        again = claim(database)
        assert again == TaskAttempt(LOCAL_TENANT, attempt.task_id, 2)
        with database.snapshot() as session:
            events = task_events_after(session, LOCAL_TENANT, attempt.task_id, 0, 100)
        told = [event.data["state"] for event in events]
        assert told == ["QUEUED", "RUNNING", "FAILED", "QUEUED", "RUNNING"]
        assert [event.sequence for event in events] == [1, 2, 3, 4, 5]

    def test_pages_follow_each_other(self, database: Database) -> None:
        tasks = [create(database) for _ in range(3)]
        with database.snapshot() as session:
            first = list_tasks(session, LOCAL_TENANT, KIND, None, limit=2, after=None, descending=True)
            after = Position(first[-1].created_at, first[-1].id)
            rest = list_tasks(session, LOCAL_TENANT, KIND, TaskState.QUEUED, limit=2, after=after, descending=True)
        assert [row.id for row in (*first, *rest)] == tasks[::-1]

    def test_other_tenants_see_nothing(self, database: Database) -> None:
        task = create(database)
        with database.snapshot() as session, pytest.raises(TaskNotFound):
            get_task(session, "another", KIND, task)
