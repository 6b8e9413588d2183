"""Policies as ONNX graphs: a chain of plain layers, from what a task shows to logits.

The graph is read, not run: each node becomes a layer, and one that is not known is refused. It
takes what the task shows, of pictures bytes from 0 to 255, as corrtool's own exports do.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from corrtool.errors import UsageError
from corrtool.exchange.foreign import ForeignFile, FoundQ
from corrtool.exchange.policies import LayerList, chain_of, policy_description
from corrtool.q_learning.chain import MAX_LAYERS, Layer
from corrtool.q_learning.saved import QDescription
from corrtool.states import IMAGE, StateSpec

Constant = NDArray[Any]
_ACTIVATIONS = {"Relu": "relu", "Tanh": "tanh", "Sigmoid": "sigmoid"}
_SLOPES = {"Elu": ("elu", "alpha", 1.0), "LeakyRelu": ("leaky_relu", "slope", 0.01)}
_BYTES = 255.0
_FLOAT = 1  # TensorProto.FLOAT, as `Cast` and inputs name it
# The type that each attribute has, as AttributeProto counts them.
ATTRIBUTES = {
    **dict.fromkeys(("alpha", "beta"), 1),  # FLOAT
    **dict.fromkeys(("allowzero", "axis", "group", "saturate", "to", "transA", "transB"), 2),  # INT
    **dict.fromkeys(("auto_pad", "round_mode"), 3),  # STRING
    "value": 4,  # TENSOR
    **dict.fromkeys(("dilations", "kernel_shape", "pads", "strides"), 7),  # INTS
}


def check_installed() -> None:
    """Raise :class:`UsageError` where the package that reads ONNX is missing."""
    if importlib.util.find_spec("onnx") is None:
        raise UsageError("--from onnx needs onnx", "pip install 'corrtool[onnx]'")


def read_onnx_policy(
    file: ForeignFile, spec: StateSpec, actions: int
) -> tuple[FoundQ, QDescription]:
    """The policy of a graph, for states of ``spec``. Raises :class:`ArtifactError`."""
    check_installed()

    import onnx

    try:
        model = onnx.load_model_from_string(file.content)
    except Exception:  # protobuf has errors of its own, and raises others on noise
        raise file.refused("is no ONNX file, or damaged") from None
    with np.errstate(over="ignore", invalid="ignore"):  # weights that are not finite are refused
        reader = _read_graph(file, model, spec)
    chain = chain_of(LayerList(file, "features"), reader.layers, None)
    return FoundQ(reader.layers.weights, {}), policy_description(file, chain, spec, actions)


def _read_graph(file: ForeignFile, model: Any, spec: StateSpec) -> _Reader:
    """What the graph of a model computes. Raises :class:`ArtifactError`."""
    graph = model.graph
    if model.functions or graph.sparse_initializer:
        raise file.refused("has functions or sparse weights", "export it as plain layers")
    reader = _Reader(file, spec, {t.name: _array(file, t) for t in graph.initializer})
    reader.begin([value for value in graph.input if value.name not in reader.constants])
    if len(graph.node) > 2 * MAX_LAYERS:
        raise file.refused(f"has {len(graph.node):,} nodes")
    for node in graph.node:
        reader.read(node)
    reader.end(graph.output)
    return reader


def _array(file: ForeignFile, tensor: Any) -> Constant:
    """A constant of the graph, if it is in the file."""
    import onnx

    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        raise file.refused(
            "keeps weights in another file",
            "export it as a single file, with external_data=False of torch.onnx.export",
        )
    try:
        array: Constant = onnx.numpy_helper.to_array(tensor)
    except Exception:  # sizes that lie, types that numpy does not know
        raise file.refused(f"is damaged: its constant {tensor.name[:80]!r}") from None
    return array


@dataclass
class _Reader:
    """What of a graph was read: its constants, and the chain up to ``here``.

    Attributes:
        here: the name of the last output of the chain.
        scale, shift: what states are multiplied with and what is added to that, before any layer.
        front: whether there is no layer yet.
        over: the op behind which there can be none.
    """

    file: ForeignFile
    spec: StateSpec
    constants: dict[str, Constant]
    here: str = ""
    is_float: bool = False
    front: bool = True
    over: str = ""

    def __post_init__(self) -> None:
        self.layers = LayerList(self.file, "logits")
        one = _BYTES if self.spec.kind == IMAGE else 1.0  # states come to the network from 0 to 1
        self.scale: NDArray[np.float64] = np.array(one)
        self.shift: NDArray[np.float64] = np.array(0.0)
        self._readers: dict[str, Callable[[Any, list[Constant]], None]] = {
            "Conv": self._conv,
            "Gemm": self._gemm,
            "MatMul": self._matmul,
            "Add": self._arithmetic,
            "Sub": self._arithmetic,
            "Mul": self._arithmetic,
            "Div": self._arithmetic,
            "Flatten": self._flatten,
            "Reshape": self._flatten,
            "Cast": self._cast,
            "Identity": lambda node, constants: None,
            "Softmax": self._softmax,
            "LogSoftmax": self._softmax,
            **dict.fromkeys((*_ACTIVATIONS, *_SLOPES), self._activation),
        }

    def begin(self, inputs: Sequence[Any]) -> None:
        """Begin with the only input, which must be the states."""
        if len(inputs) != 1:
            raise self.file.refused(f"has {len(inputs)} inputs, not the states alone")
        tensor = inputs[0].type.tensor_type
        shape = tuple(d.dim_value for d in tensor.shape.dim)[1:]
        if shape != self.spec.state_shape:
            raise self.file.refused(
                f"takes states of the shape {shape}; those of the task have the shape "
                f"{self.spec.state_shape} ({self.spec})"
            )
        self.here, self.is_float = inputs[0].name, tensor.elem_type == _FLOAT

    def read(self, node: Any) -> None:
        """Add what a node computes. Raises :class:`ArtifactError`."""
        op = str(node.op_type)
        if op == "Constant" and node.domain in ("", "ai.onnx"):
            self._keep(node)
            return
        reader = self._readers.get(op)
        if reader is None or node.domain not in ("", "ai.onnx"):
            why = "which says the best action, not logits" if op == "ArgMax" else "no plain layer"
            raise self.file.refused(
                f"has the operation {op[:40]!r}, {why}", "export the network up to its logits"
            )
        if self.over:
            raise self.file.refused(f"has {op} behind {self.over}")
        inputs = [name for name in node.input if name]
        others = [name for name in inputs if name != self.here]
        is_next = inputs.count(self.here) == 1 and len(node.output) == 1
        if not is_next or any(name not in self.constants for name in others):
            raise self.file.refused(
                f"is no chain of layers: {op} takes more than what the layer before it gives, or "
                "that goes two ways",
                "corrtool reads networks without skip connections and with one output",
            )
        reader(node, [self.constants[name] for name in others])
        self.here = node.output[0]

    def end(self, outputs: Sequence[Any]) -> None:
        """End with the only output, the logits."""
        if [output.name for output in outputs] != [self.here]:
            raise self.file.refused(
                f"has {len(outputs)} outputs, not the logits at the end of a chain alone"
            )
        self._leave_front()

    def _keep(self, node: Any) -> None:
        given = self._attributes(node, {"value": None})
        if given["value"] is None or len(node.output) != 1:
            raise self.file.refused("has a constant in a form that corrtool does not read")
        self.constants[node.output[0]] = _array(self.file, given["value"])

    def _attributes(self, node: Any, known: dict[str, Any]) -> dict[str, Any]:
        """The attributes of a node, or their defaults. Refuses one that is not known.

        Also one of another type than the operation's, or that is to come from a function.
        """
        import onnx

        unknown = {a.name for a in node.attribute} - set(known)  # bytes, where no text
        if unknown:
            raise self.file.refused(
                f"has {node.op_type} with {', '.join(sorted(map(str, unknown)))[:80]}"
            )
        for attribute in node.attribute:
            if attribute.ref_attr_name or attribute.type != ATTRIBUTES[attribute.name]:
                raise self.file.refused(
                    f"has {node.op_type} with the attribute {attribute.name!r} in a form that "
                    "corrtool does not read"
                )
        return known | {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}

    def _leave_front(self) -> None:
        """Scale the states, where that is not what they are scaled by anyway."""
        if not self.front:
            return
        self.front = False
        if not self.is_float:
            raise self.file.refused("computes with whole numbers, or numbers that are not float32")
        if np.all(self.scale == 1.0) and np.all(self.shift == 0.0):
            return
        shape = np.broadcast_shapes(self.scale.shape, self.shift.shape)
        weight, bias = (
            torch.from_numpy(np.broadcast_to(values, shape).astype(np.float32).copy())
            for values in (self.scale, self.shift)
        )
        self.layers.add(Layer.of("affine", shape=tuple(shape)), weight=weight, bias=bias)

    def _arithmetic(self, node: Any, constants: list[Constant]) -> None:
        """Scaling of states, or the bias behind a matrix."""
        op, values = node.op_type, self._floats(constants, 1, node.op_type)[0]
        is_first = node.input[0] == self.here
        if op == "Add" and self._add_bias(values):
            return
        if not self.front or (op in ("Sub", "Div") and not is_first):
            raise self.file.refused(f"has {op} where corrtool knows none: only states are scaled")
        if not self.is_float:
            raise self.file.refused("computes with whole numbers, or numbers that are not float32")
        shape = self.spec.state_shape
        if values.size == 1:
            values = values.reshape(())
        elif values.shape in (shape, (1, *shape)):
            values = values.reshape(shape)
        elif values.ndim == len(shape) > 1 and values.shape == (shape[0], *[1] * (len(shape) - 1)):
            values = np.broadcast_to(values, shape)
        else:
            raise self.file.refused(f"has {op} by a constant of the shape {values.shape[:8]}")
        if op == "Div" and np.any(values == 0):
            raise self.file.refused("divides by zero")
        if op == "Mul":
            self.scale, self.shift = self.scale * values, self.shift * values
        elif op == "Div":
            self.scale, self.shift = self.scale / values, self.shift / values
        else:
            self.shift = self.shift + (values if op == "Add" else -values)

    def _add_bias(self, values: Constant) -> bool:
        """Add to the layer before, if it is a matrix without a bias."""
        last = self.layers.layers[-1] if self.layers.layers else None
        if last is None or last.kind != "linear" or dict(last.numbers)["bias"]:
            return False
        weight = self.layers.weights.popitem()[1]
        self.layers.layers.pop()
        flat = values.reshape(-1) if values.shape[:-1] in ((), (1,)) else values
        self.layers.add_linear(weight, _tensor(flat))
        return True

    def _floats(self, constants: list[Constant], count: int, op: str) -> list[Constant]:
        """So many constants of float32, as float64 where that is scaling."""
        if len(constants) != count or any(c.dtype != np.float32 for c in constants):
            raise self.file.refused(f"has {op} without {count} constants of float32")
        return [c.astype(np.float64) for c in constants]

    def _conv(self, node: Any, constants: list[Constant]) -> None:
        self._leave_front()
        self._floats(constants, len(constants), "Conv")
        known = {"auto_pad": b"NOTSET", "dilations": [1, 1], "group": 1, "kernel_shape": None}
        has = self._attributes(node, known | {"pads": [0] * 4, "strides": [1, 1]})
        pads, strides = list(has["pads"]), list(has["strides"])
        plain = has["auto_pad"] == b"NOTSET" and list(has["dilations"]) == [1, 1]
        plain = plain and has["group"] == 1 and len(constants) in (1, 2)
        plain = plain and node.input[0] == self.here
        if not plain or len({*pads}) != 1 or len({*strides}) != 1 or len(strides) != 2:
            raise self.file.refused("has a convolution that is not plain: strides or padding")
        weight = _tensor(constants[0])
        sides = list(weight.shape[2:])
        if list(has["kernel_shape"] or sides) != sides:
            raise self.file.refused("has a convolution whose filters have another size")
        bias = _tensor(constants[1]) if len(constants) == 2 else None
        self.layers.add_convolution(weight, bias, int(strides[0]), int(pads[0]))

    def _gemm(self, node: Any, constants: list[Constant]) -> None:
        self._leave_front()
        self._floats(constants, len(constants), "Gemm")
        has = self._attributes(node, {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0})
        plain = (has["alpha"], has["beta"], has["transA"]) == (1.0, 1.0, 0)
        if not plain or len(constants) not in (1, 2) or node.input[0] != self.here:
            raise self.file.refused("has a Gemm that is not plain")
        matrix = constants[0] if has["transB"] else constants[0].T
        bias = None if len(constants) == 1 else _tensor(constants[1].reshape(-1))
        self.layers.add_linear(_tensor(matrix), bias)

    def _matmul(self, node: Any, constants: list[Constant]) -> None:
        self._leave_front()
        self._floats(constants, 1, "MatMul")
        if node.input[0] != self.here:
            raise self.file.refused("has a MatMul from the left")
        self.layers.add_linear(_tensor(constants[0].T), None)

    def _flatten(self, node: Any, constants: list[Constant]) -> None:
        if node.op_type == "Flatten":
            plain = self._attributes(node, {"axis": 1})["axis"] == 1 and not constants
        else:
            to = constants[0].reshape(-1).tolist() if len(constants) == 1 else []
            plain = len(to) == 2 and (to[0] in (-1, 0, 1) or to[1] == -1)
            plain = plain and not (
                self._attributes(node, {"allowzero": 0})["allowzero"] and 0 in to
            )
        if not plain or node.input[0] != self.here:
            raise self.file.refused(f"has a {node.op_type} that does not flatten states")
        self._leave_front()
        self.layers.add(Layer.of("flatten"))

    def _cast(self, node: Any, constants: list[Constant]) -> None:
        if self._attributes(node, {"to": None, "saturate": 1, "round_mode": b"up"})["to"] != _FLOAT:
            raise self.file.refused("has a Cast to other numbers than float32")
        self.is_float = True

    def _activation(self, node: Any, constants: list[Constant]) -> None:
        self._leave_front()
        if node.op_type in _ACTIVATIONS:
            self._attributes(node, {})
            self.layers.add_activation(_ACTIVATIONS[node.op_type])
            return
        kind, name, default = _SLOPES[node.op_type]
        slope = self._attributes(node, {"alpha": default})["alpha"]
        try:
            self.layers.add(Layer.of(kind, **{name: float(slope)}))
        except (TypeError, ValueError) as error:
            raise self.file.refused(f"cannot be built: {error}") from None

    def _softmax(self, node: Any, constants: list[Constant]) -> None:
        """At the end: without it there are logits."""
        if self._attributes(node, {"axis": -1})["axis"] not in (-1, 1):
            raise self.file.refused(f"has a {node.op_type} that is not over the actions")
        self.over = node.op_type


def _tensor(array: Constant) -> Tensor:
    return torch.from_numpy(np.array(array, dtype=np.float32, order="C"))
