"""What a job spec can ask of a training, in real trainer processes on real digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import rows
from laboratory import Laboratory, same

from core.repositories.lineage import get_lineage
from core.repositories.models import get_version
from core.states import Reason, State
from core.tables import LOCAL_TENANT

FEW: dict[str, Any] = {"name": "digits", "train_limit": 320}
FEWER: dict[str, Any] = {"name": "digits", "train_limit": 100}
SMALL_TRANSFER: dict[str, Any] = {"name": "transfer", "head": "average"}


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


class TestExactness:
    """A deterministic job that was killed ends as one that was not: the same history and weights, to the last bit."""

    @pytest.mark.parametrize(
        ("spec", "crashes"),
        [
            pytest.param(
                {
                    "optimizer": {"name": "sgd", "momentum": 0.9},
                    "learning_rate_schedule": {"name": "cosine", "warmup_epochs": 0.5},
                    "augmentation": {"flip": "both", "rotation": 0.1, "zoom": 0.1, "translation": 0.1, "cutout": 0.3},
                    "architecture": {"name": "lenet", "dropout": 0.3},
                    "class_weights": {"0": 2.0, "9": 0.5},
                    "gradient_clipping": {"global_norm": 1.0},
                    "epochs": 3,
                },
                ["checkpoint.after_file@2"],
                id="schedule, augmentation, dropout, class weights, clipping",
            ),
            pytest.param(
                {
                    "learning_rate_schedule": {"name": "reduce_on_plateau", "patience": 1, "min_delta": 0.5},
                    "augmentation": {"mixup": 0.4, "contrast": 0.3},
                    "architecture": {"name": "lenet", "batch_norm": True},
                    "loss": {"name": "focal", "label_smoothing": 0.1},
                    "epochs": 4,
                },
                ["epoch.after_commit@2"],
                id="plateau, mixup, batch normalisation, focal loss",
            ),
            pytest.param(
                {
                    "early_stopping": {"patience": 1, "min_delta": 10.0},
                    "publish": "last",
                    "phases": [{"epochs": 4}, {"epochs": 4, "learning_rate": 1e-4}],
                    "augmentation": {"cutmix": 1.0},
                },
                ["epoch.after_commit@1", "epoch.after_commit@1", "epoch.after_commit@1", "attempt.before_finish"],
                id="early stopping in each of two phases, killed at each border",
            ),
            pytest.param(
                {"augmentation": {"flip": "horizontal", "mode": "doubled"}, "precision": "float16", "epochs": 3},
                ["epoch.after_commit@1"],
                id="doubled once, float16 with its loss scale",
            ),
            pytest.param(
                {
                    "dataset": FEWER,
                    "optimizer": {"name": "sgd", "momentum": 0.9, "use_ema": True, "ema_momentum": 0.9},
                    "phases": [{"epochs": 2}, {"epochs": 1, "learning_rate": 1e-3}],
                    "publish": "last",
                },
                ["epoch.after_commit@1", "epoch.after_commit@1"],
                id="averaged weights, killed within a phase and at its border",
            ),
        ],
    )
    def test_killed_and_resumed(self, lab: Laboratory, spec: dict[str, Any], crashes: list[str]) -> None:
        spec = {"dataset": FEW, "architecture": "lenet", "deterministic": True, "seed": 3, **spec}
        straight, broken = lab.train(**spec), lab.train(*crashes, **spec)
        assert lab.row(broken).attempt == len(crashes) + 1
        assert lab.history(broken) == lab.history(straight)
        assert same(lab.weights(broken), lab.weights(straight))
        assert lab.row(broken).evaluation == lab.row(straight).evaluation

    def test_phases_of_a_base(self, lab: Laboratory) -> None:
        """Killed inside and at the border of each phase, while the base is frozen and while part of it learns."""
        untrained = {**SMALL_TRANSFER, "weights": "none", "frozen": False}
        donor = lab.train(dataset=FEWER, architecture=untrained, optimizer="sgd", epochs=1, deterministic=True)
        spec: dict[str, Any] = {
            "dataset": FEWER,
            "architecture": {**SMALL_TRANSFER, "weights": {"job": donor}},
            "optimizer": {"name": "sgd", "momentum": 0.9},
            "phases": [{"epochs": 2}, {"epochs": 2, "learning_rate": 1e-3, "unfreeze_from": "block5_conv2"}],
            "publish": "last",
            "deterministic": True,
        }
        straight = lab.train(**spec)
        broken = lab.train("epoch.after_commit@1", "epoch.after_commit@1", "epoch.after_commit@1", **spec)
        assert lab.history(broken) == lab.history(straight)
        assert [epoch["phase"] for epoch in lab.history(straight)] == [1, 1, 2, 2]
        assert same(lab.weights(broken), lab.weights(straight))
        lent, learned = lab.weights(donor), lab.weights(straight)
        frozen = [name for name in learned if "base/" < name < "base/block5_conv2"]
        assert same({name: lent[name] for name in frozen}, {name: learned[name] for name in frozen})
        assert not same({"a": lent["base/block5_conv2"]}, {"a": learned["base/block5_conv2"]})


class TestSeed:
    def test_it_decides_augmentation_and_dropout_too(self, lab: Laboratory) -> None:
        spec: dict[str, Any] = {
            "dataset": FEW,
            "architecture": {"name": "lenet", "dropout": 0.3},
            "augmentation": {"rotation": 0.1},
            "epochs": 1,
            "deterministic": True,
        }
        first, again, other = lab.train(**spec), lab.train(**spec), lab.train(**spec, seed=1)
        assert lab.history(first) == lab.history(again)
        assert lab.history(first) != lab.history(other)


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
