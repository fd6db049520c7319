"""Estimates of memory and time: they follow what a training needs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.validation import check_spec
from service.jobs.estimates import estimate, estimated_memory, estimated_seconds, optimizer_slots, slowness

CACHE = 256 << 20
"""bytes of pixels that are kept in memory for each part of a split"""


def checked(**fields: Any) -> Any:
    return check_spec({"dataset": "cifar100", "architecture": "lenet", **fields})


def memory(of: Any) -> int:
    return estimated_memory(of, CACHE)


class TestMemory:
    def test_optimizers_that_keep_more_need_more(self) -> None:
        sizes = [
            memory(checked(architecture="alexnet", optimizer=optimizer))
            for optimizer in ("sgd", "adagrad", "adam", {"name": "adam", "amsgrad": True})
        ]
        assert sizes == sorted(set(sizes))

    def test_a_frozen_base_needs_less_than_a_trained_one(self) -> None:
        frozen = {"name": "transfer", "head": "average"}
        trained = {**frozen, "weights": "none", "frozen": False}
        assert memory(checked(architecture=frozen)) < memory(checked(architecture=trained))

    def test_larger_batches_need_more(self) -> None:
        assert memory(checked(batch_size=32)) < memory(checked(batch_size=512))

    def test_images_that_are_read_as_needed_need_none(self) -> None:
        """MNIST at 224x224 in colour is 10 GB, 7.7 of them training images; its parts are not kept in memory."""
        large = checked(dataset="mnist", architecture={"name": "vgg", "preset": "vgg16"})
        pixels = large.counts.train * 224 * 224 * 3
        assert estimated_memory(large, pixels) - memory(large) >= pixels > 7e9

    def test_validation_counts_whatever_the_batches_that_are_trained_on(self) -> None:
        architecture = {"name": "vgg", "preset": "vgg16"}
        one, eight = (checked(architecture=architecture, batch_size=size) for size in (1, 8))
        assert memory(one) == memory(eight)
        assert memory(one) > 4 * one.network.activations * one.network.evaluation_batch / 2
        assert memory(checked(architecture=architecture, batch_size=256)) > memory(one)

    @pytest.mark.parametrize(
        ("optimizer", "slots"),
        [("sgd", 0), ({"name": "sgd", "momentum": 0.9}, 1), ("adam", 2), ("rmsprop", 1), ({"name": "lion"}, 1)],
        ids=str,
    )
    def test_slots_are_keras_own(self, optimizer: Any, slots: int) -> None:
        assert optimizer_slots(checked(optimizer=optimizer).spec.optimizer) == slots


class TestEvaluationBatch:
    """What runs through a network at once where nothing is trained: decided by the network alone."""

    @pytest.mark.parametrize("architecture", ["lenet", "alexnet", "mycnn", "vgg"])
    def test_it_is_256_on_small_images(self, architecture: str) -> None:
        assert checked(architecture=architecture).network.evaluation_batch == 256

    def test_it_shrinks_as_a_network_grows(self) -> None:
        network = checked(architecture={"name": "vgg", "preset": "vgg16"}).network
        assert 16 <= network.evaluation_batch < 64
        assert replace(network, activations=1 << 40).evaluation_batch == 1


class TestTime:
    def test_it_follows_the_images(self) -> None:
        few, all_of_them = (checked(dataset={"name": "cifar100", "train_limit": limit}) for limit in (8_500, 42_500))
        assert estimated_seconds(few) < estimated_seconds(all_of_them)

    def test_a_frozen_base_takes_less_than_a_trained_one(self) -> None:
        frozen = {"name": "transfer", "head": "average"}
        trained = {**frozen, "weights": "none", "frozen": False}
        assert estimated_seconds(checked(architecture=frozen)) < estimated_seconds(checked(architecture=trained))

    def test_an_earlier_job_of_the_same_network_is_believed(self) -> None:
        told = estimate(checked(), ("job-1", 100.0), CACHE)
        assert told.based_on == "job job-1"
        assert told.epoch_seconds == pytest.approx(checked().epoch_images / 100, rel=0.2)
        assert estimate(checked(), None, CACHE).based_on == "calibration"

    def test_what_an_epoch_costs_beside_its_steps_is_counted_whoever_tells_their_speed(self) -> None:
        """LeNet on digits takes about as long to validate, store and commit as it takes to train."""
        small, large = (checked(dataset="digits", architecture=name) for name in ("lenet", "alexnet"))
        steps_take_nothing = [
            estimate(each, ("job-1", 1e12), CACHE).epoch_seconds / slowness() for each in (small, large)
        ]
        assert 0.1 < steps_take_nothing[0] < estimated_seconds(small) < 2 * steps_take_nothing[0] + 0.3
        assert steps_take_nothing[1] > steps_take_nothing[0] + 0.3  # AlexNet's checkpoint is 700 MB
