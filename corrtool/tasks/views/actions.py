"""Views of actions: the agent chooses among the environment's actions in another order.

Memories hold the agent's action, as the view shows it; only the environment sees its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from corrtool.tasks.views.base import Actions, View, joined, require_permutation, whole_numbers


@dataclass(frozen=True)
class PermuteActions(View):
    """``actions:2,0,1``: action i of the view is action ``order[i]`` of the environment."""

    order: tuple[int, ...]

    @classmethod
    def parse(cls, argument: str, directory: Path) -> Self:
        return cls(whole_numbers(argument))

    def action_count(self, count: int) -> int:
        require_permutation(self.order, count, "actions", self.identity())
        return count

    def environment_actions(self, actions: Actions) -> Actions:
        return np.asarray(self.order, dtype=np.int64)[actions]

    def identity(self) -> str:
        return f"actions:{joined(self.order)}"
