r"""The correspondence function, eq. (7) and (13): :math:`C(s_T, a_T) = (G_T(s_T), a_T)`."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from corrtool.correspondence.description import GeneratorDescription
from corrtool.states import StateScaling, StateSpec


class Correspondence(nn.Module):
    """Both generators of eq. (7), with the scalings of both tasks' states.

    Attributes:
        target_to_source: the printed :math:`G_T`, the correspondence function at play time.
        source_to_target: the printed :math:`G_S`.
    """

    def __init__(
        self,
        source_scaling: StateScaling,
        target_scaling: StateScaling,
        generator: GeneratorDescription,
    ) -> None:
        super().__init__()
        self.generator = generator
        self.source_scaling = source_scaling
        self.target_scaling = target_scaling
        self.target_to_source = generator.build(target_scaling.spec, source_scaling.spec)
        self.source_to_target = generator.reversed_direction().build(
            source_scaling.spec, target_scaling.spec
        )

    def describe(self) -> dict[str, Any]:
        """The description from which this network can be built again, for a manifest."""
        return {
            "generator": self.generator.to_json(),
            "source_states": self.source_scaling.spec.to_json(),
            "target_states": self.target_scaling.spec.to_json(),
        }

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> Correspondence:
        """The inverse of :meth:`describe`; weights and statistics are to be loaded."""
        source, target = (
            StateSpec.from_json(description[f"{role}_states"]) for role in ("source", "target")
        )
        generator = GeneratorDescription.from_json(description["generator"])
        return cls(StateScaling(source), StateScaling(target), generator)

    def translate(self, raw_target_states: Tensor) -> Tensor:
        """Raw target states → source states in the model range."""
        translated: Tensor = self.target_to_source(
            self.target_scaling.raw_to_model(raw_target_states)
        )
        return translated
