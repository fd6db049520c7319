"""Layer specs and the Keras networks made of them: the same shapes and counts, for every recipe and option."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from variants import DEFAULTS, RGB, VARIANTS, options_of

from core.bases import BASES
from core.layers import Dense, FlipChannels, NetworkSummary
from core.recipes import RECIPES, ArchitectureOptions, network_layers, network_summary


@pytest.fixture(autouse=True)
def _forget_networks() -> Iterator[None]:
    """Hundreds of megabytes of weights each."""
    yield
    if (keras := sys.modules.get("keras")) is not None:
        keras.utils.clear_session(free_memory=True)


class TestAgreement:
    @pytest.mark.parametrize(("name", "counts"), DEFAULTS.items())
    def test_the_notebooks_networks(self, name: str, counts: tuple[int, int]) -> None:
        summary = assert_agreement(options_of({"name": name}), RGB, 20)
        assert (summary.parameters, summary.trainable_parameters) == counts

    @pytest.mark.parametrize(("document", "shape"), VARIANTS, ids=lambda value: "-".join(map(str, _flat(value))))
    def test_every_option(self, document: dict[str, Any], shape: tuple[int, int, int]) -> None:
        assert_agreement(options_of(document), shape, 7)

    def test_every_option_of_every_recipe_is_varied_here(self) -> None:
        varied = {
            (document["name"], option) for document, _ in VARIANTS for option in options_of(document).model_fields_set
        }
        # What stands in the spec for other parts of the job, and does not change layers.
        elsewhere = {"input_size", "initializer", "weights"}
        for recipe in RECIPES.values():
            options = set(recipe.options.model_fields) - elsewhere
            shared = {"activation", "skip_activation", "batch_norm"} if recipe.name == "transfer" else set()
            assert options - shared <= {option for name, option in varied if name == recipe.name}

    def test_tables_of_bases_are_keras_own(self) -> None:
        from dataclasses import astuple

        from worker.bases import describe

        for base in BASES.values():
            assert [list(astuple(layer)) for layer in base.layers] == describe(base.name)

    def test_a_base_has_the_counts_of_its_publication(self) -> None:
        assert BASES["vgg16"].parameters == 14_714_688
        assert BASES["resnet50"].parameters == 23_587_712
        assert BASES["mobilenet_v2"].parameters == 2_257_984
        assert BASES["efficientnet_b0"].parameters == 4_049_571

    @pytest.mark.parametrize("name", RECIPES)
    def test_a_network_ends_in_logits(self, name: str) -> None:
        last = network_layers(options_of({"name": name}), 10)[-1]
        assert isinstance(last, Dense)
        assert (last.units, last.activation) == (10, None)


class TestPreprocessing:
    def test_a_base_gets_what_keras_applications_prepares(self) -> None:
        import keras

        from worker.network import build_network

        pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
        for base, module in (("vgg16", "vgg16"), ("resnet50", "resnet50"), ("mobilenet_v2", "mobilenet_v2")):
            prepare = getattr(keras.applications, module).preprocess_input
            network = build_network(BASES[base].preprocessing, RGB)
            np.testing.assert_allclose(np.asarray(network(pixels)), prepare(pixels.copy()), atol=1e-3)


def assert_agreement(options: ArchitectureOptions, shape: tuple[int, int, int], classes: int) -> NetworkSummary:
    from worker.network import build_network

    layers = network_layers(options, classes)
    summary = network_summary(options, shape, classes)
    network = build_network(layers, shape)
    assert summary.parameters == network.count_params()
    assert summary.trainable_parameters == sum(
        int(np.prod(weight.shape, dtype=np.int64)) for weight in network.trainable_weights
    )
    rows = {row.layer.name: row for row in summary.rows if not isinstance(row.layer, FlipChannels)}
    built = {layer.name: layer for layer in network.layers[1:]}
    assert rows.keys() == built.keys()
    for name, layer in built.items():
        assert rows[name].output_shape == tuple(layer.output.shape[1:]), name
        assert rows[name].parameters == layer.count_params(), name
    assert network(np.zeros((1, *shape), np.float32)).shape == (1, classes)
    return summary


def _flat(value: Any) -> list[Any]:
    return [f"{key}={item}" for key, item in value.items()] if isinstance(value, dict) else list(value)
