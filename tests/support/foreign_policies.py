"""Actors with critics of other libraries: the same layers under the same names.

After the sources of CleanRL 1.0 (``ppo.py``, ``ppo_atari.py``) and of Stable-Baselines3 2.9.2
(``ActorCriticPolicy``), so that the tests need neither.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from support.foreign_agents import nature_layers, sb3_data

PPO = "stable_baselines3.common.policies"


def tanh_mlp(size: int, widths: tuple[int, ...], outputs: int) -> nn.Sequential:
    """Hidden layers with tanh, and a linear one."""
    layers = list[nn.Module]()
    for width in widths:
        layers += [nn.Linear(size, width), nn.Tanh()]
        size = width
    return nn.Sequential(*layers, nn.Linear(size, outputs))


class _Features(nn.Module):
    """``NatureCNN``."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.cnn = nn.Sequential(*nature_layers())
        self.linear = nn.Sequential(nn.Linear(3136, units), nn.ReLU())

    def forward(self, observations: Tensor) -> Tensor:
        features: Tensor = self.linear(self.cnn(observations))
        return features


class _Extractor(nn.Module):
    """``MlpExtractor``: hidden layers of actor and critic, their last layer left out."""

    def __init__(self, size: int, widths: tuple[int, ...], kind: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.policy_net, self.value_net = nn.Sequential(), nn.Sequential()
        for net in (self.policy_net, self.value_net):
            inputs = size
            for width in widths:
                net.extend([nn.Linear(inputs, width), kind()])
                inputs = width


class Sb3ActorCritic(nn.Module):
    """``ActorCriticPolicy`` of numbers, or without a ``size`` ``ActorCriticCnnPolicy``."""

    def __init__(
        self,
        actions: int,
        size: int | None = None,
        widths: tuple[int, ...] = (),
        kind: Callable[[], nn.Module] = nn.Tanh,
        shared: bool = True,
        units: int = 32,
    ) -> None:
        super().__init__()
        self.divisor = 255.0 if size is None else 1.0
        if size is None:
            self.features_extractor = _Features(units)
            self.pi_features_extractor = self.features_extractor
            self.vf_features_extractor = self.features_extractor if shared else _Features(units)
        size = units if size is None else size
        self.mlp_extractor = _Extractor(size, widths, kind)
        last = widths[-1] if widths else size
        self.action_net, self.value_net = nn.Linear(last, actions), nn.Linear(last, 1)

    def forward(self, observations: Tensor) -> Tensor:
        logits: Tensor = self.action_net(
            self.mlp_extractor.policy_net(self._seen(observations, "pi"))
        )
        return logits

    def values(self, observations: Tensor) -> Tensor:
        """V(s), (B, 1)."""
        hidden = self.mlp_extractor.value_net(self._seen(observations, "vf"))
        values: Tensor = self.value_net(hidden)
        return values

    def _seen(self, observations: Tensor, head: str) -> Tensor:
        seen = observations.float() / self.divisor
        if self.divisor == 1.0:
            return seen
        features: Tensor = getattr(self, f"{head}_features_extractor")(seen)
        return features


class CleanrlAgent(nn.Module):
    """``Agent`` of ``ppo_atari.py``, or with ``size`` numbers in a state that of ``ppo.py``."""

    def __init__(self, actions: int, size: int | None = None) -> None:
        super().__init__()
        self.actor: nn.Module
        self.critic: nn.Module
        self.network: nn.Module | None = None
        if size is None:
            self.network = nn.Sequential(*nature_layers(), nn.Linear(3136, 512), nn.ReLU())
            self.actor, self.critic = nn.Linear(512, actions), nn.Linear(512, 1)
        else:
            self.actor = tanh_mlp(size, (64, 64), actions)
            self.critic = tanh_mlp(size, (64, 64), 1)

    def forward(self, observations: Tensor) -> Tensor:
        logits: Tensor = self.actor(self._seen(observations))
        return logits

    def values(self, observations: Tensor) -> Tensor:
        """V(s), (B, 1)."""
        values: Tensor = self.critic(self._seen(observations))
        return values

    def _seen(self, observations: Tensor) -> Tensor:
        if self.network is None:
            return observations
        features: Tensor = self.network(observations / 255.0)
        return features


def ppo_data(shape: list[int], actions: int, **changed: Any) -> dict[str, Any]:
    """The ``data`` of a PPO zip."""
    policy = {":serialized:": "not a pickle", "__module__": PPO}
    data = sb3_data(shape, actions, policy_class=policy, n_steps=2048)
    return {**data, **changed}


def export_onnx(network: nn.Module, example: Tensor, path: Any, *, dynamo: bool) -> None:
    """What ``torch.onnx.export`` writes, with any batch."""
    torch.onnx.export(
        network.eval(),
        (example,),
        path,
        input_names=["observation"],
        output_names=["logits"],
        dynamo=dynamo,
        verbose=False,
        external_data=False,
        **(
            {"dynamic_shapes": ({0: torch.export.Dim("batch")},)}
            if dynamo
            else {"dynamic_axes": {"observation": {0: "batch"}, "logits": {0: "batch"}}}
        ),
    )
