"""Which version serves: chosen, pinned, rolled back, released; each change with its event. On both engines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest
import rows
from alembic import command
from history import violations
from sqlalchemy import text
from sqlalchemy.orm import Session
from stack import until

from core.database import Database
from core.errors import ModelNotFound, NoEarlierVersion
from core.objective import Direction, Objective
from core.repositories.best import lock_best, model_events_after, promote, roll_back, set_margin, unpin
from core.repositories.models import get_best
from core.repositories.results import finish_job
from core.tables import LOCAL_TENANT, ModelEventRow
from migrations.schema import _config, upgrade

NAME = "digits.lenet"


class Model:
    """digits.lenet, with whatever was published of it."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def publish(self, accuracy: float | None, **changes: Any) -> int:
        card = {"sizes": {"parameters": changes.pop("parameters")}} if "parameters" in changes else {}
        published = rows.publication(val_accuracy=accuracy, **changes)
        return rows.finish(self.database, rows.start(self.database), replace(published, card=card))

    def change(self, change: Callable[..., None], *arguments: Any) -> None:
        with self.database.transaction() as session:
            change(session, lock_best(session, LOCAL_TENANT, NAME), *arguments)

    @property
    def best(self) -> int:
        with self.database.snapshot() as session:
            return get_best(session, LOCAL_TENANT, NAME).version

    @property
    def pinned(self) -> bool:
        with self.database.snapshot() as session:
            return get_best(session, LOCAL_TENANT, NAME).pinned

    def events(self) -> list[ModelEventRow]:
        with self.database.snapshot() as session:
            return list(model_events_after(session, LOCAL_TENANT, NAME, 0, 10_000))

    def told(self) -> list[tuple[str, int | None, int]]:
        """Kind, the version that served before, and the one that serves since."""
        return [(event.kind, event.data["previous"], event.data["best"]) for event in self.events()]


@pytest.fixture
def model(database: Database) -> Iterator[Model]:
    yield Model(database)
    assert [fault for fault in violations(database) if fault.startswith("model ")] == []


class TestPublished:
    def test_the_first_serves_and_better_ones_replace_it(self, model: Model) -> None:
        for accuracy, best in ((0.5, 1), (0.4, 1), (0.6, 3), (0.6, 3)):
            model.publish(accuracy)
            assert model.best == best
        assert model.told() == [
            ("published", None, 1),
            ("published", 1, 1),
            ("published", 1, 3),
            ("published", 3, 3),
        ]
        causes = [event.data["cause"] for event in model.events()]
        assert causes == ["first version", "published, but not better", "published and better", causes[1]]

    def test_one_that_is_not_better_is_told_with_the_figures(self, model: Model) -> None:
        model.publish(0.5)
        model.publish(0.4)
        data = model.events()[1].data
        assert {key: data[key] for key in ("published", "better", "decided_by", "value", "served_value", "actor")} == {
            "published": 2,
            "better": False,
            "decided_by": "val_accuracy",
            "value": 0.4,
            "served_value": 0.5,
            "actor": "worker",
        }

    def test_ties_go_to_the_lower_loss_then_to_the_smaller_network(self, model: Model) -> None:
        model.publish(0.5, parameters=100)
        model.publish(0.5, parameters=100, val_loss=0.9)
        model.publish(0.5, parameters=99, val_loss=0.9)
        model.publish(0.5, parameters=99, val_loss=0.9)
        assert [best for _, _, best in model.told()] == [1, 2, 3, 3]
        assert [event.data.get("decided_by") for event in model.events()] == [None, "val_loss", "parameters", "version"]

    def test_test_metrics_do_not_count(self, model: Model) -> None:
        model.publish(0.5, test_accuracy=0.1)
        model.publish(0.5, test_accuracy=0.9)
        assert model.best == 1

    def test_the_new_jobs_objective_decides(self, model: Model) -> None:
        model.publish(0.5, val_loss=1.0)
        model.publish(0.4, val_loss=0.9, objective=Objective("val_loss", Direction.MIN))
        assert model.best == 2


class TestGate:
    def test_a_new_version_must_beat_the_served_one_by_it(self, model: Model) -> None:
        model.publish(0.5)
        model.change(set_margin, 0.05)
        for accuracy, best in ((0.54, 1), (0.56, 3), (0.6, 3), (0.62, 5)):
            model.publish(accuracy)
            assert model.best == best
        assert model.events()[2].data["cause"] == "published, but not better"

    def test_setting_it_changes_nothing_of_what_serves(self, model: Model) -> None:
        model.publish(0.5)
        model.publish(0.51)
        model.change(set_margin, 0.05)
        assert model.best == 2
        model.change(set_margin, 0.05)
        assert model.told()[2:] == [("gate", 2, 2)]
        assert model.events()[2].data["cause"] == "margin 0 became 0.05"


class TestPromote:
    def test_a_pinned_version_stays_whatever_is_published(self, model: Model) -> None:
        model.publish(0.5)
        model.publish(0.6)
        model.change(promote, 1)
        model.publish(0.9)
        assert (model.best, model.pinned) == (1, True)
        assert model.told()[2:] == [("promoted", 2, 1), ("published", 1, 1)]
        last = model.events()[-1].data
        assert (last["better"], last["cause"]) == (True, "published; version 1 is pinned")

    def test_again_it_changes_nothing(self, model: Model) -> None:
        model.publish(0.5)
        for _ in range(2):
            model.change(promote, 1)
        assert model.told() == [("published", None, 1), ("promoted", 1, 1)]

    def test_what_is_not_there_cannot_be(self, model: Model) -> None:
        with pytest.raises(ModelNotFound, match="no model"):
            model.change(promote, 1)
        model.publish(0.5)
        with pytest.raises(ModelNotFound, match="no version 2"):
            model.change(promote, 2)


class TestRollBack:
    def test_each_goes_one_further_back(self, model: Model) -> None:
        for accuracy in (0.5, 0.6, 0.4, 0.7):
            model.publish(accuracy)
        served = []
        for _ in range(2):
            model.change(roll_back)
            served.append((model.best, model.pinned))
        assert served == [(2, True), (1, True)]
        with pytest.raises(NoEarlierVersion):
            model.change(roll_back)

    def test_what_was_rolled_back_is_not_gone_back_to(self, model: Model) -> None:
        for accuracy in (0.5, 0.6, 0.7):
            model.publish(accuracy)
        model.change(roll_back)  # 3 -> 2
        model.change(promote, 1)
        model.change(roll_back)
        assert model.best == 2
        model.change(roll_back)
        assert model.best == 1

    def test_a_model_that_served_one_version_only_has_none(self, model: Model) -> None:
        model.publish(0.5)
        model.publish(0.4)
        with pytest.raises(NoEarlierVersion, match="no version before 1"):
            model.change(roll_back)


class TestUnpin:
    def test_the_best_of_all_versions_serves_at_once(self, model: Model) -> None:
        for accuracy in (0.5, 0.6):
            model.publish(accuracy)
        model.change(promote, 1)
        model.publish(0.7)
        model.publish(0.65)
        model.change(unpin)
        assert (model.best, model.pinned) == (3, False)
        assert model.events()[-1].data["cause"] == "unpinned; the best of all versions"

    def test_the_gate_counts_as_if_nothing_had_been_pinned(self, model: Model) -> None:
        model.publish(0.5)
        model.change(set_margin, 0.05)
        model.change(promote, 1)
        for accuracy in (0.54, 0.58, 0.6):
            model.publish(accuracy)
        model.change(unpin)
        assert model.best == 3

    def test_a_choice_that_is_automatic_stays_as_it_is(self, model: Model) -> None:
        model.publish(0.5)
        model.change(unpin)
        assert model.told() == [("published", None, 1)]


class TestOlderDatabases:
    """Models that were published before there were events: revision 0007 brings those."""

    @pytest.fixture
    def model(self, database: Database) -> Model:
        model = Model(database)
        model.publish(0.5)
        model.publish(0.6)
        with database.engine.begin() as connection:
            command.downgrade(_config(connection), "0006")
        upgrade(database)
        return model

    def test_the_first_event_goes_on_from_what_serves(self, model: Model) -> None:
        model.publish(0.7)
        assert model.told() == [("published", 2, 3)]
        model.change(roll_back)
        assert model.best == 2

    def test_there_is_nothing_to_roll_back_to_until_something_has_changed(self, model: Model) -> None:
        with pytest.raises(NoEarlierVersion):
            model.change(roll_back)
        model.change(promote, 1)
        model.change(roll_back)
        assert model.best == 2
        model.change(unpin)
        assert model.best == 2


class TestAtOnce:
    JOBS = 4

    def test_publications_and_a_client_have_one_order(self, model: Model) -> None:
        """The versions count up, the pin stays, and every event goes on from the one before."""
        model.publish(0.5)
        attempts = [rows.start(model.database) for _ in range(self.JOBS)]
        together = Barrier(self.JOBS + 1)

        def publish(number: int) -> None:
            together.wait(30)
            rows.finish(model.database, attempts[number], rows.publication(val_accuracy=0.6 + number / 10))

        def pin() -> None:
            together.wait(30)
            model.change(promote, 1)

        with ThreadPoolExecutor(self.JOBS + 1) as pool:
            done = [*(pool.submit(publish, number) for number in range(self.JOBS)), pool.submit(pin)]
            for each in done:
                each.result()
        assert (model.best, model.pinned) == (1, True)
        model.change(unpin)
        assert model.events()[-1].data["best"] == model.best != 1

    def test_an_unpin_sees_what_is_published_meanwhile(self, model: Model) -> None:
        model.publish(0.5)
        for accuracy in (0.6, 0.7, 0.8):
            model.change(promote, 1)
            attempt = rows.start(model.database)
            together = Barrier(2)

            def publish(attempt: Any = attempt, accuracy: float = accuracy, together: Barrier = together) -> int:
                together.wait(30)
                return rows.finish(model.database, attempt, rows.publication(val_accuracy=accuracy))

            def release(together: Barrier = together) -> None:
                together.wait(30)
                model.change(unpin)

            with ThreadPoolExecutor(2) as pool:
                published, released = pool.submit(publish), pool.submit(release)
                released.result()
                version = published.result()
            assert model.best == version

    def test_two_first_versions_make_one_model(self, model: Model) -> None:
        attempts = [rows.start(model.database) for _ in range(2)]
        with ThreadPoolExecutor(2) as pool:
            versions = pool.map(lambda attempt: rows.finish(model.database, attempt), attempts)
        assert sorted(versions) == [1, 2]
        assert model.told() == [("published", None, 1), ("published", 1, 1)]


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
class TestWaiting:
    """Whoever comes second waits for the first, and then sees what that one did. SQLite has one writer anyway."""

    def wait_for_waiter(self, database: Database) -> None:
        waiting = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )

        def waits() -> bool:
            with database.snapshot() as session:
                return bool(session.scalar(waiting))

        until(waits, 20, "the second waits for the first")

    def test_a_publication_sees_the_pin(self, model: Model) -> None:
        model.publish(0.5)
        attempt = rows.start(model.database)
        with ThreadPoolExecutor(1) as pool:
            with model.database.transaction() as session:
                promote(session, lock_best(session, LOCAL_TENANT, NAME), 1)
                published = pool.submit(rows.finish, model.database, attempt, rows.publication(val_accuracy=0.9))
                self.wait_for_waiter(model.database)
            assert published.result() == 2
        assert (model.best, model.pinned) == (1, True)

    def test_an_unpin_sees_the_publication(self, model: Model) -> None:
        model.publish(0.5)
        model.change(promote, 1)
        attempt = rows.start(model.database)
        with ThreadPoolExecutor(1) as pool:
            with model.database.transaction() as session:
                finish_job(session, attempt, rows.EVALUATION, rows.publication(val_accuracy=0.9))
                released = pool.submit(model.change, unpin)
                self.wait_for_waiter(model.database)
            released.result()
        assert (model.best, model.pinned) == (2, False)


def test_another_tenants_model_does_not_exist(model: Model) -> None:
    """Promise P6."""
    model.publish(0.5)

    def locked(session: Session) -> None:
        lock_best(session, "other", NAME)

    with model.database.transaction() as session:
        with pytest.raises(ModelNotFound):
            locked(session)
        assert model_events_after(session, "other", NAME, 0, 10) == []
