"""What LeNet, AlexNet and VGG share: options, and hidden dense layers behind their convolutions."""

from __future__ import annotations

from core.layers import ActivationName, Dense, Dropout, LayerSpec
from core.recipes.recipe import ArchitectureOptions, DropoutRate, Width, wide


class ClassicOptions(ArchitectureOptions):
    """Options of convolutions followed by dense layers."""

    activation: ActivationName = "relu"
    """after each convolution and hidden dense layer"""
    batch_norm: bool = True
    """after each convolution"""
    dropout: DropoutRate | None = 0.5
    """after each hidden dense layer"""
    width: Width = 1.0
    """multiplies the filters and units of all hidden layers"""


def hidden_dense(number: int, units: int, options: ClassicOptions) -> list[LayerSpec]:
    """A dense layer, and its dropout where the options have one."""
    layers: list[LayerSpec] = [
        Dense(f"dense{number}", wide(units, options.width), options.activation, options.initializer)
    ]
    if options.dropout:
        layers.append(Dropout(f"dropout{number}", options.dropout))
    return layers
