"""Published weights: from a file that the settings name, its checksum verified; and what a job is told without one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.errors import TrainingFailure
from core.settings import Settings
from core.states import Reason
from worker.imports.downloads import RemoteFile


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", offline=True)


class TestFile:
    def test_one_of_another_checksum_is_refused(self, settings: Settings, tmp_path: Path) -> None:
        from worker.pretrained import imagenet_file

        file = tmp_path / "weights.h5"
        file.write_bytes(b"something else")
        with pytest.raises(TrainingFailure, match="does not match the published checksum") as caught:
            imagenet_file("vgg16", settings.model_copy(update={"weights_files": {"vgg16": file}}))
        assert caught.value.reason is Reason.WEIGHTS_UNAVAILABLE

    def test_one_that_is_not_there_is_named(self, settings: Settings, tmp_path: Path) -> None:
        from worker.pretrained import imagenet_file

        with pytest.raises(TrainingFailure, match="not a file"):
            imagenet_file("resnet50", settings.model_copy(update={"weights_files": {"resnet50": tmp_path / "none"}}))

    @pytest.mark.parametrize("base", ["vgg16", "resnet50", "mobilenet_v2", "efficientnet_b0"])
    def test_without_file_and_network_it_says_what_to_do(self, settings: Settings, base: str) -> None:
        from worker.pretrained import imagenet_file

        with pytest.raises(TrainingFailure, match="KERASD_WEIGHTS_FILES"):
            imagenet_file(base, settings)  # type: ignore[arg-type]

    def test_one_that_was_downloaded_before_is_used(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        from hashlib import md5

        from worker import pretrained, published_weights

        content = b"weights"
        file = settings.downloads / "weights" / "vgg16.h5"
        file.parent.mkdir(parents=True)
        file.write_bytes(content)
        remote = RemoteFile("vgg16.h5", "https://example.org/vgg16.h5", md5(content).hexdigest())  # noqa: S324
        monkeypatch.setitem(published_weights.IMAGENET, "vgg16", remote)
        assert pretrained.imagenet_file("vgg16", settings) == file


class TestLoading:
    @pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras, writing and reading
    @pytest.mark.parametrize("base", ["mobilenet_v2", "efficientnet_b0"])
    def test_keras_own_format_is_read_into_a_base(self, tmp_path: Path, base: str) -> None:
        """The file is written by Keras as its published ones were; EfficientNet's holds its normalisation too."""
        import keras

        from core.bases import BASES
        from worker.bases import build_base
        from worker.pretrained import load_imagenet

        keras.utils.set_random_seed(1)
        build = getattr(keras.applications, BASES[base].keras_name)
        published = build(include_top=False, weights=None, input_shape=(64, 64, 3))
        file = tmp_path / "published.weights.h5"
        published.save_weights(file)
        loaded = build_base(base, (32, 32, 3))  # type: ignore[arg-type]
        load_imagenet(loaded, file)
        for ours, theirs in zip(loaded.weights, published.weights, strict=True):
            if "normalization" not in theirs.path:
                assert np.array_equal(ours.numpy(), theirs.numpy())

    def test_efficientnet_sees_pixels_with_imagenets_mean_and_deviation_taken_out(self) -> None:
        import keras

        from worker.bases import IMAGENET_DEVIATIONS, IMAGENET_MEANS, build_base

        base = build_base("efficientnet_b0", (32, 32, 3))
        prepared = keras.Model(base.input, base.get_layer("stem_conv_pad").input)
        pixels = np.full((1, 32, 32, 3), 51.0, np.float32)
        expected = (0.2 - np.array(IMAGENET_MEANS)) / np.array(IMAGENET_DEVIATIONS)
        np.testing.assert_allclose(np.asarray(prepared(pixels))[0, 0, 0], expected, rtol=1e-4)
