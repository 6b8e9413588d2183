"""Where F is blind: its relative model loss by action, by place, and transition by transition.

One number for a whole memory hides it. F of Pong may explain the paddle that it moves and not the
ball, or the frames of an action that the agent never took.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from corrtool.correspondence.losses import elements_of_errors_and_changes, share_of_change
from corrtool.memory.rows import Rows
from corrtool.reporting.explanation import Blindness, LossAt
from corrtool.states import StateSpec

GRID = 4  # a picture is cut into so many rows and columns of places, a signal into parts of time


@dataclass
class BlindSpots:
    """Sums of F's errors and of what changes, over the newest frames of transitions.

    Attributes:
        spec: of the source's states.
        actions: how many there are; of target transitions those of the target.
    """

    spec: StateSpec
    actions: int
    _place_sums: Tensor | None = None  # (2, places): errors and changes
    _errors: list[Tensor] = field(default_factory=list)  # (B,) each, as are the next two
    _changes: list[Tensor] = field(default_factory=list)
    _taken: list[Tensor] = field(default_factory=list)

    def add(self, predicted: Tensor, here: Tensor, following: Tensor, actions: Tensor) -> None:
        """Add transitions: what F predicts, s_t and s_{t+1}, (B, *state_shape); actions (B,)."""
        newest = (self.spec.frames_of(states)[:, -1] for states in (predicted, here, following))
        elements = elements_of_errors_and_changes(*newest)
        error, change = (values.detach().double().cpu() for values in elements)
        sums = torch.stack([place_sums(error), place_sums(change)])
        self._place_sums = sums if self._place_sums is None else self._place_sums + sums
        self._errors.append(error.flatten(1).sum(1))
        self._changes.append(change.flatten(1).sum(1))
        self._taken.append(actions.cpu())

    @property
    def transitions(self) -> int:
        """How many were added."""
        return sum(map(len, self._errors))

    def worst(self, count: int) -> Rows:
        """The places in what was added of the transitions with the greatest errors, worst first."""
        worst: Rows = torch.cat(self._errors).argsort(descending=True)[:count].numpy()
        return worst

    def to_json(self) -> Blindness:
        """As it is told; there must be a transition."""
        assert self._place_sums is not None
        errors, changes, taken = map(torch.cat, (self._errors, self._changes, self._taken))
        whole = changes.sum().item()
        by_action = [
            _loss_at(
                f"{a}", errors[taken == a].sum().item(), changes[taken == a].sum().item(), whole
            )
            for a in range(self.actions)
        ]
        by_place = [
            _loss_at(name, error, change, whole)
            for name, (error, change) in zip(
                place_names(self.spec.frame_shape), self._place_sums.T.tolist(), strict=True
            )
        ]
        return {
            "transitions": self.transitions,
            "model_loss": share_of_change(errors.sum().item(), whole),
            "by_action": by_action,
            "by_place": by_place,
        }


def _loss_at(where: str, error: float, change: float, whole: float) -> LossAt:
    share = change / whole if whole else 0.0
    return {"where": where, "model_loss": share_of_change(error, change), "share": share}


def place_names(frame_shape: tuple[int, ...]) -> list[str]:
    """Names of the places of a frame, in the order of :func:`place_sums`."""
    if len(frame_shape) == 1:
        return [f"coordinate {index}" for index in range(frame_shape[0])]
    if len(frame_shape) == 2:
        channels = range(frame_shape[0])
        return [
            f"channel {channel} quarter {part + 1}" for channel in channels for part in range(GRID)
        ]
    return [
        f"row {row + 1} of {GRID}, column {column + 1} of {GRID}"
        for row in range(GRID)
        for column in range(GRID)
    ]


def place_sums(values: Tensor) -> Tensor:
    """Sums over a batch by place: (B, n) → (n,), (B, C, H, W) → (16,), and (B, C, L) → (4C,).

    Row by row, and channel by channel. A side that four does not divide gives some places one
    pixel less.
    """
    if values.ndim == 2:
        return values.sum(0)
    if values.ndim == 3:
        return (values.sum(0) @ _place_of_pixels(values.shape[-1]).to(values)).flatten()
    rows, columns = (_place_of_pixels(side) for side in values.shape[-2:])
    whole = values.sum((0, 1))
    return (rows.T.to(whole) @ whole @ columns.to(whole)).flatten()


def _place_of_pixels(side: int) -> Tensor:
    """(side, 4), 1 where a pixel along one side belongs to a place."""
    return torch.eye(GRID)[torch.arange(side) * GRID // side]
