"""Agents of other libraries, as their files hold them: the same layers under the same names.

Hand-made after the sources of CleanRL 1.0 (``dqn.py``, ``dqn_atari.py``, ``c51.py``) and of
Stable-Baselines3 2.9.2, so that the tests need neither.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

SB3_MEMBERS = {
    "pytorch_variables.pth": b"",
    "policy.optimizer.pth": b"",
    "_stable_baselines3_version": b"2.9.2",
    "system_info.txt": b"- OS: Linux\n",
}


def nature_layers(channels: int = 4) -> list[nn.Module]:
    """The convolutions of Mnih et al. 2015."""
    return [
        nn.Conv2d(channels, 32, 8, stride=4),
        nn.ReLU(),
        nn.Conv2d(32, 64, 4, stride=2),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, stride=1),
        nn.ReLU(),
        nn.Flatten(),
    ]


class CleanrlNetwork(nn.Module):
    """``QNetwork`` of ``dqn_atari.py``, or with ``size`` numbers in a state that of ``dqn.py``."""

    def __init__(self, actions: int, size: int | None = None) -> None:
        super().__init__()
        self.divisor = 255.0 if size is None else 1.0
        layers: list[nn.Module]
        if size is None:
            layers = [
                *nature_layers(),
                nn.Linear(3136, 512),
                nn.ReLU(),
                nn.Linear(512, actions),
            ]
        else:
            layers = [nn.Linear(size, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU()]
            layers.append(nn.Linear(84, actions))
        self.network = nn.Sequential(*layers)

    def forward(self, observations: Tensor) -> Tensor:
        q_values: Tensor = self.network(observations / self.divisor)
        return q_values


class _NatureFeatures(nn.Module):
    """``NatureCNN`` of Stable-Baselines3."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential(*nature_layers())
        self.linear = nn.Sequential(nn.Linear(3136, 512), nn.ReLU())

    def forward(self, observations: Tensor) -> Tensor:
        features: Tensor = self.linear(self.cnn(observations))
        return features


class Sb3Network(nn.Module):
    """``QNetwork`` of Stable-Baselines3: of CnnPolicy, or with ``sizes`` that of MlpPolicy."""

    def __init__(self, actions: int, sizes: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.divisor = 1.0 if sizes else 255.0
        if not sizes:
            self.features_extractor = _NatureFeatures()
        layers = list[nn.Module]()
        widths = sizes or (512,)
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        self.q_net = nn.Sequential(*layers, nn.Linear(widths[-1], actions))

    def forward(self, observations: Tensor) -> Tensor:
        observations = observations / self.divisor
        if self.divisor != 1.0:
            observations = self.features_extractor(observations)
        q_values: Tensor = self.q_net(observations)
        return q_values


class Sb3Policy(nn.Module):
    """``DQNPolicy``: the network, and the target network, a copy of other weights."""

    def __init__(self, actions: int, sizes: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.q_net = Sb3Network(actions, sizes)
        self.q_net_target = Sb3Network(actions, sizes)


def saved(value: Any) -> bytes:
    """What ``torch.save`` writes."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def zipped(members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip file with these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def sb3_data(shape: list[int], actions: int, **changed: Any) -> dict[str, Any]:
    """The ``data`` of a DQN; what is pickled in it says so, and would fail if it were unpickled."""
    data = {
        "policy_class": {
            ":type:": "<class 'abc.ABCMeta'>",
            ":serialized:": "not a pickle",
            "__module__": "stable_baselines3.dqn.policies",
        },
        "policy_kwargs": {},
        "num_timesteps": 50_000,
        "seed": None,
        "gamma": 0.98,
        "n_steps": 1,
        "observation_space": {
            ":type:": "<class 'gymnasium.spaces.box.Box'>",
            ":serialized:": "not a pickle",
            "dtype": "float32" if len(shape) == 1 else "uint8",
            "_shape": shape,
        },
        "action_space": {
            ":type:": "<class 'gymnasium.spaces.discrete.Discrete'>",
            ":serialized:": "not a pickle",
            "n": str(actions),
        },
    }
    return {**data, **changed}


def write_sb3(path: Path, policy: nn.Module, data: dict[str, Any], **more: bytes) -> Path:
    """A DQN zip, with ``more`` members."""
    members = {"data": json.dumps(data).encode(), **SB3_MEMBERS}
    path.write_bytes(zipped({**members, "policy.pth": saved(policy.state_dict()), **more}))
    return path
