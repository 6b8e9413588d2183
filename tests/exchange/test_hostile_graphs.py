"""ONNX files for ``import policy`` that are damaged, no chain of layers, or meant to harm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.foreign_agents import saved
from support.hostile_policies import Malicious, imported, make_lab, refused

from corrtool.exchange.onnx_policy import ATTRIBUTES

onnx = pytest.importorskip("onnx")


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return make_lab(tmp_path, monkeypatch)


def tensor(name: str, *shape: int, kind: Any = None, value: float = 0.5) -> Any:
    kind = onnx.TensorProto.FLOAT if kind is None else kind
    numbers = [value] * int(torch.tensor(shape).prod())
    return onnx.helper.make_tensor(name, kind, shape, numbers)


def graph_of(
    *nodes: Any,
    constants: Any = (),
    inputs: int = 1,
    outputs: Any = None,
    size: int = 4,
    **more: Any,
) -> bytes:
    """A graph of these nodes, from ``x`` to the last one's output."""
    kind, value = onnx.TensorProto.FLOAT, onnx.helper.make_tensor_value_info
    named = [nodes[-1].output[0]] if outputs is None else outputs
    graph = onnx.helper.make_graph(
        list(nodes),
        "g",
        [value("x" if n == 0 else f"x{n}", kind, ["b", size]) for n in range(inputs)],
        [value(name, kind, ["b", 2]) for name in named],
        [tensor("w", 4, 2), tensor("c", 2), tensor("zero", 1, value=0.0), *constants],
    )
    content: bytes = onnx.helper.make_model(graph, **more).SerializeToString()
    return content


def node(op: str, *inputs: str, to: str = "y", **attributes: Any) -> Any:
    return onnx.helper.make_node(op, list(inputs), [to], **attributes)


def external() -> Any:
    made = onnx.numpy_helper.from_array(torch.zeros(4, 2).numpy(), "big")
    onnx.external_data_helper.set_external_data(made, "/etc/passwd")
    return made


def lying() -> Any:
    made = tensor("big", 4, 2)
    made.dims[0] = 2**40
    return made


FIRST = ("MatMul", "x", "w")
GRAPHS: dict[str, tuple[Callable[[], bytes], str]] = {
    "noise": (lambda: b"\xff" * 99, "is no ONNX file, or damaged"),
    "an empty one": (lambda: b"", "has 0 inputs"),
    "code": (lambda: saved({"a": Malicious()}), "is no ONNX file, or damaged"),
    "weights elsewhere": (
        lambda: graph_of(node("MatMul", "x", "big"), constants=[external()]),
        "keeps weights in another file",
    ),
    "sizes that lie": (
        lambda: graph_of(node("MatMul", "x", "big"), constants=[lying()]),
        "is damaged: its constant 'big'",
    ),
    "an unknown operation": (lambda: graph_of(node("LSTM", "x", "w")), "the operation 'LSTM'"),
    "a loop": (lambda: graph_of(node("If", "x")), "the operation 'If'"),
    "an operation of somebody's": (
        lambda: graph_of(node("Relu", "x", domain="mine")),
        "the operation 'Relu', no plain layer",
    ),
    "the best action": (
        lambda: graph_of(node(*FIRST, to="l"), node("ArgMax", "l")),
        "'ArgMax', which says the best action, not logits",
    ),
    "two inputs": (lambda: graph_of(node(*FIRST), inputs=2), "has 2 inputs"),
    "two outputs": (
        lambda: graph_of(node(*FIRST, to="l"), node("Relu", "l"), outputs=["y", "l"]),
        "has 2 outputs",
    ),
    "another output": (
        lambda: graph_of(node(*FIRST, to="l"), node("Relu", "l"), outputs=["l"]),
        "not the logits at the end of a chain",
    ),
    "a branch": (
        lambda: graph_of(node(*FIRST, to="l"), node("Relu", "l", to="r"), node("Add", "l", "r")),
        "is no chain of layers: Add",
    ),
    "itself twice": (
        lambda: graph_of(node(*FIRST, to="l"), node("Mul", "l", "l")),
        "is no chain of layers: Mul",
    ),
    "something behind the softmax": (
        lambda: graph_of(node(*FIRST, to="l"), node("Softmax", "l", to="s"), node("Relu", "s")),
        "has Relu behind Softmax",
    ),
    "a softmax over the batch": (
        lambda: graph_of(node(*FIRST, to="l"), node("Softmax", "l", axis=0)),
        "not over the actions",
    ),
    "a scale between layers": (
        lambda: graph_of(node(*FIRST, to="l"), node("Mul", "l", "c")),
        "has Mul where corrtool knows none",
    ),
    "a matrix from the left": (lambda: graph_of(node("MatMul", "w", "x")), "from the left"),
    "a divided constant": (lambda: graph_of(node("Div", "c", "x")), "has Div where"),
    "a division by zero": (lambda: graph_of(node("Div", "x", "zero")), "divides by zero"),
    "a constant of another shape": (
        lambda: graph_of(node("Mul", "x", "c")),
        "has Mul by a constant of the shape (2,)",
    ),
    "a Gemm with a factor": (
        lambda: graph_of(node("Gemm", "x", "w", "c", alpha=2.0)),
        "a Gemm that is not plain",
    ),
    "an unknown attribute": (
        lambda: graph_of(node("Gemm", "x", "w", evil=1)),
        "has Gemm with evil",
    ),
    "double precision": (
        lambda: graph_of(
            node("MatMul", "x", "d"), constants=[tensor("d", 4, 2, kind=onnx.TensorProto.DOUBLE)]
        ),
        "without 1 constants of float32",
    ),
    "another Cast": (
        lambda: graph_of(cast()),
        "has a Cast to other numbers",
    ),
    "a Flatten of the batch": (
        lambda: graph_of(node("Flatten", "x", axis=0)),
        "does not flatten states",
    ),
    "another state": (
        lambda: graph_of(node(*FIRST), size=8),
        "takes states of the shape (8,)",
    ),
    "another number of actions": (
        lambda: graph_of(node("MatMul", "x", "w3"), constants=[tensor("w3", 4, 3)]),
        "it has 3 actions, the task 2",
    ),
    "a NaN": (
        lambda: graph_of(
            node("MatMul", "x", "nan"), constants=[tensor("nan", 4, 2, value=float("nan"))]
        ),
        "NaN or infinity",
    ),
    "a function": (
        lambda: graph_of(node(*FIRST), functions=[function()]),
        "has functions",
    ),
    "many nodes": (
        lambda: graph_of(
            *(node("Relu", f"n{n}" if n else "x", to=f"n{n + 1}") for n in range(600))
        ),
        "has 600 nodes",
    ),
    "odd pads": (lambda: convolution(pads=["a"] * 4), "has Conv with the attribute 'pads'"),
    "as much padding as the kernel": (
        lambda: convolution(pads=[100_000] * 4),
        "padding of layer conv2d is 100000, no less than its kernel, 1",
    ),
    "no layers": (lambda: graph_of(node("Identity", "x")), "its logits have the shape (4,)"),
}


def convolution(**attributes: Any) -> bytes:
    """A convolution of states, whose numbers are read before its inputs are compared."""
    weight = tensor("k", 1, 1, 1, 1)
    return graph_of(node("Conv", "x", "k", **attributes), constants=[weight])


ODD: dict[str, Any] = {
    "a number": 1,
    "a float": 0.5,
    "a text": "a",
    "texts": ["a", "b"],
    "floats": [0.5, 0.5],
    "a tensor": onnx.helper.make_tensor("t", onnx.TensorProto.FLOAT, (1,), [1.0]),
    "tensors": [onnx.helper.make_tensor("t", onnx.TensorProto.FLOAT, (1,), [1.0])] * 2,
    "a graph": onnx.helper.make_graph([], "g", [], []),
}
NAMED = {
    "Conv": ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"),
    "Gemm": ("alpha", "beta", "transA", "transB"),
    "Flatten": ("axis",),
    "Reshape": ("allowzero",),
    "Cast": ("to", "saturate", "round_mode"),
    "Elu": ("alpha",),
    "Softmax": ("axis",),
}
INPUTS = {"Conv": ("k",), "Gemm": ("w", "c"), "Reshape": ("to",)}


def with_attribute(op: str, attribute: Any) -> bytes:
    """A graph of one node, with this attribute."""
    to = onnx.helper.make_tensor("to", onnx.TensorProto.INT64, (2,), [0, -1])
    made = node(op, "x", *INPUTS.get(op, ()))
    made.attribute.append(attribute)
    return graph_of(made, constants=[tensor("k", 1, 1, 1, 1), to])


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("op", NAMED)
def test_attributes_of_another_type(
    lab: Path, op: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in NAMED[op]:
        attribute = onnx.helper.make_attribute(name, ODD[kind])
        if attribute.type != ATTRIBUTES[name]:
            told = refused(lab, with_attribute(op, attribute), "onnx", capsys)
            assert f"has {op} with the attribute {name!r} in a form" in told


def test_an_attribute_of_a_function_or_without_a_name(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    attribute = onnx.helper.make_attribute("alpha", 1.0)
    attribute.ClearField("f")
    attribute.ref_attr_name = "of_a_function"
    assert "'alpha' in a form" in refused(lab, with_attribute("Gemm", attribute), "onnx", capsys)
    content = with_attribute("Gemm", onnx.helper.make_attribute("transB", 1))
    content = content.replace(b"transB", b"tran\xffB")  # no UTF-8
    assert r"has Gemm with b'tran\xffB'" in refused(lab, content, "onnx", capsys)


@pytest.mark.parametrize("value", [float("inf"), 3e38])
def test_numbers_that_become_infinite_are_one_line(
    lab: Path, value: float, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = [node("Mul", f"x{n}" if n else "x", "s", to=f"x{n + 1}") for n in range(12)]
    bent = graph_of(*steps, node("Gemm", "x12", "w", "c"), constants=[tensor("s", 1, value=value)])
    assert "holds NaN or infinity" in refused(lab, bent, "onnx", capsys)


def function() -> Any:
    opsets = [onnx.helper.make_opsetid("", 20)]
    return onnx.helper.make_function("mine", "f", ["a"], ["y"], [node("Relu", "a")], opsets)


def cast() -> Any:
    return onnx.helper.make_node("Cast", ["x"], ["y"], to=onnx.TensorProto.INT32)


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs(lab: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    write, message = GRAPHS[name]
    assert message in refused(lab, write(), "onnx", capsys)


def test_an_honest_one_next_to_them(lab: Path) -> None:
    (lab / "a.onnx").write_bytes(graph_of(node(*FIRST, to="l"), node("Add", "l", "c")))
    assert imported(lab / "a.onnx", "onnx", "--quiet") == 0
