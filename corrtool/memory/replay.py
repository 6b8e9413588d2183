"""The replay memory: the transitions of a :class:`RowRing`, to learn from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from corrtool.memory.priorities import Priorities
from corrtool.memory.ring import RowRing
from corrtool.memory.rows import MemoryRows, Rows
from corrtool.runtime.device import to_device
from corrtool.states import StateSpec
from corrtool.tasks import LaneStep

MOST_AT_ONCE = 8  # mini-batches of one draw; more would leave a processor's cache


@dataclass(frozen=True)
class TransitionBatch:
    """B transitions on the device; states are raw (uint8 for images).

    Attributes:
        states, next_states: (B, *state_shape); n-step returns: the next is up to n steps later.
        actions: (B,) int64.
        returns: (B,) float32, the discounted sum of the rewards on the way.
        discounts: (B,) float32, γ to the number of steps on the way.
        terminated: (B,) bool, whether the next state is terminal.
        weights: (B,) float32, how much each counts in the loss; 1 where they are chosen uniformly.
        rows: (B,) on the host, where in the memory they start.
    """

    states: Tensor
    actions: Tensor
    returns: Tensor
    next_states: Tensor
    discounts: Tensor
    terminated: Tensor
    weights: Tensor
    rows: Rows

    def split(self, batch_size: int) -> Iterator[TransitionBatch]:
        """Mini-batches of ``batch_size``, in their order; they share this one's memory."""
        names = [each.name for each in fields(self) if each.name != "rows"]
        parts = zip(*(getattr(self, name).split(batch_size) for name in names), strict=True)
        for number, tensors in enumerate(parts):
            rows = self.rows[number * batch_size : (number + 1) * batch_size]
            yield TransitionBatch(**dict(zip(names, tensors, strict=True)), rows=rows)


class ReplayMemory(RowRing):
    """A ring of rows, and the transitions that are learnt from: all, random or important ones.

    Args:
        priority_exponent: α of prioritized replay; 0 chooses uniformly.
    """

    def __init__(
        self,
        spec: StateSpec,
        lanes: int,
        slots: int,
        device: torch.device,
        priority_exponent: float = 0.0,
    ) -> None:
        super().__init__(spec, lanes, slots, device)
        self._priorities = (
            Priorities(slots * lanes, priority_exponent) if priority_exponent > 0 else None
        )
        self._constants: dict[tuple[int, float], Tensor] = {}

    def record(self, actions: NDArray[np.int64], step: LaneStep) -> None:
        """Fill the open slot with actions and outcome, and open the next."""
        if self._priorities is not None:
            self._priorities.add(self.slot_rows(self.slots_written - 1))
        super().record(actions, step)

    def restore(self, blocks: list[MemoryRows], slots_written: int) -> None:
        """Put back slots saved with :meth:`slot_range`; their transitions count as new."""
        super().restore(blocks, slots_written)
        if self._priorities is not None:
            restored = sum(len(block.frames) // self.lanes for block in blocks)
            for slot in range(max(self.oldest_slot, slots_written - restored), slots_written):
                self._priorities.add(self.slot_rows(slot))

    def transition_rows(self) -> Rows:
        """Rows of all transitions of a memory from disk."""
        return np.flatnonzero(self.fields["valid"]).astype(np.int64)

    def dynamics_rows(self) -> Rows:
        """Rows of the transitions that follow the dynamics: those that do not end an episode.

        When a game ends by itself inside the frame skip its last observation is stale: Q gives a
        terminal state no value, but for F and for the model loss (11) it is wrong. A time limit
        shows the frame that was seen, from which Q bootstraps.
        """
        ends = self.fields["terminated"] | self.fields["truncated"]
        return np.flatnonzero(self.fields["valid"] & ~ends).astype(np.int64)

    def game_returns(self) -> list[float]:
        """Returns of the games that a memory from disk holds from start to end, lane by lane."""
        lanes = {name: values.reshape(-1, self.lanes).T for name, values in self.fields.items()}
        returns = []
        for lane in range(self.lanes):
            total: float | None = None  # None in a game whose start is not there
            for slot in np.flatnonzero(lanes["valid"][lane]):
                if lanes["episode_steps"][lane, slot] == 0:
                    total = 0.0
                if total is not None:
                    total += float(lanes["rewards"][lane, slot])
                if lanes["terminated"][lane, slot] or lanes["truncated"][lane, slot]:
                    returns += [] if total is None else [total]
                    total = None
        return returns

    def can_sample(self, n_step: int) -> bool:
        """True if the ring holds a slot from which n steps can be followed."""
        low, high = self._sampling_slots(n_step)
        # A lane's reset takes one slot, so that longer stretches hold a transition.
        if high - low > 2:
            return True
        return any(
            bool(self.fields["valid"][self.slot_rows(slot)].any()) for slot in range(low, high)
        )

    def _sampling_slots(self, n_step: int) -> tuple[int, int]:
        """Slots from which n steps can be followed and whose states are whole: [low, high)."""
        return self.oldest_whole_slot, self.slots_written - n_step

    def sample(
        self,
        batch_size: int,
        random: np.random.Generator,
        *,
        n_step: int,
        gamma: float,
        clip_rewards: bool,
        importance_exponent: float = 0.0,
    ) -> TransitionBatch:
        """Draw transitions uniformly (line 8 of Algorithm 2) or by priority.

        Only where :meth:`can_sample`; else it would search for ever.
        """
        low, high = self._sampling_slots(n_step)
        if self._priorities is not None:
            slots = np.arange(low, high) % self.slots
            candidates = (slots[:, None] * self.lanes + np.arange(self.lanes)).ravel()
            candidates = candidates[self.fields["valid"][candidates]]
            rows, weights = self._priorities.choose(
                candidates, batch_size, random, importance_exponent
            )
            return self._transitions(rows, n_step, gamma, clip_rewards, weights)

        first, last, rows_held = low * self.lanes, high * self.lanes, self.slots * self.lanes

        def draw(count: int) -> Rows:
            # Half the time of random.integers.
            rows: Rows = (random.random(count) * (last - first)).astype(np.int64)
            rows += first
            rows %= rows_held
            return rows

        rows = draw(batch_size)
        while not (valid := self.fields["valid"].take(rows)).all():
            rows[~valid] = draw(int((~valid).sum()))
        return self._transitions(rows, n_step, gamma, clip_rewards)

    def sample_batches(
        self, count: int, batch_size: int, random: np.random.Generator, **how: Any
    ) -> Iterator[TransitionBatch]:
        """``count`` mini-batches as :meth:`sample` draws them, for updates in a row.

        Uniform ones are drawn several at once: the same draws by fewer, larger gathers. By priority
        it is one after another, for each update changes what is important.
        """
        at_once = MOST_AT_ONCE if self._priorities is None else 1
        for first in range(0, count, at_once):
            drawn = min(at_once, count - first)
            yield from self.sample(drawn * batch_size, random, **how).split(batch_size)

    def newest(self, *, gamma: float, clip_rewards: bool) -> TransitionBatch | None:
        """The transitions just recorded, one per lane unless it was merely reset.

        For learning without replay.
        """
        rows = (
            np.arange(self.lanes, dtype=np.int64)
            + ((self.slots_written - 2) % self.slots) * self.lanes
        )
        rows = rows[self.fields["valid"][rows]]
        return self._transitions(rows, 1, gamma, clip_rewards) if len(rows) else None

    def transitions(self, rows: Rows, *, gamma: float, clip_rewards: bool) -> TransitionBatch:
        """The transitions of one step at ``rows``, which must be those of valid ones."""
        return self._transitions(rows, 1, gamma, clip_rewards)

    def set_errors(self, rows: Rows, errors: NDArray[np.float32]) -> None:
        """Set the priorities, if any, by how much the targets of ``rows`` were missed, (B,)."""
        if self._priorities is not None:
            self._priorities.set_errors(rows, errors)

    def _transitions(
        self,
        rows: Rows,
        n_step: int,
        gamma: float,
        clip_rewards: bool,
        weights: NDArray[np.float32] | None = None,
    ) -> TransitionBatch:
        def send(values: NDArray[Any]) -> Tensor:
            return to_device(values, self.device)

        if n_step == 1:
            returns, terminated = (
                self._clipped(self.fields["rewards"].take(rows), clip_rewards),
                self.fields["terminated"].take(rows),
            )
            discounts = self._constant(len(rows), gamma)
            states, next_states = self.consecutive_states(rows)
        else:
            returns, steps, ending, terminated = self._n_step_returns(
                rows, n_step, gamma, clip_rewards
            )
            discounts = send(ending)
            states, next_states = self.states(rows), self.states(self.next_rows(rows, steps))
        return TransitionBatch(
            states=states,
            actions=self.actions(rows),
            returns=send(returns),
            next_states=next_states,
            discounts=discounts,
            terminated=send(terminated),
            weights=self._constant(len(rows), 1.0) if weights is None else send(weights),
            rows=rows,
        )

    def _n_step_returns(
        self, rows: Rows, n_step: int, gamma: float, clip_rewards: bool
    ) -> tuple[NDArray[np.float32], Rows, NDArray[np.float32], NDArray[np.bool_]]:
        """From each row up to ``n_step`` steps on, or to the end of its episode.

        The discounted sum of the rewards, how many steps that were, γ to their number, and whether
        the last of them ended the episode by termination.
        """
        count = len(rows)
        returns, discounts = np.zeros(count, np.float32), np.ones(count, np.float32)
        steps, alive, terminated = (
            np.zeros(count, np.int64),
            np.ones(count, bool),
            np.zeros(count, bool),
        )
        at = rows
        for _ in range(n_step):
            rewards = self._clipped(self.fields["rewards"][at], clip_rewards)
            returns += np.where(alive, discounts * rewards, np.float32(0))
            discounts = np.where(alive, discounts * np.float32(gamma), discounts)
            steps += alive
            terminal = self.fields["terminated"][at]
            terminated |= alive & terminal
            alive &= ~(terminal | self.fields["truncated"][at])
            at = self.next_rows(at)
        return returns, steps, discounts, terminated

    @staticmethod
    def _clipped(rewards: NDArray[np.float32], clip: bool) -> NDArray[np.float32]:
        return np.sign(rewards) if clip else rewards

    def _constant(self, count: int, value: float) -> Tensor:
        """(count,) float32, made once; not to be changed."""
        if (constant := self._constants.get((count, value))) is None:
            constant = self._constants[count, value] = torch.full(
                (count,), value, device=self.device
            )
        return constant

    def newest_records(self, records: int) -> MemoryRows:
        """The newest ``records`` transitions, or all, with the frames that their states need."""
        first = self.slots_written - 1
        count = 0
        while first > self.oldest_whole_slot and count < records:
            first -= 1
            count += int(self.fields["valid"][self.slot_rows(first)].sum())
        context = min(self.spec.stack - 1, first - self.oldest_slot)
        rows = self.slot_range(first - context, self.slots_written)
        valid = rows.fields["valid"]
        valid[: context * self.lanes] = False
        surplus = np.flatnonzero(valid)[: max(0, int(valid.sum()) - records)]
        valid[surplus] = False
        return rows

    def priorities(self) -> dict[str, Any] | None:
        """The part of a checkpoint that is not in the rows; None if sampling is uniform."""
        return None if self._priorities is None else self._priorities.state()

    def load_priorities(self, state: dict[str, Any] | None) -> None:
        """The inverse of :meth:`priorities`, after :meth:`restore`."""
        if self._priorities is not None and state is not None:
            self._priorities.load_state(state)
