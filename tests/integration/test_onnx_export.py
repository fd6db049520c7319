"""Networks as ONNX, layer by layer: the same logits as Keras's, for every recipe, preset and base."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from variants import DEFAULTS, VARIANTS, options_of

from core.recipes import network_layers


@pytest.fixture(autouse=True)
def _forget_networks() -> Any:
    yield
    import keras

    keras.utils.clear_session(free_memory=True)


def stirred(network: Any) -> Any:
    """With statistics and gains that are not those of an untrained network."""
    noise = np.random.default_rng(0)
    for weight in network.weights:
        if weight.path.endswith(("moving_mean", "beta", "bias")):
            weight.assign(noise.normal(0, 0.1, weight.shape))
        elif weight.path.endswith(("moving_variance", "gamma")):
            weight.assign(noise.uniform(0.5, 1.5, weight.shape))
    return network


class TestExport:
    @pytest.mark.parametrize(
        ("document", "shape"),
        [*VARIANTS, *(({"name": name}, (32, 32, 3)) for name in DEFAULTS if name in ("lenet", "mycnn"))],
        ids=str,
    )
    def test_it_computes_what_keras_computes(self, document: dict[str, Any], shape: tuple[int, int, int]) -> None:
        from worker.network import build_network
        from worker.onnx_export import to_onnx

        network = stirred(build_network(network_layers(options_of(document), 7), shape))
        pixels = np.random.default_rng(1).integers(0, 256, (3, *shape)).astype(np.float32)
        session = onnxruntime.InferenceSession(to_onnx(network), providers=["CPUExecutionProvider"])
        expected = np.asarray(network(pixels, training=False))
        actual = session.run(None, {session.get_inputs()[0].name: pixels})[0]
        scale = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(actual / scale, expected / scale, atol=1e-4)

    def test_other_layers_go_the_long_way(self) -> None:
        import keras

        from worker.publishing import export_onnx

        inputs = keras.Input((8, 8, 1))
        outputs = keras.layers.Dense(3)(keras.layers.Flatten()(keras.layers.LeakyReLU()(inputs)))
        network = keras.Model(inputs, outputs)
        pixels = np.random.default_rng(1).normal(size=(2, 8, 8, 1)).astype(np.float32)
        session = onnxruntime.InferenceSession(export_onnx(network, (8, 8, 1)), providers=["CPUExecutionProvider"])
        actual = session.run(None, {session.get_inputs()[0].name: pixels})[0]
        np.testing.assert_allclose(actual, np.asarray(network(pixels)), atol=1e-5)
