r"""The correspondence function, eq. (7) and (13): :math:`C(s_T, a_T) = (G_T(s_T), a_T)`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from corrtool.networks.generators import FramewiseGenerator, build_generator
from corrtool.runtime import to_device
from corrtool.states import StateScaling, StateSpec


class Correspondence(nn.Module):
    """Both generators of eq. (7), with the scalings of both tasks' states.

    Attributes:
        target_to_source: the printed :math:`G_T`, which is the correspondence function at play time.
        source_to_target: the printed :math:`G_S`.
    """

    def __init__(self, source_scaling: StateScaling, target_scaling: StateScaling, generator: dict[str, Any]) -> None:
        super().__init__()
        self.generator = generator
        self.source_scaling = source_scaling
        self.target_scaling = target_scaling
        angle = generator.get("angle_init", 0.0)
        self.target_to_source = build_generator(target_scaling.spec, source_scaling.spec, **generator)
        self.source_to_target = build_generator(
            source_scaling.spec, target_scaling.spec, **(generator | {"angle_init": -angle})
        )

    def describe(self) -> dict[str, Any]:
        """What a manifest needs to build this network again."""
        return {
            "generator": self.generator,
            "source_states": self.source_scaling.spec.to_json(),
            "target_states": self.target_scaling.spec.to_json(),
        }

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> Correspondence:
        """The inverse of :meth:`describe`; weights and statistics are to be loaded."""
        source, target = (StateSpec.from_json(description[f"{role}_states"]) for role in ("source", "target"))
        return cls(StateScaling(source), StateScaling(target), description["generator"])

    def translate(self, raw_target_states: Tensor) -> Tensor:
        """Raw target states → source states in the model range."""
        translated: Tensor = self.target_to_source(self.target_scaling.raw_to_model(raw_target_states))
        return translated


class PlayTranslator:
    """Translates the states of games as they go on: what :meth:`Correspondence.translate` says, with less work.

    Of the K frames of a state K - 1 were in the state before. A generator that translates each frame by itself only has the
    newest left to do, but for a game that has just begun.
    """

    def __init__(self, correspondence: Correspondence) -> None:
        self._correspondence = correspondence
        self._raw: Tensor | None = None  # the last frames of every game, (N, K, *frame_shape), and their translations
        self._translated: Tensor | None = None

    def __call__(self, raw_target_states: Tensor, games: NDArray[np.int64] | None = None) -> Tensor:
        """Raw target states (n, …), one of each game, → source states in the model range.

        Args:
            games: (n,) whose states these are, ascending, of those of the first call; None for all of them.
        """
        c = self._correspondence
        generator, target, source = c.target_to_source, c.target_scaling, c.source_scaling
        if not isinstance(generator, FramewiseGenerator):
            return c.translate(raw_target_states)
        raw = target.spec.frames_of(raw_target_states)
        if self._raw is None or self._translated is None or (games is None and len(raw) != len(self._raw)):
            self._raw, self._translated = raw.clone(), source.spec.frames_of(c.translate(raw_target_states))
            return source.spec.stack_frames(self._translated)
        which = torch.arange(len(raw), device=raw.device) if games is None else to_device(games, raw.device)
        before, translated_before = self._raw[which], self._translated[which]
        follows = (raw[:, :-1] == before[:, 1:]).flatten(1).all(dim=1)
        newest, whole = generator.sequences(
            [target.raw_to_model(raw[follows][:, -1:]), target.raw_to_model(raw[~follows])]
        )
        translated = torch.cat([translated_before[:, 1:], translated_before[:, :1]], dim=1)
        translated[follows, -1:], translated[~follows] = newest, whole
        self._raw = self._raw.index_copy(0, which, raw)
        self._translated = self._translated.index_copy(0, which, translated)
        return source.spec.stack_frames(translated)


class ScaledModel(nn.Module):
    """The environment model F together with the scaling of the states that it was trained on.

    Both of its call sites, training and the model loss (11), thus give it the same range.
    """

    def __init__(self, network: nn.Module, scaling: StateScaling) -> None:
        super().__init__()
        self.network = network
        self.scaling = scaling

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        """Model range in, model range out: (B, …), (B,) → (B, …)."""
        predicted: Tensor = self.network(states, actions)
        return predicted


def freeze(network: nn.Module) -> nn.Module:
    """Evaluation mode and no gradients into the weights; gradients still flow through it."""
    return network.eval().requires_grad_(False)


def copy_of_weights(network: nn.Module) -> dict[str, Tensor]:
    """A copy of a network's weights, detached from further training."""
    return {
        name: tensor.detach().clone(memory_format=torch.contiguous_format)
        for name, tensor in network.state_dict().items()
    }
