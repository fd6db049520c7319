"""Which published weights of bases there are, and which of them are on this machine. Imports neither Keras nor TensorFlow."""

from __future__ import annotations

from pathlib import Path

from core.bases import BaseName
from core.settings import Settings
from worker.imports.downloads import RemoteFile

_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications/"

IMAGENET: dict[BaseName, RemoteFile | None] = {
    # md5 as in Keras Applications, which has none for MobileNetV2: that file is not downloaded.
    "vgg16": RemoteFile(
        "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        f"{_KERAS}vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "6d6bbae143d832006294945121d1f1fc",
    ),
    "resnet50": RemoteFile(
        "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        f"{_KERAS}resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "4d473c1dd8becc155b73f8504c6f6626",
    ),
    "mobilenet_v2": None,
    "efficientnet_b0": RemoteFile(
        "efficientnetb0_notop.h5",
        "https://storage.googleapis.com/keras-applications/efficientnetb0_notop.h5",
        "50bc09e76180e00e4465e1a485ddc09d",
    ),
}


def weights_folder(settings: Settings) -> Path:
    """Where downloaded ones are kept."""
    return settings.downloads / "weights"


def are_here(base: BaseName, settings: Settings) -> bool:
    """Whether the base's published weights can be had without a network."""
    remote, local = IMAGENET[base], settings.weights_files.get(base)
    if local is not None:
        return local.is_file()
    return remote is not None and (weights_folder(settings) / remote.name).is_file()
