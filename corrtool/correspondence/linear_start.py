"""Where a linear generator starts: what :mod:`.linear_starts` finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from corrtool.correspondence.actions import ActionMap


@dataclass(frozen=True)
class LinearStart:
    """Where a linear generator starts: s ↦ W s + b, ``weight`` (m, n) and ``bias`` (m,).

    Attributes:
        loss: relative model loss and distance of the moments on transitions of M_T.
        signed_permutation: whether ``weight`` is one.
        exact: whether it shifts no raw coordinate, in the same units or in others, so that there is
            nothing left to learn: a signed permutation, or else a rotation.
    """

    weight: Tensor
    bias: Tensor
    action_map: ActionMap
    loss: float
    signed_permutation: bool
    exact: bool = False

    def to_json(self) -> dict[str, Any]:
        """As the metrics have it."""
        return {
            "weight": self.weight.tolist(),
            "bias": self.bias.tolist(),
            "source_of": list(self.action_map.source_of),
            "loss": self.loss,
            "signed_permutation": self.signed_permutation,
            "exact": self.exact,
        }

    def state(self) -> dict[str, Any]:
        """As the run keeps it until it has a checkpoint: to the last bit."""
        source_count = self.action_map.source_count
        return {"kind": "linear", "source_count": source_count, **self.to_json()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> LinearStart:
        """The inverse of :meth:`state`; KeyError, TypeError or ValueError where it is none."""
        return cls(
            torch.tensor(state["weight"], dtype=torch.float32),
            torch.tensor(state["bias"], dtype=torch.float32),
            ActionMap.from_json(state),
            float(state["loss"]),
            bool(state["signed_permutation"]),
            state.get("exact") is True,  # older ones do not say
        )

    def __str__(self) -> str:
        other = "a rotation" if self.exact else "a linear map"
        kind = "a signed permutation" if self.signed_permutation else other
        shift = ", without a shift" if self.exact else ""
        m = self.action_map
        actions = "" if m.is_identity else f", target actions are {list(m.source_of)} of the source"
        return f"{kind} of the coordinates{shift}{actions}"
