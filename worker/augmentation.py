"""Random changes of training images, each decided by (seed, epoch, image) alone.

So they are the same whatever order images are read in, on however many threads, and in a training that goes on from a
checkpoint. Numbers are drawn here; the changes themselves are Keras's.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy.special import betaincinv

from core.training_options import Augmentation
from worker.datasets.keyed_random import uniforms
from worker.losses import shares

Tensor = Any
Floats = NDArray[np.float32]

GREY = 127.5
"""what cutout fills its square with"""

FLIP_ACROSS, FLIP_DOWN, CONTRAST, CUT_X, CUT_Y, PARTNER, MIX, BOX_X, BOX_Y, ANGLE, ZOOM, SHIFT_X, SHIFT_Y = range(13)
DRAWN = 13
AFFINE = 8
"""numbers of an affine transformation, as keras.ops.image.affine_transform takes them"""


class Augmenter:
    """Changes batches as a spec says. `shape` is (height, width, channels)."""

    def __init__(self, spec: Augmentation, seed: int, shape: tuple[int, int, int], classes: int) -> None:
        self._spec = spec
        self._seed = seed
        self._height, self._width, _ = shape
        self._classes = classes
        self._moves = any(kind is not None for kind in (spec.rotation, spec.zoom, spec.translation))
        layers = keras.layers
        self._across = layers.RandomFlip("horizontal", seed=0, dtype="float32")
        self._down = layers.RandomFlip("vertical", seed=0, dtype="float32")
        self._contrast = layers.RandomContrast(spec.contrast or 0.0, value_range=(0, 255), seed=0, dtype="float32")
        self._erase = layers.RandomErasing(value_range=(0, 255), seed=0, dtype="float32")
        self._mix_up = layers.MixUp(dtype="float32")
        self._cut_mix = layers.CutMix(dtype="float32")

    def __call__(self, pixels: Tensor, labels: Tensor, epoch: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels as float32 of shape (batch, height, width, channels), and labels; shares of classes where images are mixed.

        `epoch` and `images` (batch,) are int64 tensors that decide the changes.
        """
        numbers = tf.numpy_function(self.draw, [epoch, images], tf.float32)
        numbers = tf.ensure_shape(numbers, [None, DRAWN + AFFINE])
        pixels = self._changed(pixels, numbers)
        if self._spec.mixup is not None or self._spec.cutmix is not None:
            return self._mixed(pixels, shares(labels, self._classes), numbers)
        return pixels, labels

    def draw(self, epoch: int, images: NDArray[np.int64]) -> Floats:
        """What decides the changes of each image: shape (images, DRAWN + AFFINE)."""
        spec = self._spec
        numbers = uniforms(self._seed, int(epoch), images, DRAWN)
        alpha = spec.mixup or spec.cutmix
        if alpha is not None:
            numbers[:, MIX] = betaincinv(alpha, alpha, numbers[:, MIX])
        numbers[:, CONTRAST] = _between(numbers[:, CONTRAST], 1 - (spec.contrast or 0), 1 + (spec.contrast or 0))
        return np.concatenate([numbers, self._affine(numbers)], axis=1).astype(np.float32)

    def _affine(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """From each output pixel to the input pixel that it shows: turned and zoomed about the centre, then shifted."""
        spec = self._spec
        angle = _between(numbers[:, ANGLE], -1, 1) * 2 * math.pi * (spec.rotation or 0)
        zoom = 1 + _between(numbers[:, ZOOM], -1, 1) * (spec.zoom or 0)
        across = _between(numbers[:, SHIFT_X], -1, 1) * (spec.translation or 0) * self._width
        down = _between(numbers[:, SHIFT_Y], -1, 1) * (spec.translation or 0) * self._height
        cosine, sine = zoom * np.cos(angle), zoom * np.sin(angle)
        x, y = (self._width - 1) / 2, (self._height - 1) / 2
        nothing = np.zeros_like(angle)
        rows = [cosine, -sine, x - cosine * x + sine * y + across, sine, cosine, y - sine * x - cosine * y + down]
        return np.stack([*rows, nothing, nothing], axis=1)

    def _changed(self, pixels: Tensor, numbers: Tensor) -> Tensor:
        spec = self._spec
        if spec.flip in ("horizontal", "both"):
            pixels = self._across.transform_images(pixels, _flips(numbers[:, FLIP_ACROSS]))
        if spec.flip in ("vertical", "both"):
            pixels = self._down.transform_images(pixels, _flips(numbers[:, FLIP_DOWN]))
        if self._moves:
            pixels = keras.ops.image.affine_transform(pixels, numbers[:, DRAWN:], fill_mode="reflect")
        if spec.contrast is not None:
            factor = tf.reshape(numbers[:, CONTRAST], [-1, 1, 1, 1])
            pixels = self._contrast.transform_images(pixels, {"contrast_factor": factor})
        if spec.cutout is not None:
            side = tf.fill([tf.shape(pixels)[0]], tf.constant(spec.cutout, tf.float32))
            pixels = self._erase.transform_images(
                pixels,
                {
                    "batch_masks": self._box(numbers[:, CUT_X], numbers[:, CUT_Y], side),
                    "apply_erasing": tf.ones([tf.shape(pixels)[0]], tf.bool),
                    "fill_value": GREY,
                },
            )
        return pixels

    def _mixed(self, pixels: Tensor, labels: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """With one other image of the batch each."""
        partners = tf.argsort(numbers[:, PARTNER])
        weight = numbers[:, MIX]
        if self._spec.mixup is not None:
            how = {"mix_weight": weight, "permutation_order": partners}
            return self._mix_up.transform_images(pixels, how), self._mix_up.transform_labels(labels, how)
        box = self._box(numbers[:, BOX_X], numbers[:, BOX_Y], tf.sqrt(1 - weight))
        kept = 1 - tf.reduce_mean(tf.cast(box, tf.float32), axis=[1, 2, 3])
        how = {"batch_masks": box, "mix_weight": kept, "permutation_order": partners}
        return self._cut_mix.transform_images(pixels, how), self._cut_mix.transform_labels(labels, how)

    def _box(self, across: Tensor, down: Tensor, side: Tensor) -> Tensor:
        """Where each image has its box, shape (batch, height, width, 1): `side` of a side long, about a point of it, cut at borders."""
        inside = [
            tf.abs(tf.range(length, dtype=tf.float32) + 0.5 - centre[:, tf.newaxis] * length)
            < side[:, tf.newaxis] * length / 2
            for length, centre in ((self._height, down), (self._width, across))
        ]
        return (inside[0][:, :, tf.newaxis] & inside[1][:, tf.newaxis, :])[..., tf.newaxis]


def _flips(numbers: Tensor) -> dict[str, Tensor]:
    return {"flips": tf.reshape(numbers < 0.5, [-1, 1, 1, 1])}


def _between(numbers: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    return low + numbers * (high - low)
