"""Studies as workers move them on: which runs get which jobs, what waits for what, and how it all ends. Trainings are played."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import pytest
import rows
from sqlalchemy import select

from core.database import Database
from core.repositories.attempts import Ending, end_attempt, lose_attempt
from core.repositories.results import record_epoch
from core.repositories.studies import cancel_study, pause_study, resume_study
from core.settings import Settings
from core.states import Reason, State
from core.tables import LOCAL_TENANT, JobRow, StudyEventRow, StudyRow, StudyRunRow, StudyVariantRow
from core.validation import builtin_dataset
from service.studies.checking import check_study
from service.studies.submission import new_study
from worker.studies.advance import advance

BASE = {"dataset": "digits", "architecture": "lenet", "epochs": 3}
GRID: dict[str, Any] = {"name": "grid", "base": BASE, "space": {"optimizer": ["adam", "sgd"]}, "seeds": 2}


class Bench:
    """One study's rows, looked at and trained by hand."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.settings = Settings(data_dir=folder)

    def submit(self, **study: Any) -> str:
        from core.donors import no_donors
        from core.repositories.studies import create_study

        rows.submit(self.database)  # digits are ready, and one more job in the queue
        self.train_all()
        checked = check_study({**GRID, **study}, builtin_dataset, no_donors, lambda _: True)
        with self.database.transaction() as session:
            return create_study(session, LOCAL_TENANT, new_study(checked), None).id

    def look(self, study: str) -> None:
        """From a fresh connection each time, as after a crash."""
        while True:
            with self.database.transaction() as session:
                if not advance(session, LOCAL_TENANT, study, self.settings).more:
                    return

    def study(self, study: str) -> StudyRow:
        with self.database.snapshot() as session:
            return session.get_one(StudyRow, study)

    def runs(self, study: str) -> list[tuple[int, int, str | None]]:
        """(variant, seed, state of the job or None), in turn."""
        with self.database.snapshot() as session:
            found = session.execute(
                select(StudyRunRow.variant, StudyRunRow.seed, JobRow.state)
                .outerjoin(JobRow, JobRow.id == StudyRunRow.job_id)
                .where(StudyRunRow.study_id == study)
                .order_by(StudyRunRow.turn)
            )
            return [(variant, seed, state) for variant, seed, state in found]

    def states(self, study: str) -> Counter[str | None]:
        return Counter(state for _, _, state in self.runs(study))

    def details(self, study: str) -> list[str]:
        with self.database.snapshot() as session:
            query = select(StudyRunRow.detail).where(StudyRunRow.study_id == study, StudyRunRow.detail.is_not(None))
            return [str(detail) for detail in session.scalars(query)]

    def train(self, accuracies: list[float], end: str = "success") -> str | None:
        """The next job in the queue, with these accuracies by epoch. Returns its id."""
        claim = rows.claim(self.database)
        if claim is None:
            return None
        attempt = claim.attempt
        for number, accuracy in enumerate(accuracies, 1):
            progress = {"epoch": number, "epochs": len(accuracies), "step": 0, "steps": 1, "eta_seconds": None}
            best = accuracy >= max(accuracies[:number])
            with self.database.transaction() as session:
                record_epoch(session, attempt, rows.epoch(number, val_accuracy=accuracy), progress, best=best)
        match end:
            case "success":
                rows.finish(self.database, attempt)
            case "failure":
                with self.database.transaction() as session:
                    end_attempt(session, attempt, Ending(State.FAILED, "failed", Reason.DIVERGED, "diverged"))
            case "none":
                pass
        return attempt.job_id

    def train_all(self) -> None:
        while self.train([0.5]):
            pass


@pytest.fixture
def engine() -> str:
    """Where the queries are the same, one engine will do."""
    return "sqlite"


@pytest.fixture
def bench(database: Database, tmp_path: Path) -> Bench:
    return Bench(database, tmp_path)


class TestRunning:
    @pytest.fixture(params=["sqlite", "postgres"])
    def engine(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    def test_each_run_gets_one_job_and_the_study_succeeds_with_the_last(self, bench: Bench) -> None:
        study = bench.submit()
        for _ in range(3):  # looking again changes nothing
            bench.look(study)
        assert bench.runs(study) == [(1, 0, "QUEUED"), (2, 0, "QUEUED"), (1, 1, "QUEUED"), (2, 1, "QUEUED")]
        assert (bench.study(study).state, bench.study(study).progress["queued"]) == ("RUNNING", 4)
        bench.train_all()
        bench.look(study)
        ended = bench.study(study)
        assert (ended.state, ended.detail, ended.progress["succeeded"]) == ("SUCCEEDED", None, 4)
        assert ended.finished_at is not None

    def test_the_jobs_are_what_the_study_says(self, bench: Bench) -> None:
        study = bench.submit(budget={"epochs": 2})
        bench.look(study)
        with bench.database.snapshot() as session:
            jobs = session.execute(
                select(JobRow.spec, StudyRunRow.seed, StudyVariantRow.levels)
                .join(StudyRunRow, StudyRunRow.job_id == JobRow.id)
                .join(StudyVariantRow, StudyVariantRow.number == StudyRunRow.variant)
            ).all()
        assert {(spec["optimizer"]["name"], spec["seed"]) for spec, _, _ in jobs} == {
            (name, seed) for name in ("adam", "sgd") for seed in (0, 1)
        }
        assert all(spec["seed"] == seed and spec["epochs"] == 2 for spec, seed, _ in jobs)
        assert all(spec["optimizer"]["name"] == levels["/optimizer"] for spec, _, levels in jobs)

    def test_no_more_jobs_wait_than_the_study_allows(self, bench: Bench) -> None:
        study = bench.submit(max_parallel=1)
        for done in range(4):
            bench.look(study)
            assert bench.states(study) == Counter({"QUEUED": 1, "SUCCEEDED": done, None: 3 - done})
            bench.train([0.5])
        bench.look(study)
        assert bench.study(study).state == "SUCCEEDED"

    def test_failures_are_named_and_do_not_keep_the_rest_from_succeeding(self, bench: Bench) -> None:
        study = bench.submit()
        bench.look(study)
        bench.train([0.5], end="failure")
        bench.train_all()
        bench.look(study)
        assert (bench.study(study).state, bench.study(study).detail) == ("SUCCEEDED", "of 4 runs: 1 failed")

    def test_a_study_without_one_success_has_failed(self, bench: Bench) -> None:
        study = bench.submit(seeds=1)
        bench.look(study)
        while bench.train([0.5], end="failure"):
            pass
        bench.look(study)
        assert (bench.study(study).state, bench.study(study).detail) == (
            "FAILED",
            "no run succeeded; of 2 runs: 2 failed",
        )

    def test_a_job_that_is_refused_by_now_is_skipped_with_the_reason(self, bench: Bench) -> None:
        study = bench.submit(seeds=1)
        with bench.database.transaction() as session:
            variant = session.get_one(StudyVariantRow, (study, 1))
            variant.body = {**variant.body, "epochs": 0}
        bench.look(study)
        assert bench.states(study) == Counter({None: 1, "QUEUED": 1})
        (why,) = bench.details(study)
        assert "/epochs must be at least 1" in why
        bench.train_all()
        bench.look(study)
        assert (bench.study(study).state, bench.study(study).detail) == ("SUCCEEDED", "of 2 runs: 1 skipped")

    def test_events_tell_each_start_and_end_once(self, bench: Bench) -> None:
        study = bench.submit(seeds=1)
        bench.look(study)
        bench.train_all()
        bench.look(study)
        bench.look(study)
        with bench.database.snapshot() as session:
            events = session.scalars(select(StudyEventRow).order_by(StudyEventRow.sequence)).all()
            told = [(event.kind, event.data.get("variant"), event.data["state"]) for event in events]
        assert told == [
            ("state", None, "QUEUED"),
            ("run", 1, "QUEUED"),
            ("run", 2, "QUEUED"),
            ("state", None, "RUNNING"),
            ("run", 1, "SUCCEEDED"),
            ("run", 2, "SUCCEEDED"),
            ("state", None, "SUCCEEDED"),
        ]

    def test_an_unreadable_study_ends_with_the_reason(self, bench: Bench) -> None:
        study = bench.submit()
        with bench.database.transaction() as session:
            row = session.get_one(StudyRow, study)
            row.spec = {**row.spec, "from_the_future": True}
        bench.look(study)
        assert bench.study(study).state == "FAILED"
        assert "/from_the_future unknown field" in str(bench.study(study).detail)


class TestReuse:
    def finished(self, bench: Bench) -> str:
        first = bench.submit()
        bench.look(first)
        bench.train_all()
        bench.look(first)
        return first

    def test_a_finished_job_with_the_same_spec_is_taken(self, bench: Bench) -> None:
        self.finished(bench)
        study = bench.submit()
        bench.look(study)
        assert (bench.study(study).state, bench.study(study).progress["reused"]) == ("SUCCEEDED", 4)

    def test_unless_told_otherwise(self, bench: Bench) -> None:
        self.finished(bench)
        study = bench.submit(reuse=False)
        bench.look(study)
        assert bench.states(study) == Counter({"QUEUED": 4})

    def test_two_variants_with_one_spec_are_trained_apart(self, bench: Bench) -> None:
        self.finished(bench)
        same = {"optimizer": "adam"}
        study = bench.submit(space=None, variants=[{"name": name, "set": same} for name in ("a", "b")])
        bench.look(study)
        assert bench.states(study) == Counter({"SUCCEEDED": 2, "QUEUED": 2})

    def test_a_job_that_failed_is_not(self, bench: Bench) -> None:
        first = bench.submit(seeds=1)
        bench.look(first)
        while bench.train([0.5], end="failure"):
            pass
        study = bench.submit(seeds=1)
        bench.look(study)
        assert bench.states(study) == Counter({"QUEUED": 2})


class TestLenders:
    """A variant starts from another's job of the same seed, unless the published weights are on the machine."""

    LIST: tuple[dict[str, Any], ...] = (
        {
            "name": "transfer",
            "set": {"architecture": {"name": "transfer", "head": "average"}},
            "starts_from": {"variant": "base", "unless": "imagenet"},
        },
        {
            "name": "base",
            "set": {"architecture": {"name": "vgg", "preset": "vgg16", "input_size": 32}},
            "donor": True,
        },
        {"name": "plain"},
    )
    BASE: ClassVar[dict[str, Any]] = {**BASE, "dataset": {"name": "digits", "color": "rgb"}}

    def submit(self, bench: Bench) -> str:
        return bench.submit(space=None, base=self.BASE, variants=list(self.LIST), seeds=1)

    def test_it_waits_for_its_donor_and_keeps_nobody_waiting(self, bench: Bench) -> None:
        study = self.submit(bench)
        bench.look(study)
        assert bench.runs(study) == [(1, 0, None), (2, 0, "QUEUED"), (3, 0, "QUEUED")]
        donor = bench.train([0.5])
        bench.look(study)
        with bench.database.snapshot() as session:
            run = session.get_one(StudyRunRow, (study, 1, 0))
            job = session.get_one(JobRow, run.job_id)
            assert job.spec["architecture"]["weights"] == {"job": donor, "part": "base"}
            spec = session.get_one(StudyVariantRow, (study, 1)).spec
        assert spec["architecture"]["weights"]["job"] == "variant base"

    def test_without_its_donors_success_it_is_skipped(self, bench: Bench) -> None:
        study = self.submit(bench)
        bench.look(study)
        bench.train([0.5], end="failure")
        bench.train_all()
        bench.look(study)
        assert bench.details(study) == ["variant 'base', which it starts from, ended as FAILED (DIVERGED)"]
        assert bench.study(study).detail == "of 3 runs: 1 failed, 1 skipped"

    def test_a_donor_alone_is_no_success(self, bench: Bench) -> None:
        study = bench.submit(space=None, base=self.BASE, variants=list(self.LIST[:2]), seeds=1)
        bench.look(study)
        bench.train([0.5])
        bench.look(study)
        bench.train([0.5], end="failure")
        bench.look(study)
        assert (bench.study(study).state, bench.study(study).detail) == (
            "FAILED",
            "no run but donors succeeded; of 2 runs: 1 failed",
        )

    def test_published_weights_need_no_donor(self, bench: Bench) -> None:
        folder = bench.settings.downloads / "weights"
        folder.mkdir(parents=True)
        (folder / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5").write_bytes(b"")
        study = self.submit(bench)
        bench.look(study)
        assert bench.runs(study) == [(1, 0, "QUEUED"), (2, 0, None), (3, 0, "QUEUED")]
        assert bench.details(study) == ["not needed: the published weights are on this machine"]


class TestMoves:
    def test_a_paused_study_starts_nothing_and_goes_on_when_resumed(self, bench: Bench) -> None:
        study = bench.submit(max_parallel=1)
        bench.look(study)
        with bench.database.transaction() as session:
            pause_study(session, LOCAL_TENANT, study)
        bench.look(study)
        assert bench.states(study) == Counter({"PAUSED": 1, None: 3})
        with bench.database.transaction() as session:
            resume_study(session, LOCAL_TENANT, study)
        bench.look(study)
        assert bench.states(study) == Counter({"QUEUED": 1, None: 3})

    def test_a_job_that_was_still_pausing_is_resumed_once_it_has_paused(self, bench: Bench) -> None:
        study = bench.submit(seeds=1, max_parallel=1)
        bench.look(study)
        job = bench.train([0.5], end="none")
        with bench.database.transaction() as session:
            pause_study(session, LOCAL_TENANT, study)
            resume_study(session, LOCAL_TENANT, study)
        bench.look(study)
        assert rows.read(bench.database, str(job)).state == "PAUSING"
        with bench.database.transaction() as session:
            row = session.get_one(JobRow, job)
            row.state = State.PAUSED
        bench.look(study)
        assert rows.read(bench.database, str(job)).state == "QUEUED"

    def test_nothing_starts_after_a_cancel(self, bench: Bench) -> None:
        study = bench.submit(max_parallel=2)
        bench.look(study)
        with bench.database.transaction() as session:
            cancel_study(session, LOCAL_TENANT, study)
        bench.look(study)
        assert bench.states(study) == Counter({"CANCELLED": 2, None: 2})
        assert bench.study(study).state == "CANCELLED"


class TestSearches:
    SPACE: ClassVar[dict[str, Any]] = {
        "optimizer.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
        "batch_size": [16, 32],
    }

    def played(self, bench: Bench, **study: Any) -> list[dict[str, Any]]:
        """What each trial of a search set, when every training reaches the same."""
        name = bench.submit(space=self.SPACE, seeds=1, max_parallel=1, **study)
        for _ in range(30):
            bench.look(name)
            if not bench.train([0.5]):
                break
        assert bench.study(name).state == "SUCCEEDED"
        with bench.database.snapshot() as session:
            query = select(StudyVariantRow.levels).where(StudyVariantRow.study_id == name)
            return list(session.scalars(query.order_by(StudyVariantRow.number)))

    @pytest.mark.parametrize("method", ["random", "bayesian"])
    def test_the_same_search_tries_the_same_points(self, bench: Bench, method: str) -> None:
        search = {"method": method, "trials": 5, "seed": 3}
        first, again = (self.played(bench, search=search, reuse=False) for _ in range(2))
        assert first == again
        assert len(first) == 5
        assert all(1e-4 <= levels["/optimizer/learning_rate"] <= 1e-1 for levels in first)
        assert len({levels["/optimizer/learning_rate"] for levels in first}) == 5

    def test_a_space_of_lists_ends_when_all_has_been_tried(self, bench: Bench) -> None:
        study = bench.submit(space={"batch_size": [16, 32, 64]}, seeds=1, search={"method": "random", "trials": 9})
        for _ in range(9):
            bench.look(study)
            bench.train_all()
        assert bench.states(study) == Counter({"SUCCEEDED": 3})
        assert bench.study(study).detail == "every point of the space has been tried, in 3 trials"


class TestPruning:
    def study_of(self, bench: Bench, **pruning: Any) -> str:
        rates = [round(0.001 * number, 3) for number in range(1, 7)]
        base = {**BASE, "epochs": 9}
        space = {"optimizer.learning_rate": rates}
        return bench.submit(base=base, space=space, seeds=1, pruning=pruning)

    def play(self, bench: Bench, study: str) -> list[tuple[float, str, str | None, int]]:
        """Trains in turn, looking after every epoch; trial n reaches n tenths. (rate, state, reason, epochs) of each."""
        bench.look(study)
        while claim := rows.claim(bench.database):
            attempt, level = claim.attempt, claim.spec["optimizer"]["learning_rate"] * 100
            for number in range(1, 10):
                progress = {"epoch": number, "epochs": 9, "step": 0, "steps": 1, "eta_seconds": None}
                with bench.database.transaction() as session:
                    metrics = rows.epoch(number, val_accuracy=level)
                    recorded = record_epoch(session, attempt, metrics, progress, best=number == 1)
                if recorded.state is State.CANCELLING:
                    ending = Ending(State.CANCELLED, "cancelled", Reason.USER_CANCELLED)
                    with bench.database.transaction() as session:
                        end_attempt(session, attempt, ending)
                    break
                bench.look(study)
            else:
                rows.finish(bench.database, attempt)
            bench.look(study)
        with bench.database.snapshot() as session:
            query = select(JobRow).join(StudyRunRow, StudyRunRow.job_id == JobRow.id)
            jobs = session.scalars(query.where(StudyRunRow.study_id == study).order_by(StudyRunRow.turn)).all()
            return [
                (job.spec["optimizer"]["learning_rate"], job.state, job.reason, job.progress["epoch"]) for job in jobs
            ]

    def test_successive_halving_lets_the_best_third_of_those_so_far_go_on(self, bench: Bench) -> None:
        study = self.study_of(bench, reduction_factor=3)
        played = self.play(bench, study)
        # Each is better than all before it, so none is pruned.
        assert [state for _, state, _, _ in played] == ["SUCCEEDED"] * 6
        assert bench.study(study).state == "SUCCEEDED"

    def test_worse_ones_end_after_their_first_rung(self, bench: Bench) -> None:
        base = {**BASE, "epochs": 9}
        rates = [0.006, 0.005, 0.004, 0.003]
        study = bench.submit(base=base, space={"optimizer.learning_rate": rates}, seeds=1, pruning={})
        played = self.play(bench, study)
        assert [state for _, state, _, _ in played] == ["SUCCEEDED", "CANCELLED", "CANCELLED", "CANCELLED"]
        assert {reason for _, state, reason, _ in played if state == "CANCELLED"} == {"PRUNED"}
        # Heard at the end of the next epoch.
        assert [epochs for _, _, _, epochs in played] == [9, 2, 2, 2]
        assert bench.study(study).detail == "of 4 runs: 3 pruned"

    def test_the_words_say_why(self, bench: Bench) -> None:
        study = bench.submit(
            base={**BASE, "epochs": 9}, space={"optimizer.learning_rate": [0.006, 0.005]}, seeds=1, pruning={}
        )
        self.play(bench, study)
        with bench.database.snapshot() as session:
            details = [job.detail for job in session.scalars(select(JobRow).where(JobRow.reason == Reason.PRUNED))]
        assert details == [
            "pruned after epoch 1: val_accuracy 0.5000 was not among the best third of the trials that came so far"
        ]

    @pytest.mark.parametrize("method", ["hyperband", "median"])
    def test_other_pruners_run_too(self, bench: Bench, method: str) -> None:
        study = self.study_of(bench, method=method)
        assert {state for _, state, _, _ in self.play(bench, study)} <= {"SUCCEEDED", "CANCELLED"}
        assert bench.study(study).state == "SUCCEEDED"

    def test_a_pruned_job_whose_trainer_is_lost_is_pruned_all_the_same(self, bench: Bench) -> None:
        study = bench.submit(
            base={**BASE, "epochs": 9}, space={"optimizer.learning_rate": [0.006, 0.005]}, seeds=1, pruning={}
        )
        bench.look(study)
        bench.train([0.6, 0.6])
        bench.look(study)
        claim = rows.claim(bench.database)
        assert claim is not None
        with bench.database.transaction() as session:
            progress = {"epoch": 1, "epochs": 9, "step": 0, "steps": 1, "eta_seconds": None}
            record_epoch(session, claim.attempt, rows.epoch(1, val_accuracy=0.1), progress, best=True)
        bench.look(study)
        with bench.database.transaction() as session:
            lose_attempt(session, claim.attempt, Reason.WORKER_LOST, "killed")
        job = rows.read(bench.database, claim.attempt.job_id)
        assert (job.state, job.reason) == ("CANCELLED", "PRUNED")
