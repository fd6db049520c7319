"""What core computes without TensorFlow is what Keras says, for every optimizer and loss."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter

from core.optimizers import OptimizerOptions, OptimizerSpec
from core.training_options import LossSpec

LOSS: TypeAdapter[Any] = TypeAdapter(LossSpec)
OPTIMIZERS: list[type[OptimizerOptions]] = list(get_args(get_args(OptimizerSpec)[0]))


class TestOptimizers:
    @pytest.mark.parametrize("options", OPTIMIZERS, ids=lambda options: options.__name__)
    def test_options_and_defaults_are_keras_own(self, options: type[OptimizerOptions]) -> None:
        from worker.optimizers import _CLASSES

        fields = options.model_fields
        name = get_args(fields["name"].annotation)[0]
        signature = inspect.signature(_CLASSES[name].__init__).parameters
        ours = {field: info.default for field, info in fields.items() if field != "name"}
        assert ours == {field: signature[field].default for field in ours}

    @pytest.mark.parametrize("options", OPTIMIZERS, ids=lambda options: options.__name__)
    def test_it_can_be_built(self, options: type[OptimizerOptions]) -> None:
        from worker.optimizers import make_optimizer

        name = get_args(options.model_fields["name"].annotation)[0]
        assert make_optimizer(options(name=name, learning_rate=0.5)).learning_rate.numpy() == pytest.approx(0.5)  # type: ignore[call-arg]

    def test_every_optimizer_of_keras_is_offered(self) -> None:
        import keras

        from worker.optimizers import _CLASSES

        wrappers = {"LossScaleOptimizer", "MultiOptimizer", "OptimizerMap", "Optimizer"}  # need Python objects
        offered = {kind.__name__ for kind in _CLASSES.values()}
        named = {name for name, item in vars(keras.optimizers).items() if inspect.isclass(item)}
        assert named - wrappers == offered


class TestLosses:
    @pytest.mark.parametrize("name", ["sparse_categorical_crossentropy", "categorical_crossentropy"])
    def test_cross_entropies_take_logits(self, name: Any) -> None:
        import numpy as np

        from worker.losses import make_loss

        logits = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, 0.0]], np.float32)
        labels = np.array([0, 2])
        expected = np.log(np.exp(logits).sum(1)) - logits[[0, 1], labels]
        assert np.asarray(make_loss(LOSS.validate_python({"name": name}), 3)(labels, logits)) == pytest.approx(
            expected, rel=1e-5
        )

    @pytest.mark.parametrize("name", ["mean_absolute_error", "mean_squared_error", "poisson", "kl_divergence"])
    def test_the_others_compare_one_hot_labels_with_probabilities(self, name: Any) -> None:
        import numpy as np

        from worker.losses import make_loss

        good, bad = (np.array([[sign * 9.0, 0.0, 0.0]], np.float32) for sign in (1, -1))
        loss = make_loss(LOSS.validate_python({"name": name}), 3)
        assert float(np.asarray(loss(np.array([0]), good))[0]) < float(np.asarray(loss(np.array([0]), bad))[0])


class TestTrainerImports:
    def test_a_trainer_keeps_its_own_sqlite_beside_tensorflow(self, tmp_path: Any) -> None:
        """Decision 0006: loaded after TensorFlow, the driver would bind to TensorFlow's older SQLite."""
        script = (
            "import sys\nfrom worker.trainer import import_training\nimport_training()\n"
            "from core.database import Database\nd = Database(sys.argv[1])\n"
            "c = d.engine.connect()\n"
            "print(c.exec_driver_sql('SELECT sqlite_version()').scalar(), c.exec_driver_sql('PRAGMA journal_mode').scalar())"
        )
        run = subprocess.run(
            [sys.executable, "-c", script, f"sqlite:///{tmp_path / 'x.sqlite3'}"],
            capture_output=True,
            text=True,
            check=True,
        )
        version, mode = run.stdout.split()[-2:]
        from core.database import FIRST_SAFE_WAL, SQLITE

        assert tuple(map(int, version.split("."))) == SQLITE.sqlite_version_info
        assert mode == ("wal" if SQLITE.sqlite_version_info >= FIRST_SAFE_WAL else "delete")
