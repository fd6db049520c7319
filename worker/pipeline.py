"""From a stored dataset to the batches that Keras trains on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from core.artifacts import ArtifactStore
from core.dataset_content import SPLITS, StoredDataset
from core.jobspec import DatasetSpec
from core.settings import Settings
from core.splits import Indices
from worker.augmentation import Augmenter
from worker.datasets.images import Images, MemoryImages
from worker.datasets.parts import Parts
from worker.datasets.permutation import Permutation

ORDER_BLOCK = 8_192
"""positions whose order is computed at once"""


@dataclass(frozen=True)
class SplitDataset:
    """What a job sees of a dataset, at its network's input size, with labels 0..classes-1."""

    train: Images
    validation: Images
    test: Images


class EpochOrder:
    """The order of the training images in the running epoch: decided by (seed, epoch), whatever came before."""

    def __init__(self, seed: int, images: int) -> None:
        self._seed = seed
        self.images = images
        self.epoch = 0

    def current(self) -> np.int64:
        return np.int64(self.epoch)

    def block(self, epoch: int, number: int) -> Indices:
        """The positions that come ORDER_BLOCK * number steps into an epoch."""
        first = int(number) * ORDER_BLOCK
        steps = np.arange(first, min(first + ORDER_BLOCK, self.images), dtype=np.int64)
        return Permutation(self._seed, int(epoch), self.images)(steps)


def split_dataset(
    dataset: StoredDataset,
    spec: DatasetSpec,
    input_shape: tuple[int, int, int],
    store: ArtifactStore,
    settings: Settings,
) -> SplitDataset:
    """Applies a normalised dataset spec. `input_shape` is (height, width, channels).

    Raises TrainingFailure INVALID_DATASET when files of the dataset are missing or damaged.
    """
    parts = Parts(dataset, spec, store, settings)
    return SplitDataset(*(parts.take(name, input_shape) for name in SPLITS))


@dataclass(frozen=True)
class Treatment:
    """What happens to training images on their way: `augmenter` changes them, `class_weights` (classes,) weigh their losses."""

    augmenter: Augmenter | None = None
    doubled: bool = False
    """the images as they are, and one changed copy of each, in place of other changes in every epoch"""
    class_weights: NDArray[np.float32] | None = None


def training_batches(images: Images, batch_size: int, order: EpochOrder, treatment: Treatment = Treatment()) -> Any:
    """A tf.data.Dataset of (float32 pixels, labels[, weights]); each pass over it follows the order's present epoch."""
    count = order.images

    def block(epoch: Any, number: Any) -> Any:
        return tf.ensure_shape(tf.numpy_function(order.block, [epoch, number], tf.int64), [None])

    def one_epoch(epoch: Any) -> Any:
        numbers = tf.data.Dataset.range(-(-count // ORDER_BLOCK))
        return numbers.map(lambda number: block(epoch, number)).flat_map(tf.data.Dataset.from_tensor_slices)

    def with_epoch(epoch: Any) -> Any:
        return one_epoch(epoch).batch(batch_size).map(lambda positions: (epoch, positions))

    epoch = tf.data.Dataset.from_tensors(0).map(lambda _: tf.numpy_function(order.current, [], tf.int64))
    batches = epoch.map(lambda number: tf.ensure_shape(number, [])).flat_map(with_epoch)
    return _read(batches, images, -(-count // batch_size), treatment)


def evaluation_batches(images: Images, batch_size: int) -> Any:
    """A tf.data.Dataset of (float32 pixels, labels) in their own order."""
    count = len(images.labels)
    batches = tf.data.Dataset.range(count).batch(batch_size).map(lambda positions: (tf.constant(0), positions))
    return _read(batches, images, -(-count // batch_size), Treatment())


def _read(batches: Any, images: Images, steps: int, treatment: Treatment) -> Any:
    """Epochs and positions as pixels and labels. TensorFlow gathers what is in memory itself; the rest is read by Python."""
    every = tf.constant(images.labels)
    gather = _in_memory(images) if isinstance(images, MemoryImages) else _streamed(images)

    def one(epoch: Any, positions: Any) -> Any:
        at = positions % len(images.labels)  # beyond the images lie their changed copies
        pixels, labels = tf.cast(gather(at), tf.float32), tf.gather(every, at)
        if treatment.doubled and treatment.augmenter is not None:
            copies = tf.reshape(positions >= len(images.labels), [-1, 1, 1, 1])
            changed, _ = treatment.augmenter(pixels, labels, tf.constant(0, tf.int64), at)
            pixels = tf.where(copies, changed, pixels)
        elif treatment.augmenter is not None:
            pixels, labels = treatment.augmenter(pixels, labels, epoch, at)
        if treatment.class_weights is None:
            return pixels, labels
        return pixels, labels, _weights(labels, treatment.class_weights)

    read = batches.map(one, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return read.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(tf.data.AUTOTUNE)


def _weights(labels: Any, of_class: NDArray[np.float32]) -> Any:
    """The weight of each image; of mixed ones, of their classes in proportion."""
    if len(labels.shape) == 1:
        return tf.gather(tf.constant(of_class), labels)
    return tf.linalg.matvec(labels, tf.constant(of_class))


def _in_memory(images: MemoryImages) -> Callable[[Any], Any]:
    pixels = tf.constant(images.pixels)
    return lambda positions: tf.gather(pixels, positions)


def _streamed(images: Images) -> Callable[[Any], Any]:
    def gather(positions: Any) -> Any:
        pixels = tf.numpy_function(images.gather, [positions], tf.uint8, stateful=False)
        return tf.ensure_shape(pixels, [None, *images.shape])

    return gather
