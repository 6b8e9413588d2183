"""What an agent computes as one network, from the states that a task shows to the values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from corrtool.correspondence.model import Correspondence
from corrtool.errors import CorrtoolError
from corrtool.q_learning.policy import PolicyNetwork
from corrtool.state_scaling import raw_to_q
from corrtool.states import StateSpec

OBSERVATION, BATCH = "observation", "batch"  # names in files
BATCHES = (1, 8)  # that a file is tried with: an export may freeze the batch without an error
TOLERANCE = 1e-4  # of the greatest value
_NOTHING = 1e-30

# What another program makes of a file: raw states (B, *state_shape) → values (B, A).
Runner: TypeAlias = Callable[[Tensor], Tensor]


class PlayedValues(nn.Module):
    """Eq. (6), Q_T(s, a) = Q_S(G_T(s), m(a)), or a Q-function alone, of raw states.

    (B, *state_shape), uint8 of pictures and float32 of all else → (B, A). Each state is translated
    as a whole, from nothing but itself, as :meth:`Correspondence.translate` does it. Of a
    correspondence only what plays is part of it, so that no file holds G_S.

    Args:
        spec: the states that the task shows.
        actions_of: the task whose actions ``q_function`` values.
    """

    source_of: Tensor | None

    def __init__(
        self,
        q_function: nn.Module,
        spec: StateSpec,
        correspondence: Correspondence | None = None,
        actions_of: Literal["source", "target"] = "source",
    ) -> None:
        super().__init__()
        self.q_function, self.spec = q_function, spec
        self.generator: nn.Module | None = None
        source_of = None
        if correspondence is not None:
            self.generator = correspondence.target_to_source
            self.target_scaling = correspondence.target_scaling
            self.source_scaling = correspondence.source_scaling
            action_map = correspondence.action_map
            if actions_of == "source" and action_map is not None and not action_map.is_identity:
                source_of = torch.tensor(action_map.source_of)
        self.register_buffer("source_of", source_of)
        self.eval().requires_grad_(False)

    def forward(self, observation: Tensor) -> Tensor:
        if self.generator is None:
            values: Tensor = self.q_function(raw_to_q(self.spec, observation))
            return values
        translated = self.generator(self.target_scaling.raw_to_model(observation))
        values = self.q_function(self.source_scaling.model_to_q(translated))
        return values if self.source_of is None else values[:, self.source_of]

    @property
    def output_name(self) -> str:
        """What comes out, as files call it."""
        return output_name(is_policy=isinstance(self.q_function, PolicyNetwork))

    def example(self) -> Tensor:
        """Two states to trace it with: of one a batch would be taken for a constant."""
        return torch.zeros(2, *self.spec.state_shape, dtype=self.spec.frame_dtype)


def output_name(*, is_policy: bool) -> str:
    """What files call the values of an agent."""
    return "logits" if is_policy else "q_values"


@dataclass(frozen=True)
class Difference:
    """How far a file's values are from corrtool's: the largest of all, and by the greatest value.

    Attributes:
        largest: max |ΔQ|.
        relative: the same divided by max |Q|.
    """

    largest: float
    relative: float


@torch.no_grad()
def compare(run: Runner, network: nn.Module, states: Tensor) -> Difference:
    """Values of the first of ``states`` by a file and by the network, for each of ``BATCHES``.

    Raises:
        CorrtoolError: the file cannot be run with one of them, or its values differ.
    """
    differences, greatest = [], []
    for batch in BATCHES:
        expected = network(states[:batch])
        try:
            values = run(states[:batch])
        except Exception as error:
            raise CorrtoolError(
                f"what was exported cannot be run with a batch of {batch}: {error}"
            ) from error
        if values.shape != expected.shape:
            raise CorrtoolError(
                f"what was exported gives values of the shape {tuple(values.shape)} for a batch "
                f"of {batch}, not {tuple(expected.shape)}"
            )
        differences.append((values - expected).abs().max())
        greatest.append(expected.abs().max())
    largest = float(torch.stack(differences).max())
    relative = largest / max(float(torch.stack(greatest).max()), _NOTHING)
    if not relative <= TOLERANCE:  # nor is NaN
        raise CorrtoolError(
            f"the values of what was exported differ by up to {largest:.2g}, "
            f"{relative:.2g} of the greatest, so it was not written",
            "report it, with the versions that 'corrtool doctor' lists",
        )
    return Difference(largest, relative)
