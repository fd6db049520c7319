"""From arrays of pixels to the batches that Keras trains on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from core.datasets import DatasetInfo
from core.images import resize_pixels
from core.jobspec import DatasetSpec
from core.splits import Indices, ordering, split
from core.validation import chosen_classes, split_plan
from worker.datasets.sources import Images, RawDataset

EVALUATION_BATCH = 256


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
        self._images = images
        self.epoch = 0

    def __call__(self) -> Indices:
        return ordering(self._seed, self.epoch, self._images)


def split_dataset(
    raw: RawDataset, info: DatasetInfo, spec: DatasetSpec, input_shape: tuple[int, int, int]
) -> SplitDataset:
    """Applies a normalised dataset spec. `input_shape` is (height, width, channels)."""
    classes = chosen_classes(spec, info)
    pool = _only_classes(raw.train, classes)
    parts = split(pool.labels, len(classes), split_plan(spec))
    test = _only_classes(raw.test, classes) if raw.test is not None else _take(pool, parts.test)
    return SplitDataset(
        *(_resized(images, input_shape) for images in (_take(pool, parts.train), _take(pool, parts.validation), test))
    )


def training_batches(images: Images, batch_size: int, order: EpochOrder) -> Any:
    """A tf.data.Dataset of (float32 pixels, labels); each pass over it follows the order's present epoch."""
    count = len(images.labels)
    pixels, labels = tf.constant(images.pixels), tf.constant(images.labels)

    def one_epoch(_: Any) -> Any:
        indices = tf.ensure_shape(tf.numpy_function(order, [], tf.int64), [count])
        return tf.data.Dataset.from_tensor_slices(indices)

    def read(indices: Any) -> tuple[Any, Any]:
        return tf.cast(tf.gather(pixels, indices), tf.float32), tf.gather(labels, indices)

    batches = tf.data.Dataset.from_tensors(0).flat_map(one_epoch).batch(batch_size)
    batches = batches.map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    steps = -(-count // batch_size)
    return batches.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(tf.data.AUTOTUNE)


def evaluation_batches(images: Images) -> Any:
    """A tf.data.Dataset of (float32 pixels, labels) in their own order."""
    batches = tf.data.Dataset.from_tensor_slices((images.pixels, images.labels)).batch(EVALUATION_BATCH)
    return batches.map(lambda pixels, labels: (tf.cast(pixels, tf.float32), labels)).prefetch(tf.data.AUTOTUNE)


def _only_classes(images: Images, classes: Sequence[int]) -> Images:
    """The images of these classes, with labels remapped to 0..len(classes)-1."""
    position = np.full(int(images.labels.max()) + 1, -1, dtype=np.int64)
    position[list(classes)] = np.arange(len(classes))
    labels = position[images.labels]
    kept = np.flatnonzero(labels >= 0)
    return Images(images.pixels[kept], labels[kept])


def _take(images: Images, indices: Indices) -> Images:
    return Images(images.pixels[indices], images.labels[indices])


def _resized(images: Images, shape: tuple[int, int, int]) -> Images:
    if images.pixels.shape[1:] == shape:
        return images
    return Images(np.stack([resize_pixels(image, *shape) for image in images.pixels]), images.labels)
