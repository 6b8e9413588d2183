r"""The correspondence function, eq. (7) and (13): :math:`C(s_T, a_T) = (G_T(s_T), m(a_T))`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.description import GeneratorDescription
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec


class Correspondence(nn.Module):
    """Both generators of eq. (7), with the scalings of both tasks' states, and the action map m.

    Attributes:
        target_to_source: the printed ``G_T``, the correspondence function at play time.
        source_to_target: the printed ``G_S``.
    """

    _source_of: Tensor | None  # of each target action the source action; None for the identity

    def __init__(
        self,
        source_scaling: StateScaling,
        target_scaling: StateScaling,
        generator: GeneratorDescription,
        action_map: ActionMap | None = None,
    ) -> None:
        super().__init__()
        self.generator = generator
        self.source_scaling = source_scaling
        self.target_scaling = target_scaling
        self.target_to_source = generator.build(target_scaling.spec, source_scaling.spec)
        self.source_to_target = generator.reversed_direction().build(
            source_scaling.spec, target_scaling.spec
        )
        self.action_map = action_map

    @property
    def action_map(self) -> ActionMap | None:
        """The map m, which may be replaced at any time.

        None, as of correspondences older than action maps, is the identity of any number.
        """
        return self._action_map

    @action_map.setter
    def action_map(self, action_map: ActionMap | None) -> None:
        self._action_map = action_map
        index = None
        if action_map is not None and not action_map.is_identity:
            weights = next(self.target_to_source.parameters()).device
            # A network that is built on the meta device gets its weights later, but no index.
            device = torch.device("cpu") if weights.type == "meta" else weights
            index = torch.tensor(action_map.source_of, device=device)
        # A buffer is on the device of the weights, without a copy in every step. The manifest has
        # the map, so the file of weights need not.
        self.register_buffer("_source_of", index, persistent=False)

    def describe(self) -> dict[str, Any]:
        """The description from which this network can be built again, for a manifest."""
        action_map = self.action_map
        return {
            "generator": self.generator.to_json(),
            "source_states": self.source_scaling.spec.to_json(),
            "target_states": self.target_scaling.spec.to_json(),
        } | ({} if action_map is None else {"action_map": action_map.to_json()})

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> Correspondence:
        """The inverse of ``describe``; weights and statistics are to be loaded."""
        source, target = (
            StateSpec.from_json(description[f"{role}_states"]) for role in ("source", "target")
        )
        generator = GeneratorDescription.from_json(description["generator"])
        action_map = described_action_map(description)
        return cls(StateScaling(source), StateScaling(target), generator, action_map)

    def translate(self, raw_target_states: Tensor) -> Tensor:
        """Raw target states → source states in the model range."""
        translated: Tensor = self.target_to_source(
            self.target_scaling.raw_to_model(raw_target_states)
        )
        return translated

    def source_actions(self, target_actions: Tensor) -> Tensor:
        """Target actions (B,) → source actions (B,): m of each."""
        return target_actions if self._source_of is None else self._source_of[target_actions]

    def target_values(self, source_values: Tensor) -> Tensor:
        """Values of the source's actions (B, A_S) → those of the target's (B, A_T).

        Each target action has the value of its source action.
        """
        return source_values if self._source_of is None else source_values[:, self._source_of]


def described_action_map(description: dict[str, Any]) -> ActionMap | None:
    """The action map of a ``Correspondence.describe``; None of those that say nothing of it.

    Raises KeyError, TypeError or ValueError where it is none.
    """
    described = description.get("action_map")
    return None if described is None else ActionMap.from_json(described)
