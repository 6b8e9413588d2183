"""An agent for those who play themselves: a Q-function, through a correspondence or directly."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from corrtool.play.games import QValues


class Agent:
    """A player by a Q-function, eq. (6) if there is a correspondence; of one game at a time.

    Args:
        q_values: raw states → values of the actions.
        device: where its networks are.
    """

    def __init__(self, q_values: QValues, device: torch.device) -> None:
        self._q_values, self._device = q_values, device

    @torch.inference_mode()
    def values(self, state: NDArray[Any]) -> NDArray[np.float32]:
        """The values of the actions (A,) in a raw state, as ``TaskEnvironment`` shows it.

        Of a policy that is no Q-function they are logits.
        """
        values = self._q_values(torch.from_numpy(state)[None].to(self._device))[0]
        return values.float().cpu().numpy()

    def act(self, state: NDArray[Any]) -> int:
        """The action of the greatest value."""
        return int(self.values(state).argmax())
