"""Publications and clients' moves in any order, against a model of what must serve. On both engines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count

import pytest
import rows
from history import violations
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.database import Database
from core.errors import NoEarlierVersion
from core.repositories.best import lock_best, model_events_after, promote, roll_back, set_margin, unpin
from core.repositories.models import get_best
from core.tables import LOCAL_TENANT

EXAMPLES = 15
MARGIN = 0.25

accuracies = st.sampled_from([0.125, 0.25, 0.375, 0.5, 0.75, 1.0])
losses = st.sampled_from([1.0, 2.0])
moves = st.one_of(
    st.tuples(st.just("publish"), st.tuples(accuracies, losses)),
    st.tuples(st.just("publish"), st.tuples(accuracies, losses)),
    st.tuples(st.just("promote"), st.integers(0, 20)),
    st.tuples(st.sampled_from(["roll back", "unpin"]), st.just(0.0)),
    st.tuples(st.just("gate"), st.sampled_from([0.0, MARGIN])),
)


@dataclass
class Expected:
    """What must serve, told without the repository's words: a list of versions, and a stack of those that served."""

    versions: list[tuple[float, float]] = field(default_factory=list)
    """(accuracy, loss) of each"""
    served: list[int] = field(default_factory=list)
    """the present one last; what was rolled back is not among them"""
    pinned: bool = False
    margin: float = 0.0

    def publish(self, figures: tuple[float, float]) -> None:
        self.versions.append(figures)
        number = len(self.versions)
        if number == 1 or (not self.pinned and self.beats(number, self.served[-1])):
            self.serve(number)

    def beats(self, number: int, other: int) -> bool:
        (accuracy, loss), (best_accuracy, best_loss) = self.versions[number - 1], self.versions[other - 1]
        if self.margin:
            return accuracy > best_accuracy + self.margin
        return (accuracy, -loss) > (best_accuracy, -best_loss)

    def serve(self, number: int) -> None:
        if self.served[-1:] != [number]:
            self.served.append(number)

    def unpin(self) -> None:
        if not self.pinned:
            return
        self.pinned, best = False, 1
        for number in range(2, len(self.versions) + 1):
            best = number if self.beats(number, best) else best
        self.serve(best)


class Real:
    def __init__(self, database: Database, view: str) -> None:
        self.database = database
        self.view = view

    def publish(self, figures: tuple[float, float]) -> None:
        accuracy, loss = figures
        published = replace(rows.publication(val_accuracy=accuracy, val_loss=loss), view=self.view)
        rows.finish(self.database, rows.start(self.database), published)

    def change(self, change: Callable[..., None], *arguments: float) -> None:
        with self.database.transaction() as session:
            change(session, lock_best(session, LOCAL_TENANT, f"{self.view}.lenet"), *arguments)

    def standing(self) -> tuple[int, bool, float]:
        with self.database.snapshot() as session:
            row = get_best(session, LOCAL_TENANT, f"{self.view}.lenet")
        return row.version, row.pinned, row.margin

    def told(self) -> list[int]:
        """The version that served after each event; their numbers must have no gap."""
        with self.database.snapshot() as session:
            events = model_events_after(session, LOCAL_TENANT, f"{self.view}.lenet", 0, 1000)
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        return [event.data["best"] for event in events]


def play(kind: str, value: float, expected: Expected, real: Real) -> None:
    """One move of a client, in both worlds."""
    match kind:
        case "promote":
            version = 1 + int(value) % len(expected.versions)
            real.change(promote, version)
            expected.serve(version)
            expected.pinned = True
        case "roll back" if len(expected.served) == 1:
            with pytest.raises(NoEarlierVersion):
                real.change(roll_back)
        case "roll back":
            real.change(roll_back)
            expected.served.pop()
            expected.pinned = True
        case "unpin":
            real.change(unpin)
            expected.unpin()
        case "gate":
            real.change(set_margin, value)
            expected.margin = value


def test_what_serves_is_what_the_rules_and_the_clients_say(database: Database) -> None:
    numbers = count()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(st.tuples(accuracies, losses), st.lists(moves, max_size=12))
    def in_any_order(first: tuple[float, float], played: list[tuple[str, float | tuple[float, float]]]) -> None:
        expected, real = Expected(), Real(database, f"v{next(numbers)}")
        for kind, value in (("publish", first), *played):
            if isinstance(value, tuple):
                real.publish(value)
                expected.publish(value)
            else:
                play(kind, value, expected, real)
            assert real.standing() == (expected.served[-1], expected.pinned, expected.margin)
            assert real.told()[-1] == expected.served[-1]

    in_any_order()
    assert [fault for fault in violations(database) if fault.startswith("model ")] == []
