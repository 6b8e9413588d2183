"""Agents as ONNX files, which onnxruntime computes."""

from __future__ import annotations

import sys

import onnx
import pytest
import torch
from support.agents import ACTION_MAP, raw_states, small_agent
from torch import Tensor

from corrtool.errors import CorrtoolError, UsageError
from corrtool.exchange.played_values import PlayedValues, compare
from corrtool.exchange.to_onnx import check_installed, onnx_metadata, onnx_runner, to_onnx
from corrtool.q_learning.chain import Chain, Layer
from corrtool.q_learning.policy import PolicyNetwork
from corrtool.states import StateSpec


# Every layer of every generator is in one of these: an export takes seconds. test_to_torch.py has
# them all.
@pytest.mark.parametrize("name", ["affine-resnet", "resnet-rotation", "gain-shift-resnet", "mlp"])
def test_the_values_are_the_same_with_any_batch(name: str) -> None:
    network, _ = small_agent(name, ACTION_MAP)
    made = onnx_runner(to_onnx(network, {}))
    assert made is not None
    states = raw_states(network.spec)
    assert compare(made[1], network, states).relative < 1e-5
    assert made[1](states[:3]).shape == (3, 5)


def test_the_file_says_what_it_is_and_what_goes_in_and_out() -> None:
    network, _ = small_agent("affine")
    model = onnx.load_from_string(to_onnx(network, {"q": "mine", "q_sha256": "ab"}))
    properties = {prop.key: prop.value for prop in model.metadata_props}
    assert len(properties.pop("content_sha256")) == 64
    assert properties == {"q": "mine", "q_sha256": "ab"}
    ((name, taken), (out, given)) = (
        (v.name, v.type.tensor_type) for v in (*model.graph.input, *model.graph.output)
    )
    assert (name, out) == ("observation", "q_values")
    assert (taken.elem_type, given.elem_type) == (onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT)
    batch, *shape = taken.shape.dim
    assert batch.dim_param and [side.dim_value for side in shape] == [2, 36, 32]


def test_what_comes_out_of_a_policy_are_logits() -> None:
    layer = Layer.of("linear", inputs=3, outputs=2, bias=True)
    policy = PolicyNetwork(Chain((), (layer,)), 2)
    network = PlayedValues(policy, StateSpec("vector", (3,)))
    content = to_onnx(network, {})
    assert [v.name for v in onnx.load_from_string(content).graph.output] == ["logits"]
    made = onnx_runner(content)
    assert made is not None
    assert compare(made[1], network, raw_states(network.spec)).relative < 1e-5


def test_a_changed_bit_is_noticed_wherever_it_is() -> None:
    content = to_onnx(small_agent("linear")[0], {"q": "mine"})
    assert onnx_metadata(content) == {"q": "mine"}
    assert onnx_metadata(b"something else") == onnx_metadata(b"") == {}
    for place in range(0, len(content), 7):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        assert onnx_metadata(bytes(changed)) != {"q": "mine"}, place


class Frozen(PlayedValues):
    """With ``len``, which is a constant in what is exported: no error tells of it."""

    def forward(self, observation: Tensor) -> Tensor:
        return super().forward(observation) + torch.zeros(1, 1).expand(len(observation), 1)


def test_a_frozen_batch_is_noticed() -> None:
    network, correspondence = small_agent("linear")
    frozen = Frozen(network.q_function, network.spec, correspondence)
    made = onnx_runner(to_onnx(frozen, {}))
    assert made is not None
    with pytest.raises(CorrtoolError, match="cannot be run with a batch of 1"):
        compare(made[1], network, raw_states(network.spec))


def test_without_the_packages_it_says_which_extra_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UsageError, match=r"needs onnxscript; pip install 'corrtool\[onnx\]'"):
        check_installed()


def test_without_onnxruntime_nobody_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert onnx_runner(b"") is None
