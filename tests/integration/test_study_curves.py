"""The curves of a study's variants, put together by the database from its jobs' epochs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from rows import submit
from sqlalchemy import update
from study_material import made_up

from core.database import Database
from core.repositories.studies import NewStudy, NewVariant, create_study
from core.tables import LOCAL_TENANT, EpochRow, StudyRunRow, utc_now
from service.studies.curves import MOST_POINTS, load_curves

ROWS = made_up(seeds=1).results.rows
FIRST = next(row for row in ROWS if row.number == 1)
SECOND = next(row for row in ROWS if row.number == 2)


def new_study(database: Database, histories: dict[tuple[int, int], Sequence[float | None]]) -> str:
    """Of a job for each (variant, seed), with an epoch of ten seconds for each of its accuracies. Returns its id."""
    numbers = sorted({variant for variant, _ in histories})
    seeds = sorted({seed for _, seed in histories})
    variants = [NewVariant(str(number), "lenet", {}, {}, {}) for number in numbers]
    new = NewStudy("a study", {}, {"metric": "val_accuracy", "direction": "max"}, "digits", False, seeds, variants, [])
    jobs = {place: submit(database, seed=place[1], batch_size=place[0]) for place in histories}
    with database.transaction() as session:
        study = create_study(session, LOCAL_TENANT, new, None).id
        for (variant, seed), job in jobs.items():
            run = (StudyRunRow.study_id == study, StudyRunRow.variant == variant, StudyRunRow.seed == seed)
            session.execute(update(StudyRunRow).where(*run).values(job_id=job))
            accuracies = histories[variant, seed]
            session.add_all(epoch_row(job, epoch, accuracy) for epoch, accuracy in enumerate(accuracies, 1))
    return study


def epoch_row(job: str, epoch: int, accuracy: float | None) -> EpochRow:
    return EpochRow(
        job_id=job,
        epoch=epoch,
        tenant_id=LOCAL_TENANT,
        attempt=1,
        loss=1.0,
        accuracy=accuracy,
        val_loss=2.0,
        val_accuracy=accuracy,
        learning_rate=0.01,
        seconds=10.0,
        images_per_second=100.0,
        created_at=utc_now(),
    )


class TestCurves:
    def test_each_epoch_has_mean_least_and_largest_of_the_seeds_that_have_finished_it(self, database: Database) -> None:
        study = new_study(database, {(1, 0): [0.2, 0.4, 0.6], (1, 1): [0.4, None], (2, 0): [0.5], (2, 1): []})
        with database.snapshot() as session:
            first, second = load_curves(session, LOCAL_TENANT, study, [FIRST, SECOND])
        assert [(point.epoch, point.seeds, point.seconds) for point in first.points] == [
            (1, 2, 10),
            (2, 2, 20),
            (3, 1, 30),
        ]
        spread = first.points[0].spreads["val_accuracy"]
        assert [spread.mean, spread.low, spread.high] == pytest.approx([0.3, 0.2, 0.4])
        assert first.means("accuracy") == pytest.approx([0.3, 0.4, 0.6]), "what was not finite is left out"
        assert second.means("val_loss") == [2.0]
        assert (second.name, second.architecture) == (SECOND.name, SECOND.architecture)

    def test_another_tenant_sees_none_and_other_variants_are_not_read(self, database: Database) -> None:
        study = new_study(database, {(1, 0): [0.2], (2, 0): [0.5]})
        with database.snapshot() as session:
            assert [one.points for one in load_curves(session, "other", study, [FIRST])] == [()]
            assert [one.number for one in load_curves(session, LOCAL_TENANT, study, [SECOND])] == [2]

    def test_long_ones_are_thinned_and_end_with_the_last_epoch(self, database: Database) -> None:
        epochs = 7 * MOST_POINTS + 3
        study = new_study(database, {(1, 0): [0.5] * epochs})
        with database.snapshot() as session:
            (curves,) = load_curves(session, LOCAL_TENANT, study, [FIRST])
        numbers = [point.epoch for point in curves.points]
        assert MOST_POINTS / 2 < len(numbers) <= MOST_POINTS + 1
        assert (numbers[0], numbers[-1]) == (1, epochs)
        steps = {later - earlier for earlier, later in pairwise(numbers[:-1])}
        assert len(steps) == 1
        assert curves.points[-1].seconds == 10 * epochs, "of all epochs, not of those that are kept"
