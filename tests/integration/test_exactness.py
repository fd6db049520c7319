"""What a seed and a crash may change of a training, in real trainer processes on real digits: nothing."""

from __future__ import annotations

from typing import Any

import pytest
from laboratory import FEW, FEWER, SMALL_TRANSFER, Laboratory, same


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
                    "precision": "float16",
                    "epochs": 4,
                },
                ["epoch.after_commit@2"],
                id="plateau, mixup, batch normalisation, focal loss, float16 with its loss scale",
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
                {
                    "dataset": FEWER,
                    "optimizer": {"name": "sgd", "momentum": 0.9, "use_ema": True, "ema_momentum": 0.9},
                    "phases": [{"epochs": 2}, {"epochs": 1, "learning_rate": 1e-3}],
                    "augmentation": {"flip": "horizontal", "mode": "doubled"},
                    "publish": "last",
                },
                ["epoch.after_commit@1", "epoch.after_commit@1"],
                id="averaged weights, doubled once, killed within a phase and at its border",
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

    @pytest.mark.parametrize(
        ("epochs", "crashes"),
        [
            pytest.param(1, ["epoch.after_commit@1"], id="at the border"),
            pytest.param(2, ["epoch.after_commit@1"] * 3, id="inside each and at the border", marks=pytest.mark.long),
        ],
    )
    def test_phases_of_a_base(self, lab: Laboratory, epochs: int, crashes: list[str]) -> None:
        """Killed between the phase in which the base is frozen and the one in which part of it learns, and inside them."""
        untrained = {**SMALL_TRANSFER, "weights": "none", "frozen": False}
        donor = lab.train(dataset=FEWER, architecture=untrained, optimizer="sgd", epochs=1, deterministic=True)
        spec: dict[str, Any] = {
            "dataset": FEWER,
            "architecture": {**SMALL_TRANSFER, "weights": {"job": donor}},
            "optimizer": {"name": "sgd", "momentum": 0.9},
            "phases": [
                {"epochs": epochs},
                {"epochs": epochs, "learning_rate": 1e-3, "unfreeze_from": "block5_conv2"},
            ],
            "publish": "last",
            "deterministic": True,
        }
        straight = lab.train(**spec)
        broken = lab.train(*crashes, **spec)
        assert lab.row(broken).attempt == len(crashes) + 1
        assert lab.history(broken) == lab.history(straight)
        assert [epoch["phase"] for epoch in lab.history(straight)] == [1] * epochs + [2] * epochs
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
