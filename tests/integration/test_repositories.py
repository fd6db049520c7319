"""Rows as clients see them: listing, cancelling, events, keys, tenants; on both engines."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import rows
from sqlalchemy import select, update

from core.database import Database
from core.errors import IdempotencyKeyReused, InvalidTransition, JobNotFound, ModelNotFound
from core.repositories.attempts import append_log
from core.repositories.counts import count_everything
from core.repositories.events import append_event
from core.repositories.idempotency import find_answer, remember_answer
from core.repositories.jobs import JobFilter, get_job, list_jobs, measured_speed, queue_position, queue_positions
from core.repositories.models import get_evaluation, list_best
from core.repositories.moves import request_cancel
from core.repositories.pages import Position
from core.repositories.results import record_epoch
from core.repositories.traffic import FORGOTTEN_AFTER, Reference, read_references, read_traffic, write_traffic
from core.states import State
from core.tables import LOCAL_TENANT, IdempotencyKeyRow, JobRow, TrafficRow, utc_now
from core.validation import check_spec


class TestListJobs:
    @pytest.mark.parametrize("descending", [True, False])
    def test_pages_hold_every_job_once_also_with_equal_times(self, database: Database, descending: bool) -> None:
        ids = [rows.submit(database) for _ in range(7)]
        with database.transaction() as session:
            session.execute(update(JobRow).values(created_at=utc_now()))
        seen: list[str] = []
        after = None
        with database.snapshot() as session:
            while page := list_jobs(session, LOCAL_TENANT, JobFilter(), limit=3, after=after, descending=descending):
                seen += [row.id for row in page]
                after = Position(page[-1].created_at, page[-1].id)
        assert sorted(seen) == sorted(ids)
        assert seen == sorted(seen, reverse=descending)

    def test_filters_narrow(self, database: Database) -> None:
        tagged = rows.submit(database, tags={"course": "cv"})
        mnist = rows.submit(database, dataset="mnist")

        def found(only: JobFilter) -> list[str]:
            with database.snapshot() as session:
                listed = list_jobs(session, LOCAL_TENANT, only, limit=9, after=None, descending=False)
                return [row.id for row in listed]

        assert found(JobFilter(tag=("course", None))) == found(JobFilter(tag=("course", "cv"))) == [tagged]
        assert found(JobFilter(tag=("course", "nlp"))) == []
        assert found(JobFilter(dataset="mnist")) == [mnist]
        assert found(JobFilter(state=State.RUNNING)) == found(JobFilter(architecture="vgg")) == []


class TestQueuePosition:
    def test_priority_goes_before_age(self, database: Database) -> None:
        old, new, urgent = (rows.submit(database), rows.submit(database), rows.submit(database, priority=5))
        with database.snapshot() as session:
            places = [queue_position(session, get_job(session, LOCAL_TENANT, job)) for job in (urgent, old, new)]
            assert queue_positions(session, [get_job(session, LOCAL_TENANT, job) for job in (new, urgent)]) == {
                urgent: 1,
                new: 3,
            }
        assert places == [1, 2, 3]

    def test_a_running_job_has_none(self, database: Database) -> None:
        attempt = rows.start(database)
        with database.snapshot() as session:
            job = get_job(session, LOCAL_TENANT, attempt.job_id)
            assert queue_position(session, job) is None
            assert queue_positions(session, [job]) == {}


class TestCancel:
    def test_a_queued_job_ends_and_a_running_one_is_asked(self, database: Database) -> None:
        running, queued = rows.start(database).job_id, rows.submit(database)
        with database.transaction() as session:
            assert request_cancel(session, LOCAL_TENANT, queued).state == State.CANCELLED
            assert request_cancel(session, LOCAL_TENANT, running).state == State.CANCELLING
            assert request_cancel(session, LOCAL_TENANT, running).state == State.CANCELLING

    def test_a_job_that_has_ended_cannot_be(self, database: Database) -> None:
        attempt = rows.start(database)
        rows.finish(database, attempt)
        with database.transaction() as session, pytest.raises(InvalidTransition):
            request_cancel(session, LOCAL_TENANT, attempt.job_id)

    def test_it_races_a_success_to_one_end(self, database: Database) -> None:
        """Row 27: whoever comes first decides, and nothing is written after the end."""
        attempt = rows.start(database)

        def cancel() -> str:
            try:
                with database.transaction() as session:
                    return request_cancel(session, LOCAL_TENANT, attempt.job_id).state
            except InvalidTransition:
                return "too late"

        with ThreadPoolExecutor(2) as pool:
            asked, finished = pool.submit(cancel), pool.submit(rows.finish, database, attempt)
            assert asked.result() in (State.CANCELLING, "too late")
            assert finished.result() == 1
        states = [event.data["state"] for event in rows.events(database, attempt.job_id, "state")]
        assert states[-1] == State.SUCCEEDED
        assert states.count(State.SUCCEEDED) == 1


class TestEvents:
    def test_numbers_have_no_gap_and_no_duplicate_under_concurrent_writers(self, database: Database) -> None:
        job = rows.submit(database)

        def append(number: int) -> None:
            with database.transaction() as session:
                append_event(session, LOCAL_TENANT, job, "log", {"attempt": 1, "text": str(number)})

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(append, range(40)))
        assert [event.sequence for event in rows.events(database, job)] == list(range(1, 42))


class TestLogs:
    def test_a_nul_character_does_not_keep_a_log_from_being_stored(self, database: Database) -> None:
        attempt = rows.start(database)
        with database.transaction() as session:
            append_log(session, attempt, "half\0way\n")
        (log,) = rows.events(database, attempt.job_id, "log")
        assert log.data["text"] == "half\N{REPLACEMENT CHARACTER}way\n"


class TestIdempotencyKeys:
    def test_the_first_answer_is_found_again_for_a_day(self, database: Database) -> None:
        job = rows.submit(database)
        with database.transaction() as session:
            remember_answer(session, LOCAL_TENANT, "key", "digest", {"id": job}, job_id=job)
        with database.transaction() as session:
            assert find_answer(session, LOCAL_TENANT, "key", "digest") == {"id": job}
            assert find_answer(session, "other", "key", "digest") is None
            with pytest.raises(IdempotencyKeyReused):
                find_answer(session, LOCAL_TENANT, "key", "other digest")
            session.execute(update(IdempotencyKeyRow).values(created_at=utc_now() - timedelta(hours=25)))
            assert find_answer(session, LOCAL_TENANT, "key", "digest") is None


class TestTenants:
    """Promise P6."""

    def test_another_tenants_job_does_not_exist(self, database: Database) -> None:
        attempt = rows.start(database)
        rows.finish(database, attempt)
        with database.transaction() as session:
            with pytest.raises(JobNotFound):
                get_job(session, "other", attempt.job_id)
            with pytest.raises(JobNotFound):
                request_cancel(session, "other", attempt.job_id)
            assert list_jobs(session, "other", JobFilter(), limit=9, after=None, descending=False) == []
            assert list_best(session, "other") == []
            assert get_evaluation(session, "other", attempt.job_id) is None
        assert rows.events(database, attempt.job_id, tenant="other") == []


class TestMeasuredSpeed:
    def test_it_is_of_jobs_whose_first_phase_trains_as_much(self, database: Database) -> None:
        """Transfer learning with all of the base frozen and with a part of it trained differ in nothing else."""
        frozen: dict[str, Any] = {"dataset": "digits", "architecture": {"name": "transfer", "weights": "imagenet"}}
        unfrozen = {**frozen, "phases": [{"epochs": 3, "unfreeze_from": "block5_conv2"}]}
        attempt = rows.start(database, **frozen)
        with database.transaction() as session:
            for number in (1, 2):
                record_epoch(session, attempt, rows.epoch(number), {}, best=False, checkpoint=None)
        with database.snapshot() as session:
            assert measured_speed(session, LOCAL_TENANT, check_spec(frozen)) == (attempt.job_id, 500.0)
            assert measured_speed(session, LOCAL_TENANT, check_spec(unfrozen)) is None


class TestDuplicates:
    def test_a_spec_that_has_succeeded_is_warned_of(self, database: Database) -> None:
        attempt = rows.start(database)
        assert rows.read(database, attempt.job_id).warnings == []
        rows.finish(database, attempt)
        again = rows.read(database, rows.submit(database, tags={"only": "tags differ"}))
        assert [(warning["code"], warning["job"]) for warning in again.warnings] == [
            ("duplicate_of_job", attempt.job_id)
        ]


class TestTraffic:
    def test_processes_tell_of_versions_until_they_fall_silent(self, database: Database) -> None:
        rows.finish(database, rows.start(database))
        key = ("digits.lenet", 1)

        def tell(process: str, requests: int) -> None:
            with database.transaction() as session:
                write_traffic(session, LOCAL_TENANT, process, {key: {"requests": requests}})

        def told(name: str = "digits.lenet", tenant: str = LOCAL_TENANT) -> list[tuple[int, dict[str, int]]]:
            with database.snapshot() as session:
                return sorted(read_traffic(session, tenant, name, but_of="me"), key=str)

        for process, requests in (("me", 1), ("one", 1), ("other", 2), ("one", 3)):
            tell(process, requests)
        assert told() == [(1, {"requests": 2}), (1, {"requests": 3})]
        for name, tenant in (("digits.vgg", LOCAL_TENANT), ("digits.lenet", "another")):
            with pytest.raises(ModelNotFound):
                told(name, tenant)
        with database.transaction() as session:
            session.execute(update(TrafficRow).values(updated_at=utc_now() - FORGOTTEN_AFTER))
        assert told() == []
        tell("me", 4)
        with database.snapshot() as session:
            assert session.scalars(select(TrafficRow.process)).all() == ["me"]

    def test_a_reference_is_the_cards(self, database: Database) -> None:
        made = replace(rows.publication(), card={"reference": {"images": 3}})
        rows.finish(database, rows.start(database), made)
        rows.finish(database, rows.start(database))
        keys = [("digits.lenet", version) for version in (1, 2, 3)]
        with database.snapshot() as session:
            found = read_references(session, LOCAL_TENANT, keys)
        labels = ["0", "1"]
        assert found == {keys[0]: Reference(labels, {"images": 3}), keys[1]: Reference(labels, None)}

    def test_everything_is_counted_by_state(self, database: Database) -> None:
        rows.finish(database, rows.start(database))
        rows.submit(database)
        rows.submit(database, tenant="another")
        with database.snapshot() as session:
            counts = count_everything(session, LOCAL_TENANT)
        assert counts.jobs == {"SUCCEEDED": 1, "QUEUED": 1}
        assert counts.datasets == {"READY": 1}
        assert counts.tasks == {}
        assert counts.best == {"digits.lenet": (1, 1)}
