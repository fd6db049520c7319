"""Augmentation, schedules, losses and callbacks against what they are defined to do, and against Keras's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from core.errors import TrainingFailure
from core.training_options import Augmentation, EarlyStopping, LossSpec, ReduceOnPlateau, StepSchedule
from worker.datasets.images import MemoryImages

LOSS: TypeAdapter[Any] = TypeAdapter(LossSpec)
SCHEDULE: TypeAdapter[Any] = TypeAdapter(StepSchedule)
SHAPE = (12, 10, 3)
PICTURES = np.random.default_rng(0).integers(0, 256, (6, *SHAPE)).astype(np.float32)
LABELS = np.array([0, 1, 2, 0, 1, 2], np.int32)

KINDS: list[dict[str, Any]] = [
    {"flip": "horizontal"},
    {"flip": "vertical"},
    {"flip": "both"},
    {"rotation": 0.1},
    {"zoom": 0.3},
    {"translation": 0.2},
    {"contrast": 0.5},
    {"cutout": 0.4},
    {"mixup": 0.4},
    {"cutmix": 1.0},
    {"flip": "both", "rotation": 0.1, "zoom": 0.1, "translation": 0.1, "contrast": 0.2, "cutout": 0.2},
]


def augmented(options: dict[str, Any], epoch: int, images: list[int], seed: int = 0) -> tuple[Any, Any]:
    import tensorflow as tf

    from worker.augmentation import Augmenter

    augmenter = Augmenter(Augmentation(**options), seed, SHAPE, classes=3)

    @tf.function  # type: ignore[untyped-decorator]
    def change(pixels: Any, labels: Any, at: Any) -> Any:
        return augmenter(pixels, labels, tf.constant(epoch, tf.int64), at)

    at = np.array(images, np.int64)
    pixels, labels = change(tf.constant(PICTURES[at]), tf.constant(LABELS[at]), tf.constant(at))
    return pixels.numpy(), labels.numpy()


class TestAugmentation:
    @pytest.mark.parametrize("options", KINDS, ids=str)
    def test_it_changes_images_and_keeps_their_shape_and_range(self, options: dict[str, Any]) -> None:
        pixels, labels = augmented(options, 0, list(range(6)))
        assert pixels.shape == PICTURES.shape
        assert not np.array_equal(pixels, PICTURES)
        assert pixels.min() >= -1e-3
        assert pixels.max() <= 255.001
        if labels.ndim == 2:
            assert labels.sum(axis=1) == pytest.approx(np.ones(6), abs=1e-5)
        else:
            assert np.array_equal(labels, LABELS)

    @pytest.mark.parametrize("options", [kind for kind in KINDS if not {"mixup", "cutmix"} & kind.keys()], ids=str)
    def test_what_an_image_gets_depends_on_no_other(self, options: dict[str, Any]) -> None:
        together, _ = augmented(options, 4, [0, 1, 2, 3, 4, 5])
        alone, _ = augmented(options, 4, [3, 1])
        np.testing.assert_allclose(alone, together[[3, 1]], atol=1e-3)

    def test_epochs_and_seeds_differ(self) -> None:
        first, _ = augmented({"rotation": 0.2}, 0, [0, 1])
        assert not np.allclose(first, augmented({"rotation": 0.2}, 1, [0, 1])[0])
        assert not np.allclose(first, augmented({"rotation": 0.2}, 0, [0, 1], seed=1)[0])
        assert np.array_equal(first, augmented({"rotation": 0.2}, 0, [0, 1])[0])

    def test_flips_happen_to_half_of_the_images(self) -> None:
        flipped = sum(
            not np.array_equal(augmented({"flip": "horizontal"}, epoch, [0])[0][0], PICTURES[0]) for epoch in range(40)
        )
        assert 8 <= flipped <= 32

    def test_cutout_is_grey_and_no_larger_than_asked(self) -> None:
        pixels, _ = augmented({"cutout": 0.5}, 0, list(range(6)))
        grey = np.all(pixels == 127.5, axis=-1)
        assert grey.any(axis=(1, 2)).all()
        assert grey.sum(axis=(1, 2)).max() <= 6 * 5
        assert np.array_equal(pixels[~grey], PICTURES[~grey])

    def test_cutmix_labels_tell_how_much_of_each_image_is_there(self) -> None:
        pixels, labels = augmented({"cutmix": 1.0}, 2, list(range(6)))
        own = np.all(pixels == PICTURES, axis=-1).mean(axis=(1, 2))
        assert (labels[np.arange(6), LABELS] >= own - 1e-5).all()

    def test_mixup_is_a_weighted_mean_of_two(self) -> None:
        pixels, labels = augmented({"mixup": 1.0}, 0, [0, 1])
        weight = labels[0, 0]
        np.testing.assert_allclose(pixels[0], weight * PICTURES[0] + (1 - weight) * PICTURES[1], atol=1e-2)


class TestSchedules:
    @pytest.mark.parametrize(
        ("document", "expected"),
        [
            ({"name": "constant", "warmup_epochs": 1.0}, {0: 0.05, 9: 0.5, 10: 0.5, 39: 0.5}),
            ({"name": "cosine"}, {0: 0.5, 20: 0.25, 40: 0.0}),
            ({"name": "cosine", "final_fraction": 0.1}, {0: 0.5, 40: 0.05}),
            ({"name": "cosine", "warmup_epochs": 2.0}, {19: 0.5, 20: 0.5, 30: 0.25, 40: 0.0}),
            ({"name": "exponential", "decay_rate": 0.5}, {0: 0.5, 10: 0.25, 20: 0.125}),
            ({"name": "exponential", "decay_rate": 0.5, "staircase": True}, {9: 0.5, 10: 0.25, 19: 0.25}),
            ({"name": "piecewise", "boundaries": [1.0, 3.0], "factors": [0.1, 0.01]}, {9: 0.5, 10: 0.05, 30: 0.005}),
            (
                {"name": "piecewise", "boundaries": [1.0, 3.0], "factors": [0.5, 0.1], "warmup_epochs": 2.0},
                {9: 0.25, 19: 0.5, 20: 0.25, 29: 0.25, 30: 0.05},
            ),
        ],
        ids=str,
    )
    def test_rates_of_steps(self, document: dict[str, Any], expected: dict[int, float]) -> None:
        from worker.schedules import make_schedule

        schedule = make_schedule(SCHEDULE.validate_python(document), 0.5, steps=10, epochs=4)
        rates = {step: float(np.asarray(schedule(np.int64(step)))) for step in expected}
        assert rates == pytest.approx(expected, abs=1e-6)


class TestLosses:
    @pytest.mark.parametrize(
        "document",
        [
            {"name": "sparse_categorical_crossentropy"},
            {"name": "categorical_crossentropy", "label_smoothing": 0.1},
            {"name": "sparse_categorical_crossentropy", "label_smoothing": 0.1},
            {"name": "focal"},
            {"name": "poisson"},
            {"name": "mean_absolute_error"},
        ],
        ids=str,
    )
    def test_integers_and_shares_of_one_class_mean_the_same(self, document: dict[str, Any]) -> None:
        from worker.losses import make_loss

        logits = np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)
        loss = make_loss(LOSS.validate_python(document), 3)
        plain = np.asarray(loss(LABELS, logits))
        assert plain.shape == (6,)
        np.testing.assert_allclose(plain, np.asarray(loss(np.eye(3, dtype=np.float32)[LABELS], logits)), rtol=1e-5)

    def test_focal_with_gamma_zero_is_cross_entropy_times_alpha(self) -> None:
        from worker.losses import make_loss

        logits = np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)
        focal = make_loss(LOSS.validate_python({"name": "focal", "gamma": 0.0, "alpha": 0.5}), 3)
        plain = make_loss(LOSS.validate_python({"name": "categorical_crossentropy"}), 3)
        np.testing.assert_allclose(
            np.asarray(focal(LABELS, logits)), 0.5 * np.asarray(plain(LABELS, logits)), rtol=1e-4
        )


class FakeModel:
    """As much of a network as callbacks touch."""

    def __init__(self, rate: float = 0.1) -> None:
        import keras

        self.optimizer = keras.optimizers.SGD(rate)
        self.stop_training = False

    def get_weights(self) -> list[Any]:
        return []


VALUES = [1.0, 0.9, 0.95, 0.96, 0.7, 0.7, 0.71, 0.72, 0.73, 0.74]


class TestCallbacks:
    @pytest.mark.parametrize("patience", [1, 2, 3])
    def test_early_stopping_stops_where_keras_does(self, patience: int) -> None:
        import keras

        from worker.callbacks.early_stopper import EarlyStopper

        ours = EarlyStopper(EarlyStopping(patience=patience))
        theirs = keras.callbacks.EarlyStopping(patience=patience)
        assert stops(ours) == stops(theirs)

    @pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own callback
    @pytest.mark.parametrize(("patience", "cooldown"), [(1, 0), (2, 0), (1, 2), (2, 1)])
    def test_the_rate_falls_where_keras_lowers_it(self, patience: int, cooldown: int) -> None:
        import keras

        from worker.callbacks.plateau_reducer import PlateauReducer

        spec = ReduceOnPlateau(name="reduce_on_plateau", factor=0.5, patience=patience, cooldown=cooldown)
        theirs = keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=patience, cooldown=cooldown)
        assert rates(PlateauReducer(spec)) == pytest.approx(rates(theirs))

    def test_a_state_that_is_stored_and_restored_at_every_epoch_changes_nothing(self) -> None:
        from worker.callbacks.plateau_reducer import PlateauReducer

        spec = ReduceOnPlateau(name="reduce_on_plateau", factor=0.5, patience=2, cooldown=1)
        model, found, state = FakeModel(), [], PlateauReducer(spec).state()
        for epoch, value in enumerate(VALUES):
            reducer = PlateauReducer(spec)
            reducer.restore_state(state)
            reducer.set_model(model)
            reducer.on_epoch_end(epoch, {"val_loss": value})
            state = reducer.state()
            found.append(float(np.asarray(model.optimizer.learning_rate)))
        assert found == pytest.approx(rates(PlateauReducer(spec)))


class TestAveragedWeights:
    """With `use_ema`: what is validated, kept by other callbacks and left at the end are the averages, to the last bit."""

    def test_averages_are_in_place_from_validation_to_the_end_of_an_epoch(self) -> None:
        from worker.callbacks.average_swapper import AverageSwapper

        average, expected = 0.0, []
        for number, weight in enumerate(kept_weights(use_ema=False)):
            average = weight if number == 0 else 0.5 * average + 0.5 * weight
            expected.append(average)
        kept = kept_weights(AverageSwapper(), use_ema=True)
        assert kept == pytest.approx([*expected, expected[-1]])
        assert kept[-1] == kept[-2]


class TestPublishing:
    """Held-out pictures are 256 dark ones, then 256 bright ones."""

    PIXELS = np.repeat([0, 255], 256).astype(np.uint8).reshape(-1, 1, 1, 1)
    HELD_OUT = MemoryImages((PIXELS.ravel() > 0).astype(np.int32), (1, 1, 1), PIXELS)

    def test_drift_is_seen_of_a_class_that_is_stored_last(self) -> None:
        from worker.publishing import check_drift

        with pytest.raises(TrainingFailure, match=r"50\.0%"):
            check_drift(brightness_network(1.0), brightness_network(0.0), self.HELD_OUT, 100, "float16")

    def test_batches_have_no_part_in_parity(self) -> None:
        from worker.publishing import check_parity, export_onnx

        network = brightness_network(1.0)
        parity = check_parity(export_onnx(network, (1, 1, 1)), network, self.HELD_OUT, 100)
        assert (parity["images"], parity["max_difference"]) == (256, 0.0)


class TestClassWeights:
    def test_balanced_is_scikit_learns(self) -> None:
        from sklearn.utils.class_weight import compute_class_weight

        from worker.class_weights import class_weights

        labels = np.array([0] * 7 + [1] * 2 + [2], np.int32)
        expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
        np.testing.assert_allclose(class_weights("balanced", ["a", "b", "c"], labels), expected, rtol=1e-6)

    def test_labels_that_are_not_named_count_one(self) -> None:
        from worker.class_weights import class_weights

        assert class_weights({"b": 3.0}, ["a", "b"], LABELS).tolist() == [1.0, 3.0]


def brightness_network(weight: float) -> Any:
    """Logits of a picture of one pixel: 100 for dark, and `weight` times its brightness."""
    import keras

    pixels = keras.Input((1, 1, 1))
    network = keras.Model(pixels, keras.layers.Dense(2)(keras.layers.Flatten()(pixels)))
    network.set_weights([np.array([[0.0, weight]]), np.array([100.0, 0.0])])
    return network


def kept_weights(*callbacks: Any, use_ema: bool) -> list[float]:
    """The one weight of a network at the end of each epoch of one step; and at the very end, where it is averaged."""
    import keras

    class Keeper(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            weight = float(self.model.get_weights()[0].item())
            assert (logs or {})["val_loss"] == pytest.approx((weight - 3.0) ** 2)
            found.append(weight)

    found: list[float] = []
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")])
    network.compile(keras.optimizers.SGD(0.1, use_ema=use_ema, ema_momentum=0.5), "mse")
    one, three = np.ones((1, 1), np.float32), np.full((1, 1), 3.0, np.float32)
    network.fit(one, three, validation_data=(one, three), epochs=4, verbose=0, callbacks=[Keeper(), *callbacks])
    return [*found, float(network.get_weights()[0].item())] if use_ema else found


def stops(callback: Any) -> int:
    """The epoch at which it stops; one past the last where it does not."""
    model = FakeModel()
    callback.set_model(model)
    callback.on_train_begin()
    for epoch, value in enumerate(VALUES):
        callback.on_epoch_end(epoch, {"val_loss": value})
        if model.stop_training:
            return epoch
    return len(VALUES)


def rates(callback: Any) -> list[float]:
    """The learning rate after each epoch."""
    model, found = FakeModel(), []
    callback.set_model(model)
    callback.on_train_begin()
    for epoch, value in enumerate(VALUES):
        callback.on_epoch_end(epoch, {"val_loss": value})
        found.append(float(np.asarray(model.optimizer.learning_rate)))
    return found
