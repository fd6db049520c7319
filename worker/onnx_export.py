"""From a Keras network to ONNX, layer by layer.

Keras's own exporter freezes a TensorFlow graph and has tf2onnx convert it, with some forty copies of the weights on the way:
9 GB for AlexNet's 233 MB. The layers of our recipes and bases are few, and ONNX has an operator for each. Networks with any
other layer go the long way (worker/publishing.py); what comes out is checked against Keras on either.

Pictures are (batch, channels, height, width) inside, as ONNX's operators want them, and as Keras has them at the input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
"""of ONNX's file format, from the time of that opset"""

INPUT, OUTPUT = "pixels", "logits"

Array = NDArray[Any]


class NotCovered(Exception):
    """The network has a layer that is not translated here. Names it."""


def to_onnx(network: Any) -> bytes:
    """A built, functional float32 network as ONNX. Raises NotCovered."""
    graph = _Graph()
    entry = graph.add("Transpose", [INPUT], perm=[0, 3, 1, 2])
    last = graph.follow(network, entry)
    graph.nodes.append(helper.make_node("Identity", [last], [OUTPUT]))
    shape, classes = network.inputs[0].shape, network.outputs[0].shape[-1]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "kerasd",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", *shape[1:]])],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", classes])],
            graph.initializers,
        ),
        producer_name="kerasd",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    return bytes(model.SerializeToString())


class _Graph:
    """An ONNX graph that grows node by node. Tensors are known by their names."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._count = 0

    def add(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        """Appends a node. Returns its output's name."""
        name = self._name(operator)
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def constant(self, value: Array) -> str:
        name = self._name("constant")
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def numbers(self, values: Any) -> str:
        return self.constant(np.asarray(values, np.float32))

    def follow(self, network: Any, entry: str) -> str:
        """The operations of a functional network, from its input to its output. Returns the output's name."""
        known = {id(network.inputs[0]): entry}
        for operation in network.operations:
            if isinstance(operation, keras.layers.InputLayer):
                continue
            node = operation._inbound_nodes[0]  # noqa: SLF001  (Keras has no public way from a tensor to its maker)
            inputs = [known[id(tensor)] for tensor in node.input_tensors]
            known[id(node.outputs[0])] = self._translated(operation, inputs, node.input_tensors[0].shape)
        return known[id(network.outputs[0])]

    def _translated(self, operation: Any, inputs: list[str], shape: tuple[Any, ...]) -> str:
        if isinstance(operation, keras.Model):
            return self.follow(operation, inputs[0])
        translate = _TRANSLATORS.get(type(operation).__name__)
        if translate is None:
            raise NotCovered(f"{type(operation).__name__} ({operation.name})")
        return translate(self, operation, inputs, shape)

    def _name(self, what: str) -> str:
        self._count += 1
        return f"{what}_{self._count}"


Translate = Callable[[_Graph, Any, list[str], tuple[Any, ...]], str]


def _activated(graph: _Graph, function: Any, tensor: str) -> str:
    name = getattr(function, "__name__", str(function))
    match name:
        case "linear":
            return tensor
        case "relu" | "sigmoid" | "tanh":
            return graph.add(name.capitalize(), [tensor])
        case "silu" | "swish":
            return graph.add("Mul", [tensor, graph.add("Sigmoid", [tensor])])
    raise NotCovered(f"activation {name}")


def _convolution(graph: _Graph, layer: Any, inputs: list[str], shape: tuple[Any, ...]) -> str:
    kernel = np.asarray(layer.kernel)
    return _convolved(graph, layer, inputs[0], shape, kernel.transpose(3, 2, 0, 1), layer.groups)


def _depthwise(graph: _Graph, layer: Any, inputs: list[str], shape: tuple[Any, ...]) -> str:
    kernel = np.asarray(layer.kernel)
    height, width, channels, multiplier = kernel.shape
    weights = kernel.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
    return _convolved(graph, layer, inputs[0], shape, weights, channels)


def _convolved(graph: _Graph, layer: Any, tensor: str, shape: tuple[Any, ...], weights: Array, groups: int) -> str:
    made = graph.add(
        "Conv",
        [tensor, graph.constant(weights), *([graph.constant(np.asarray(layer.bias))] if layer.use_bias else [])],
        group=int(groups),
        dilations=list(layer.dilation_rate),
        **_window(layer.kernel_size, layer.strides, layer.padding, shape),
    )
    return _activated(graph, layer.activation, made)


def _pooling(operator: str, **more: Any) -> Translate:
    def translate(graph: _Graph, layer: Any, inputs: list[str], shape: tuple[Any, ...]) -> str:
        return graph.add(operator, inputs, **_window(layer.pool_size, layer.strides, layer.padding, shape), **more)

    return translate


def _window(size: Any, strides: Any, padding: str, shape: tuple[Any, ...]) -> dict[str, Any]:
    """Attributes of a sliding window; "same" pads as TensorFlow does, at the end first."""
    befores, afters = [], []
    for length, extent, stride in zip(shape[1:3], size, strides, strict=True):
        missing = max((-(-length // stride) - 1) * stride + extent - length, 0) if padding == "same" else 0
        befores.append(missing // 2)
        afters.append(missing - missing // 2)
    return {"kernel_shape": list(size), "strides": list(strides), "pads": befores + afters}


def _batch_normalization(graph: _Graph, layer: Any, inputs: list[str], shape: tuple[Any, ...]) -> str:
    weights = (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance)
    constants = [graph.constant(np.asarray(weight)) for weight in weights]
    return graph.add("BatchNormalization", [*inputs, *constants], epsilon=float(layer.epsilon))


def _dense(graph: _Graph, layer: Any, inputs: list[str], shape: tuple[Any, ...]) -> str:
    if len(shape) != 2:
        raise NotCovered(f"Dense on rank {len(shape)}")
    weights = [graph.constant(np.asarray(layer.kernel)), graph.constant(np.asarray(layer.bias))]
    return _activated(graph, layer.activation, graph.add("Gemm", [*inputs, *weights]))


def _rescaling(graph: _Graph, layer: Any, inputs: list[str], shape: tuple[Any, ...]) -> str:
    scaled = graph.add("Mul", [*inputs, graph.numbers(layer.scale)])
    return graph.add("Add", [scaled, _of_channels(graph, layer.offset)])


def _normalization(graph: _Graph, layer: Any, inputs: list[str], shape: tuple[Any, ...]) -> str:
    deviation = np.maximum(np.sqrt(np.asarray(layer.variance)), keras.config.epsilon())
    centred = graph.add("Sub", [*inputs, _of_channels(graph, np.asarray(layer.mean).ravel())])
    return graph.add("Div", [centred, _of_channels(graph, deviation.ravel())])


def _of_channels(graph: _Graph, values: Any) -> str:
    """One number, or one for each channel."""
    array = np.asarray(values, np.float32)
    return graph.constant(array.reshape(-1, 1, 1) if array.ndim else array)


def _relu(graph: _Graph, layer: Any, inputs: list[str], shape: tuple[Any, ...]) -> str:
    if layer.negative_slope or layer.threshold:
        raise NotCovered("ReLU with a slope or threshold")
    if layer.max_value is None:
        return graph.add("Relu", inputs)
    return graph.add("Clip", [*inputs, graph.numbers(0.0), graph.numbers(float(layer.max_value))])


def _global_average(graph: _Graph, layer: Any, inputs: list[str], shape: tuple[Any, ...]) -> str:
    averaged = graph.add("GlobalAveragePool", inputs)
    return averaged if layer.keepdims else graph.add("Flatten", [averaged], axis=1)


def _flatten(graph: _Graph, layer: Any, inputs: list[str], shape: tuple[Any, ...]) -> str:
    ordered = graph.add("Transpose", inputs, perm=[0, 2, 3, 1]) if len(shape) == 4 else inputs[0]
    return graph.add("Flatten", [ordered], axis=1)


def _reshape(graph: _Graph, layer: Any, inputs: list[str], shape: tuple[Any, ...]) -> str:
    target = tuple(layer.target_shape)
    if len(shape) != 2 or target[:2] != (1, 1):
        raise NotCovered(f"Reshape to {target}")
    return graph.add("Reshape", [*inputs, graph.constant(np.array([-1, target[2], 1, 1], np.int64))])


def _zero_padding(graph: _Graph, layer: Any, inputs: list[str], shape: tuple[Any, ...]) -> str:
    (top, bottom), (left, right) = layer.padding
    return graph.add("Pad", [*inputs, graph.constant(np.array([0, 0, top, left, 0, 0, bottom, right], np.int64))])


def _flip(graph: _Graph, operation: Any, inputs: list[str], shape: tuple[Any, ...]) -> str:
    if operation.axis != -1 or len(shape) != 4:
        raise NotCovered(f"Flip along axis {operation.axis}")
    backwards = np.arange(shape[-1] - 1, -1, -1, dtype=np.int64)
    return graph.add("Gather", [*inputs, graph.constant(backwards)], axis=1)


_TRANSLATORS: dict[str, Translate] = {
    "Activation": lambda graph, layer, inputs, shape: _activated(graph, layer.activation, inputs[0]),
    "Add": lambda graph, layer, inputs, shape: graph.add("Add", inputs),
    "AveragePooling2D": _pooling("AveragePool", count_include_pad=0),
    "BatchNormalization": _batch_normalization,
    "Conv2D": _convolution,
    "Dense": _dense,
    "DepthwiseConv2D": _depthwise,
    "Dropout": lambda graph, layer, inputs, shape: inputs[0],
    "Flatten": _flatten,
    "Flip": _flip,
    "GlobalAveragePooling2D": _global_average,
    "MaxPooling2D": _pooling("MaxPool"),
    "Multiply": lambda graph, layer, inputs, shape: graph.add("Mul", inputs),
    "Normalization": _normalization,
    "ReLU": _relu,
    "Rescaling": _rescaling,
    "Reshape": _reshape,
    "ZeroPadding2D": _zero_padding,
}
