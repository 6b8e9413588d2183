"""Held-out records, and how far F is from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from corrtool.environment_model.network import ScaledModel
from corrtool.errors import ArtifactError
from corrtool.memory import Transitions, check_episodes
from corrtool.memory.rows import Rows
from corrtool.runtime.seeds import numpy_generator

CHANGE = 0.02  # of an element from one state to the next: less is none; a hundredth of [-1, 1]
_VALIDATION_BATCH = 64


def hold_out(memory: Transitions, share: float, seed: int) -> tuple[Rows, Rows]:
    """Rows for training, and the ``share`` of all that is held out for validation.

    They are chosen at random, and always the same for a seed. What came before and after a held-out
    transition trains F. On Pong that does not flatter it: docs/results.md has its error on games of
    which it saw nothing.

    Raises:
        ArtifactError: the memory is too small, or of episodes of one step.
    """
    check_episodes(memory, "the memory")
    rows = numpy_generator(seed, "hold out").permutation(memory.dynamics_rows())
    held_out = round(len(rows) * share)
    if not held_out or len(rows) - held_out < 1:
        raise ArtifactError(
            f"the memory holds only {len(rows)} usable records", "collect more of them"
        )
    return np.sort(rows[held_out:]), np.sort(rows[:held_out])


def most_changed_rows(memory: Transitions, rows: Rows, count: int) -> Rows:
    """The rows at which the state changes most, one from each of ``count`` equal stretches.

    There F has work to do.
    """
    parts = np.array_split(rows, min(count, len(rows)))
    changes = [
        (memory.states(part) != memory.states(memory.next_rows(part)))
        .flatten(1)
        .sum(1)
        .argmax()
        .item()
        for part in parts
    ]
    return np.array([part[int(most)] for part, most in zip(parts, changes, strict=True)])


def _prediction(model: ScaledModel, memory: Transitions, rows: Rows) -> tuple[Tensor, Tensor]:
    """F(s_t, a_t) and s_{t+1} in the model range, (B, …) each."""
    states = model.scaling.raw_to_model(memory.states(rows))
    next_states = model.scaling.raw_to_model(memory.states(memory.next_rows(rows)))
    return model(states, memory.actions(rows)), next_states


@torch.inference_mode()
def prediction_errors(
    model: ScaledModel,
    memory: Transitions,
    rows: Rows,
    actions: int,
    advance: Callable[[int], None] = lambda records: None,
) -> dict[str, Any]:
    """Mean absolute error of F and of persistence (s_{t+1} = s_t) in the model range.

    ``l1`` is over all elements of a state, ``l1_changing`` over those that change from s_t to
    s_{t+1}: hardly any pixel of Pong changes, so that an F that predicts nothing looks good over
    all of them. ``l1_newest`` is over the elements of the newest frame that change; the older
    frames are not predictions, since s_t shows them. ``by_action`` has the same, for each action.
    ``l1_moving`` is over those of the newest frame that change by more than ``CHANGE``, as the
    relative model loss is. ``advance`` is called with how many more records are done.
    """
    model.eval()
    everything, changes, newest, moving = _Errors(), _Errors(), _Errors(), _Errors()
    by_action = [_Errors() for _ in range(actions)]
    for start in range(0, len(rows), _VALIDATION_BATCH):
        batch = rows[start : start + _VALIDATION_BATCH]
        states = model.scaling.raw_to_model(memory.states(batch))
        predicted, next_states = _prediction(model, memory, batch)
        spec, changing = model.scaling.spec, states != next_states
        in_newest = torch.zeros_like(spec.frames_of(changing))
        in_newest[:, -1] = spec.frames_of(changing)[:, -1]
        in_newest = spec.stack_frames(in_newest)
        errors = (predicted - next_states).abs(), (states - next_states).abs()
        everything.add(*errors, torch.ones_like(changing))
        changes.add(*errors, changing)
        newest.add(*errors, in_newest)
        moving.add(*errors, in_newest & (errors[1] > CHANGE))
        for action, sums in enumerate(by_action):
            sums.add(
                *errors,
                in_newest & (memory.actions(batch) == action).reshape(-1, *[1] * (states.ndim - 1)),
            )
        advance(len(batch))
    model.train()
    return {
        "records": len(rows),
        **everything.named("l1"),
        **changes.named("l1_changing"),
        **newest.named("l1_newest"),
        **moving.named("l1_moving"),
        "changing_share": changes.elements / everything.elements,
        "by_action": [
            {"action": action, **sums.named("l1_newest")} for action, sums in enumerate(by_action)
        ],
    }


class _Errors:
    """Sums of absolute errors over chosen elements."""

    def __init__(self) -> None:
        self.model = self.persistence = 0.0
        self.elements = 0

    def add(self, model: Tensor, persistence: Tensor, chosen: Tensor) -> None:
        self.model += model[chosen].sum().item()
        self.persistence += persistence[chosen].sum().item()
        self.elements += int(chosen.sum().item())

    def named(self, name: str) -> dict[str, float]:
        count = max(1, self.elements)
        return {name: self.model / count, f"{name}_persistence": self.persistence / count}
