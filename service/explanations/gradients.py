"""Heat maps from a network's last feature map, and the gradient of a logit by it.

At each place of the map, activations times gradients are summed over channels, and what speaks against the label is left
out: HiResCAM (Draelos and Carin, 2020). Where the network averages its map over all places, as most do today, that is
Grad-CAM (Selvaraju et al., 2017); where dense layers weigh each place by itself, Grad-CAM would put heat where the network
does not look, because it averages the gradients.

ONNX Runtime has no gradients. What follows the last feature map is a short chain of layers, though, and the chain's
gradient is ONNX again: it is appended to the published graph, which a worker wrote layer by layer. Graphs that came about
otherwise, and other chains, are not covered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from core.inference import Floats
from service.explanations.places import Places, Window, placed

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

PRODUCER = "kerasd"
"""of graphs whose pictures are known to be (batch, channels, height, width) inside"""

LEAST_SIDE = 4
"""of a feature map: a smaller one says too little of where"""

DIRECTION, GRADIENT = "kerasd_direction", "kerasd_gradient"


class NotCoveredError(Exception):
    """There are no gradients for this network. Says why."""


class Pool(NamedTuple):
    """A pooling without overlap that follows the feature map."""

    operator: str
    size: int


class Extended(NamedTuple):
    """A published graph with the gradient of its logits along DIRECTION."""

    content: bytes
    feature_map: str
    pooled: str
    """what the gradient is of: the feature map, or the result of its pooling"""
    pool: Pool | None
    places: tuple[Places, Places]
    """of the feature map, down and across"""


class GradientNetwork:
    """A network that also tells its last feature map and gradients. Raises NotCoveredError."""

    def __init__(self, content: bytes, input_shape: tuple[int, int, int], classes: int) -> None:
        extended = extend(content)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(extended.content, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._outputs = [extended.feature_map, extended.pooled, GRADIENT]
        self._pool = extended.pool
        self._places = extended.places
        self._classes = classes
        sides = self.map_heat(np.zeros((1, *input_shape), np.float32), 0).shape
        if min(sides) < LEAST_SIDE:
            raise NotCoveredError(f"its last feature map has {sides[0]} x {sides[1]} places only")

    def heat(self, pixels: Floats, label: int) -> Floats:
        """Of one picture, (1, height, width, channels): how much each pixel speaks for the label, (height, width)."""
        return placed(self.map_heat(pixels, label), *self._places, (pixels.shape[1], pixels.shape[2]))

    def map_heat(self, pixels: Floats, label: int) -> Floats:
        """The same for each place of the feature map."""
        direction = np.zeros((1, self._classes), np.float32)
        direction[0, label] = 1
        feature_map, pooled, gradient = self._session.run(self._outputs, {self._input: pixels, DIRECTION: direction})
        if self._pool is not None:
            gradient = _before(self._pool, feature_map, pooled, gradient)
        heat: Floats = np.maximum((feature_map[0] * gradient[0]).sum(axis=0), 0)
        return heat


def extend(content: bytes) -> Extended:
    """Raises NotCoveredError."""
    import onnx

    model = onnx.load_model_from_string(content)
    if model.producer_name != PRODUCER:
        raise NotCoveredError("its graph was not written layer by layer")
    tail = _Tail(model)
    last, pool = tail.follow(model.graph.output[0].name)
    feature_map = tail.made_by(last).input[0] if pool is not None else last
    if not any(node.op_type == "Conv" for node in model.graph.node):
        raise NotCoveredError("it has no convolution")
    graph = model.graph
    classes = graph.output[0].type.tensor_type.shape.dim[1].dim_value
    graph.input.append(onnx.helper.make_tensor_value_info(DIRECTION, onnx.TensorProto.FLOAT, ["batch", classes]))
    graph.node.append(onnx.helper.make_node("Identity", [tail.gradient], [GRADIENT]))
    for name in (*dict.fromkeys((feature_map, last)), GRADIENT):
        graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return Extended(bytes(model.SerializeToString()), feature_map, last, pool, tail.places(feature_map))


class _Tail:
    """Goes back from the logits, layer by layer, and writes the gradient on the way."""

    def __init__(self, model: ModelProto) -> None:
        self._graph: GraphProto = model.graph
        self._makers: dict[str, NodeProto] = {output: node for node in model.graph.node for output in node.output}
        self._arrays = {array.name: array for array in model.graph.initializer}
        self._count = 0
        self.gradient = DIRECTION
        """the name of the gradient by the tensor that was come to"""

    def made_by(self, tensor: str) -> NodeProto:
        """The node of which it is the output. Raises NotCoveredError."""
        if tensor not in self._makers:
            raise NotCoveredError("it has no feature map")
        return self._makers[tensor]

    def follow(self, tensor: str) -> tuple[str, Pool | None]:
        """From the logits back to the last feature map, or the result of its pooling."""
        flattened = False
        while True:
            node = self.made_by(tensor)
            if flattened and node.op_type not in ("Transpose", "GlobalAveragePool"):
                return tensor, _pool_of(node)
            step = _STEPS.get(node.op_type)
            if step is None:
                raise NotCoveredError(f"{node.op_type} follows its last feature map")
            self.gradient = step(self, node)
            tensor = node.input[0]
            flattened = flattened or node.op_type == "Flatten"
            if node.op_type == "GlobalAveragePool":
                return tensor, None

    def places(self, tensor: str) -> tuple[Places, Places]:
        """Where a feature map lies: followed back to the image, of branches along the first."""
        windows: list[tuple[Window, Window]] = []
        while tensor in self._makers:
            node = self._makers[tensor]
            if node.op_type in ("Conv", "MaxPool", "AveragePool"):
                windows.append(_windows_of(node))
            elif node.op_type == "Pad":
                top, left = (int(padding) for padding in self.array(node.input[1])[2:4])
                windows.append((Window(1, padding=top), Window(1, padding=left)))
            tensor = node.input[0]
        rows, columns = Places(), Places()
        for down, across in reversed(windows):
            rows, columns = rows.after(down), columns.after(across)
        return rows, columns

    def add(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        """Appends a node. Returns its output's name."""
        from onnx import helper

        name = self._name(operator)
        self._graph.node.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def constant(self, value: NDArray[Any]) -> str:
        from onnx import numpy_helper

        name = self._name("constant")
        self._graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def array(self, name: str) -> NDArray[Any]:
        from onnx import numpy_helper

        return numpy_helper.to_array(self._arrays[name])

    def _name(self, what: str) -> str:
        self._count += 1
        return f"kerasd_gradient_{what}_{self._count}"


def _attribute(node: NodeProto, name: str, default: Any) -> Any:
    from onnx import helper

    return next((helper.get_attribute_value(entry) for entry in node.attribute if entry.name == name), default)


def _pool_of(node: NodeProto) -> Pool | None:
    """The pooling that made a tensor, where its windows neither overlap nor go beyond the edge."""
    if node.op_type not in ("MaxPool", "AveragePool"):
        return None
    size = list(_attribute(node, "kernel_shape", []))
    same = size == list(_attribute(node, "strides", [1, 1])) and len(set(size)) == 1
    return Pool(node.op_type, size[0]) if same and not any(_attribute(node, "pads", [])) else None


def _windows_of(node: NodeProto) -> tuple[Window, Window]:
    """Of a convolution or pooling, down and across."""
    sizes, ones = _attribute(node, "kernel_shape", []), [1, 1]
    strides, dilations = _attribute(node, "strides", ones), _attribute(node, "dilations", ones)
    pads = _attribute(node, "pads", [0, 0, 0, 0])
    down, across = (Window(*values) for values in zip(sizes, strides, pads[:2], dilations, strict=True))
    return down, across


def _before(pool: Pool, feature_map: Floats, pooled: Floats, gradient: Floats) -> Floats:
    """The gradient by the feature map, (1, channels, height, width), up to a factor; what no window holds has none."""
    spread = np.zeros_like(feature_map)
    height, width = (side * pool.size for side in gradient.shape[2:])
    spread[:, :, :height, :width] = _spread(gradient, pool.size)
    if pool.operator == "MaxPool":
        spread[:, :, :height, :width] *= feature_map[:, :, :height, :width] == _spread(pooled, pool.size)
    return spread


def _spread(values: Floats, size: int) -> Floats:
    return values.repeat(size, axis=2).repeat(size, axis=3)


Step = Callable[[_Tail, "NodeProto"], str]
"""writes the gradient by a node's input, from that by its output; factors that are the same everywhere are left out"""


def _gemm(tail: _Tail, node: NodeProto) -> str:
    if _attribute(node, "transB", 0) or _attribute(node, "transA", 0):
        raise NotCoveredError("a dense layer is transposed")
    return tail.add("Gemm", [tail.gradient, node.input[1]], transB=1)


def _normalization(tail: _Tail, node: NodeProto) -> str:
    gain, variance = tail.array(node.input[1]), tail.array(node.input[4])
    scale = gain / np.sqrt(variance + _attribute(node, "epsilon", 1e-5))
    return tail.add("Mul", [tail.gradient, tail.constant(scale.astype(np.float32))])


def _relu(tail: _Tail, node: NodeProto) -> str:
    return tail.add("Mul", [tail.gradient, tail.add("Sign", [node.output[0]])])


def _tanh(tail: _Tail, node: NodeProto) -> str:
    squared = tail.add("Mul", [node.output[0], node.output[0]])
    return tail.add("Mul", [tail.gradient, tail.add("Sub", [tail.constant(np.float32(1).reshape(1)), squared])])


def _sigmoid(tail: _Tail, node: NodeProto) -> str:
    rest = tail.add("Sub", [tail.constant(np.float32(1).reshape(1)), node.output[0]])
    return tail.add("Mul", [tail.gradient, tail.add("Mul", [node.output[0], rest])])


def _like_input(operator: str) -> Step:
    return lambda tail, node: tail.add(operator, [tail.gradient, tail.add("Shape", [node.input[0]])])


def _transpose(tail: _Tail, node: NodeProto) -> str:
    return tail.add("Transpose", [tail.gradient], perm=np.argsort(_attribute(node, "perm", [])).tolist())


_STEPS: dict[str, Step] = {
    "BatchNormalization": _normalization,
    "Flatten": _like_input("Reshape"),
    "Gemm": _gemm,
    "GlobalAveragePool": _like_input("Expand"),
    "Identity": lambda tail, node: tail.gradient,
    "Relu": _relu,
    "Sigmoid": _sigmoid,
    "Tanh": _tanh,
    "Transpose": _transpose,
}
