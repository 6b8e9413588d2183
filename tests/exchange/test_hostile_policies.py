"""Files for ``import policy`` that are damaged, of something else, or meant to harm.

As in ``test_hostile_agents.py``: exit 3 and one line; nothing is executed, nothing is written.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.foreign_agents import SB3_MEMBERS, CleanrlNetwork, saved, zipped
from support.foreign_policies import CleanrlAgent, Sb3ActorCritic, ppo_data
from support.hostile_policies import Malicious, imported, make_lab, refused

pytestmark = pytest.mark.usefixtures("seeded")


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return make_lab(tmp_path, monkeypatch)


def weights() -> dict[str, torch.Tensor]:
    return Sb3ActorCritic(2, 4, (8,)).state_dict()


def zip_of(data: Any = None, policy: Any = None, **more: bytes) -> bytes:
    data = ppo_data([4], 2) if data is None else data
    policy = saved(weights() if policy is None else policy)
    return zipped({"data": json.dumps(data).encode(), "policy.pth": policy, **SB3_MEMBERS, **more})


def kwargs(**given: Any) -> bytes:
    return zip_of(ppo_data([4], 2, policy_kwargs=given))


def without(name: str) -> dict[str, torch.Tensor]:
    return {key: tensor for key, tensor in weights().items() if key != name}


def nested() -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are a prototype of torch
        return torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])


HUGE = torch.ones(1).as_strided((10**6, 10**6), (0, 0))
HIDDEN = "mlp_extractor.policy_net"
MULTI = {":type:": "<class 'gymnasium.spaces.multi_discrete.MultiDiscrete'>"}
ZIPS: dict[str, tuple[Callable[[], bytes], str]] = {
    "noise": (lambda: bytes(range(256)) * 9, "is no zip file, or damaged"),
    "code": (lambda: zip_of(policy={"a": Malicious()}), "it asks for posix.mkdir"),
    "another member": (lambda: zip_of(**{"evil.pkl": b""}), "one of its kind"),
    "a DQN": (
        lambda: zip_of(
            ppo_data([4], 2, policy_class={"__module__": "stable_baselines3.dqn.policies"})
        ),
        "a DQN is for 'corrtool import q'",
    ),
    "another library": (
        lambda: zip_of(ppo_data([4], 2, policy_class={"__module__": "sb3_contrib.x"})),
        "reads PPO and A2C",
    ),
    "several actions at once": (
        lambda: zip_of(ppo_data([4], 2, action_space=MULTI)),
        "corrtool knows discrete actions",
    ),
    "no actions": (
        lambda: zip_of(ppo_data([4], 2, action_space=None)),
        "has actions of the space None",
    ),
    "another activation": (
        lambda: kwargs(activation_fn="<class 'torch.nn.modules.activation.GELU'>"),
        "activation_fn is <class 'torch.nn.modules.activation.GELU'>",
    ),
    "an activation of a table": (lambda: kwargs(activation_fn={}), "activation_fn is {}"),
    "other features": (
        lambda: kwargs(features_extractor_class="<class 'mine.CNN'>"),
        "features_extractor_class is <class 'mine.CNN'>",
    ),
    "pictures as they are": (lambda: kwargs(normalize_images=False), "normalize_images is"),
    "an unknown argument": (lambda: kwargs(lstm_hidden_size=3), "lstm_hidden_size is 3"),
    "other weights": (
        lambda: zip_of(policy=weights() | {"log_std": torch.zeros(2)}),
        "'log_std', which is no weight of a PPO or A2C",
    ),
    "a missing weight": (lambda: zip_of(policy=without("action_net.bias")), "lacks the weight"),
    "no critic": (lambda: zip_of(policy=without("value_net.weight")), "lacks the weight"),
    "a huge weight": (
        lambda: zip_of(policy=weights() | {"action_net.weight": HUGE}),
        "1,000,000 outputs with 2 biases",
    ),
    "huge features": (
        lambda: zip_of(
            policy=weights()
            | {f"{head}_features_extractor.linear.0.weight": HUGE for head in ("pi", "vf")}
        ),
        "weights that take more room",
    ),
    "a critic of NaN": (
        lambda: zip_of(policy=weights() | {"value_net.bias": torch.tensor([torch.nan])}),
        "NaN or infinity",
    ),
    "a flat weight": (
        lambda: zip_of(policy=weights() | {"action_net.weight": torch.zeros(2)}),
        "a fully connected layer of the shape (2,)",
    ),
    "a bias of another size": (
        lambda: zip_of(policy=weights() | {"action_net.bias": torch.zeros(3)}),
        "2 outputs with 3 biases",
    ),
    "three actions": (
        lambda: zip_of(ppo_data([4], 3), {**weights(), **_last(3)}),
        "it has 3 actions, the task 2",
    ),
    "layers that do not fit": (
        lambda: zip_of(policy=weights() | {"action_net.weight": torch.zeros(2, 9)}),
        "layer linear takes 9 inputs and gets (8,)",
    ),
    "a critic of two": (
        lambda: zip_of(
            policy=weights()
            | {"value_net.weight": torch.zeros(2, 8), "value_net.bias": torch.zeros(2)}
        ),
        "its critic has values of the shape (2,)",
    ),
    "a nested weight": (
        lambda: zip_of(policy=weights() | {"action_net.weight": nested()}),
        "holds 'action_net.weight' in a form that corrtool does not read",
    ),
    "a weight of no layer": (
        lambda: zip_of(policy=weights() | {f"{HIDDEN}.1.weight": torch.zeros(2)}),
        f"holds '{HIDDEN}.1.weight', which is of none of its layers",
    ),
    "a layer behind a gap": (
        lambda: zip_of(policy=weights() | {f"{HIDDEN}.4.weight": torch.zeros(2)}),
        f"holds '{HIDDEN}.4.weight', which is of none of its layers",
    ),
    "another name of a layer": (
        lambda: zip_of(policy=weights() | {f"{HIDDEN}.000.weight": torch.zeros(8, 4)}),
        f"holds '{HIDDEN}.000.weight', which is no weight of a PPO or A2C",
    ),
    "half a layer": (
        lambda: zip_of(policy=weights() | {f"{HIDDEN}.2.bias": torch.zeros(2)}),
        f"lacks the weight {HIDDEN}.2.weight",
    ),
    "features of nobody": (
        lambda: zip_of(
            policy=weights()
            | {
                f"{head}features_extractor.linear.0.bias": torch.full((2,), number)
                for head, number in (("", 1.0), ("pi_", 2.0), ("vf_", 2.0))
            }
        ),
        "features_extractor with other weights than pi_features_extractor",
    ),
    "a gamma of two": (lambda: zip_of(ppo_data([4], 2, gamma=2)), "says a gamma of 2, which is"),
    "a gamma below 0": (lambda: zip_of(ppo_data([4], 2, gamma=-0.5)), "says a gamma of -0.5"),
    "a gamma of NaN": (lambda: zip_of(ppo_data([4], 2, gamma=float("nan"))), "a gamma of nan"),
    "another observation": (lambda: zip_of(ppo_data([8], 2)), "observations of the shape (8,)"),
}


def _last(actions: int) -> dict[str, torch.Tensor]:
    return {
        "action_net.weight": torch.zeros(actions, 8),
        "action_net.bias": torch.zeros(actions),
    }


@pytest.mark.parametrize("name", ZIPS)
def test_zips(lab: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    write, message = ZIPS[name]
    assert message in refused(lab, write(), "sb3", capsys)


def agent() -> dict[str, torch.Tensor]:
    return CleanrlAgent(2, 4).state_dict()


STATE_DICTS: dict[str, tuple[Callable[[], Any], str]] = {
    "code": (lambda: {"actor.0.weight": Malicious()}, "it asks for posix.mkdir"),
    "no table": (lambda: [torch.zeros(2)], "holds no table of weights"),
    "a DQN of numbers": (lambda: CleanrlNetwork(2, 4).state_dict(), "a convolution of the shape"),
    "a DQN": (lambda: CleanrlNetwork(2).state_dict(), "no weight of CleanRL's ppo.py"),
    "a recurrent one": (lambda: agent() | {"lstm.weight_ih_l0": torch.zeros(2)}, "'lstm.weight_ih"),
    "nothing": (dict, "lacks the weight actor.0.weight"),
    "a layer too few": (
        lambda: {k: v for k, v in agent().items() if not k.startswith("critic.4")},
        "lacks the weight critic.4.weight",
    ),
    "a nested weight": (
        lambda: agent() | {"actor.0.weight": nested()},
        "holds 'actor.0.weight' in a form that corrtool does not read",
    ),
    "a gamma of NaN": (
        lambda: {"model_weights": agent(), "args": {"gamma": float("nan")}},
        "says a gamma of nan, which is not from 0 to 1",
    ),
    "pictures": (lambda: CleanrlAgent(2).state_dict(), "layer conv2d takes 4 inputs"),
    "other filters": (
        lambda: CleanrlAgent(2).state_dict() | {"network.0.weight": torch.zeros(32, 4, 6, 6)},
        "filters of 6 × 6 where those of Mnih et al. 2015 have 8 × 8",
    ),
}


@pytest.mark.parametrize("name", STATE_DICTS)
def test_state_dicts(lab: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    make, message = STATE_DICTS[name]
    assert message in refused(lab, saved(make()), "cleanrl", capsys)


def test_honest_ones_next_to_them(lab: Path) -> None:
    for form, content in {"sb3": zip_of(), "cleanrl": saved(agent())}.items():
        (lab / f"{form}.file").write_bytes(content)
        assert imported(lab / f"{form}.file", form, "--quiet") == 0
