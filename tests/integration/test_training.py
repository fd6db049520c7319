"""What a job spec can ask of a training, in real trainer processes on real digits."""

from __future__ import annotations

import numpy as np
import pytest
import rows
from laboratory import FEW, FEWER, SMALL_TRANSFER, Laboratory, same

from core.repositories.lineage import get_lineage
from core.repositories.models import get_version
from core.states import Reason, State
from core.tables import LOCAL_TENANT


class TestOtherRules:
    """A job that was accepted under rules which have changed since."""

    def test_it_ends_with_the_field_that_is_not_allowed_any_more(self, lab: Laboratory) -> None:
        job = lab.submit(architecture="lenet", epochs=2)
        long = {"name": "cosine", "warmup_epochs": 5.0, "final_fraction": 0.0}
        rows.write(lab.database, job, spec={**lab.row(job).spec, "learning_rate_schedule": long})
        lab.attempt()
        row = lab.row(job)
        assert (row.state, row.reason) == (State.FAILED, Reason.INTERNAL_ERROR)
        assert "/learning_rate_schedule/warmup_epochs is not shorter" in (row.detail or "")


class TestEarlyStopping:
    def test_last_is_the_epoch_that_it_goes_back_to(self, lab: Laboratory) -> None:
        job = lab.train(
            dataset=FEW,
            architecture="lenet",
            epochs=9,
            publish="last",
            early_stopping={"patience": 2, "min_delta": 100.0},
        )
        assert len(lab.history(job)) == 3
        assert lab.version(job).metrics["epoch"] == 1


class TestDivergence:
    def test_the_best_epoch_before_it_is_kept(self, lab: Laboratory) -> None:
        job = lab.submit(
            dataset=FEW,
            architecture="lenet",
            phases=[{"epochs": 2}, {"epochs": 2, "learning_rate": 1e20}],
            optimizer="sgd",
        )
        lab.attempt()
        row = lab.row(job)
        assert (row.state, row.reason) == (State.FAILED, Reason.DIVERGED)
        assert "is published" in str(row.detail)
        assert lab.version(job).metrics["epoch"] <= 2
        assert np.all(np.isfinite(lab.weights(job)["logits"][0]))

    def test_an_epochs_last_step_can_be_the_one(self, lab: Laboratory) -> None:
        """Its own loss was still finite: only validation shows it."""
        job = lab.submit(
            dataset={"name": "digits", "train_limit": 20},
            architecture="lenet",
            optimizer={"name": "sgd", "learning_rate": 1e20},
            epochs=1,
        )
        lab.attempt()
        row = lab.row(job)
        assert (row.state, row.reason) == (State.FAILED, Reason.DIVERGED)
        assert "the validation loss became" in str(row.detail)
        assert lab.epochs(job) == []


class TestPrecision:
    @pytest.mark.parametrize("precision", ["bfloat16", "float16"])
    def test_drift_from_the_float32_rebuild_is_on_the_model(self, lab: Laboratory, precision: str) -> None:
        job = lab.train(dataset=FEW, architecture="lenet", epochs=2, precision=precision)
        parity = lab.version(job).parity
        assert parity["max_difference"] <= parity["tolerance"]
        assert parity["drift"]["precision"] == precision
        assert parity["drift"]["agreement"] >= 0.95
        assert parity["drift"]["max_difference"] > 0
        assert lab.environment(job)["precision"]["chosen"] == precision

    def test_auto_does_not_try_what_cannot_pay(self, lab: Laboratory) -> None:
        job = lab.train(dataset=FEW, architecture="lenet", epochs=1)
        assert lab.version(job).parity["drift"] is None
        assert lab.environment(job)["precision"]["because"] == "the training is too short for a trial"


class TestCollapse:
    def test_it_is_named_within_three_epochs(self, lab: Laboratory) -> None:
        job = lab.submit(
            architecture={"name": "alexnet", "width": 0.1},
            optimizer={"name": "adam", "learning_rate": 0.1},
            epochs=3,
        )
        lab.attempt()
        codes = {warning["code"] for warning in lab.row(job).warnings}
        assert "collapsed_to_one_class" in codes

    def test_chance_is_told_once_of_the_whole_job_wherever_it_ends_or_is_killed(self, lab: Laboratory) -> None:
        """Not of the first phase's only epoch; and early stopping ends the job with the epoch after which it is killed."""
        job = lab.train(
            "epoch.after_commit@3",
            dataset=FEWER,
            architecture="lenet",
            optimizer={"name": "sgd", "learning_rate": 1e-12},
            phases=[{"epochs": 1}, {"epochs": 9}],
            early_stopping={"patience": 1, "min_delta": 100.0},
        )
        chance = [warning for warning in lab.row(job).warnings if warning["code"] == "chance_level"]
        assert [warning["numbers"]["epochs"] for warning in chance] == [3]

    def test_a_healthy_run_is_not_warned_of(self, lab: Laboratory) -> None:
        job = lab.train(architecture="lenet", epochs=3)
        assert lab.row(job).warnings == []


class TestBorrowedWeights:
    def test_a_job_can_go_on_where_another_ended(self, lab: Laboratory) -> None:
        architecture = {**SMALL_TRANSFER, "weights": "none", "frozen": False}
        first = lab.train(dataset=FEWER, architecture=architecture, optimizer="sgd", epochs=1)
        second = lab.train(
            dataset=FEWER,
            architecture={**SMALL_TRANSFER, "weights": {"job": first, "part": "network"}},
            optimizer={"name": "sgd", "learning_rate": 1e-12},
            epochs=1,
        )
        lent, borrowed = lab.weights(first), lab.weights(second)
        assert np.allclose(lent["logits"][0], borrowed["logits"][0])
        assert same(
            {name: value for name, value in lent.items() if name.startswith("base/")},
            {name: value for name, value in borrowed.items() if name.startswith("base/")},
        )
        self.assert_card(lab, second, lender=first)

    def assert_card(self, lab: Laboratory, job: str, lender: str) -> None:
        """What was measured at publishing, and where it comes from, is known of the version."""
        row = lab.version(job)
        arrays = [array for layer in lab.weights(job).values() for array in layer]
        assert row.card["sizes"]["parameters"] == sum(array.size for array in arrays)
        assert row.card["latency"]["batch_1_ms"] > 0
        assert row.card["latency"]["threads"] == lab.environment(job)["threads"]
        with lab.database.snapshot() as session:
            lineage = get_lineage(session, LOCAL_TENANT, get_version(session, LOCAL_TENANT, row.name, row.version))
        assert lineage.lender is not None
        assert lineage.lender.job_id == lender
        assert lineage.weights.bytes == row.card["sizes"]["weights_bytes"]
        assert lineage.evaluation.data["per_class"]

    def test_weights_that_are_nowhere_end_the_job_saying_what_to_do(self, lab: Laboratory) -> None:
        job = lab.submit(dataset=FEW, architecture=SMALL_TRANSFER, epochs=1)
        lab.attempt()
        row = lab.row(job)
        assert (row.state, row.reason) == (State.FAILED, Reason.WEIGHTS_UNAVAILABLE)
        assert "KERASD_WEIGHTS_FILES" in str(row.detail)
