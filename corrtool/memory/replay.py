"""The replay memory: a ring buffer of rows (:mod:`corrtool.memory.rows`) on the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from corrtool.memory.priorities import Priorities
from corrtool.memory.rows import FIELDS, MemoryRows, Rows
from corrtool.runtime.device import to_device
from corrtool.states import IMAGE, StateScaling, StateSpec
from corrtool.tasks import LaneStep


@dataclass(frozen=True)
class TransitionBatch:
    """B transitions on the device; states are raw (uint8 for images).

    Attributes:
        states, next_states: (B, *state_shape); with n-step returns the next state is up to n steps later.
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


class ReplayMemory:
    """A ring of ``slots`` × ``lanes`` rows; with ``from_rows`` a whole memory from disk.

    Frames live on ``device``; the small fields stay on the host, where batches are chosen.

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
        self.spec, self.lanes, self.slots, self.device = spec, lanes, slots, device
        self.frames = torch.zeros(
            (slots * lanes, *spec.frame_shape), dtype=spec.frame_dtype, device=device
        )
        self.fields: dict[str, NDArray[Any]] = {
            name: np.zeros(slots * lanes, dtype=dtype) for name, dtype in FIELDS.items()
        }
        self._priorities = (
            Priorities(slots * lanes, priority_exponent) if priority_exponent > 0 else None
        )
        self._constants: dict[tuple[int, float], Tensor] = {}
        self.slots_written = 0  # ever; the newest one is open: seen, but not acted on yet

    @classmethod
    def from_rows(cls, rows: MemoryRows, device: torch.device) -> ReplayMemory:
        """A memory that holds exactly ``rows``."""
        memory = cls(rows.spec, rows.lanes, 0, device)
        memory.frames = torch.from_numpy(rows.frames).to(device)
        memory.fields = {
            name: np.array(rows.fields[name], dtype=dtype) for name, dtype in FIELDS.items()
        }
        memory.slots = memory.slots_written = len(rows.frames) // rows.lanes
        return memory

    def open_slot(
        self, frames: NDArray[Any], episode_steps: NDArray[np.int64] | None = None
    ) -> None:
        """Add a slot with the new frames (lanes, *frame_shape); without ``episode_steps`` of new episodes."""
        rows = self._slot_rows(self.slots_written)
        self.frames[rows] = to_device(frames, self.device)
        for values in self.fields.values():
            values[rows] = 0
        if episode_steps is not None:
            self.fields["episode_steps"][rows] = episode_steps
        self.slots_written += 1

    def record(self, actions: NDArray[np.int64], step: LaneStep) -> None:
        """Fill the open slot with actions and outcome, and open the next."""
        rows = self._slot_rows(self.slots_written - 1)
        self.fields["actions"][rows] = actions
        self.fields["rewards"][rows] = step.rewards
        self.fields["terminated"][rows] = step.terminated & step.valid
        self.fields["truncated"][rows] = step.truncated & step.valid
        self.fields["valid"][rows] = step.valid
        if self._priorities is not None:
            self._priorities.add(rows)
        self.open_slot(step.frames, step.episode_steps)

    def restart_episodes(self, frames: NDArray[Any]) -> None:
        """Truncate the episodes of all lanes, which were reset; ``frames`` begin new ones."""
        self.truncate_before(self.slots_written - 1)
        self.open_slot(frames)

    def _slot_rows(self, slot: int) -> slice:
        first = (slot % self.slots) * self.lanes
        return slice(first, first + self.lanes)

    @property
    def oldest_slot(self) -> int:
        """The oldest slot that is still held."""
        return max(0, self.slots_written - self.slots)

    def states(self, rows: Rows) -> Tensor:
        """The raw states (B, *state_shape) at ``rows`` (B,): the frames up to each row, K of them."""
        return self.spec.stack_frames(self._windows(rows, self.spec.stack))

    def consecutive_states(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """The raw states at ``rows`` and one step later; the K - 1 shared frames are gathered once."""
        stack = self.spec.stack
        windows = self._windows(rows, stack + 1)
        return self.spec.stack_frames(windows.narrow(1, 0, stack)), self.spec.stack_frames(
            windows.narrow(1, 1, stack)
        )

    def _windows(self, rows: Rows, frames: int) -> Tensor:
        """``frames`` frames (B, frames, *frame_shape), oldest first, of which the K-th is that of each row.

        Black before its episode.
        """
        stack = self.spec.stack
        offsets = np.arange(1 - stack, frames - stack + 1)
        index = rows[:, None] + offsets * self.lanes
        index %= self.slots * self.lanes
        # Ten times as fast on a CPU as frames[index].
        gathered = self.frames.index_select(0, to_device(index.reshape(-1), self.device))
        gathered = gathered.view(len(rows), frames, *self.spec.frame_shape)
        ages = self.fields["episode_steps"].take(rows)
        if ages.min(initial=stack) < stack - 1:
            young = np.flatnonzero(ages < stack - 1)
            which, frame = np.nonzero(offsets < -ages[young, None].astype(np.int64))
            places = (to_device(place, self.device) for place in (young[which], frame))
            gathered[tuple(places)] = 0
        return gathered

    def scaling(self, rows: Rows) -> StateScaling:
        """The scaling of this task's states, by (at most 10,000 of) ``rows``; images need none."""
        if self.spec.kind == IMAGE:
            return StateScaling(self.spec)
        return StateScaling.from_states(
            self.spec, self.states(rows[:: max(1, len(rows) // 10_000)])
        )

    def next_rows(self, rows: Rows, steps: Rows | int = 1) -> Rows:
        """The rows of the same lanes ``steps`` later."""
        return (rows + steps * self.lanes) % (self.slots * self.lanes)

    def transition_rows(self) -> Rows:
        """Rows of all transitions of a memory from disk."""
        return np.flatnonzero(self.fields["valid"]).astype(np.int64)

    def dynamics_rows(self) -> Rows:
        """Rows of the transitions that follow the environment's dynamics: those that do not end an episode.

        When a game ends by itself inside the frame skip its last observation is stale: Q gives a terminal state no value, but for F
        and for the model loss (11) it is wrong. A time limit shows the frame that was seen, from which Q bootstraps.
        """
        ends = self.fields["terminated"] | self.fields["truncated"]
        return np.flatnonzero(self.fields["valid"] & ~ends).astype(np.int64)

    def actions(self, rows: Rows) -> Tensor:
        """The actions (B,) int64 taken at ``rows``."""
        return to_device(self.fields["actions"].take(rows).astype(np.int64), self.device)

    def can_sample(self, n_step: int) -> bool:
        """True if the ring holds a slot from which n steps can be followed."""
        low, high = self._sampling_slots(n_step)
        if (
            high - low > 2
        ):  # a lane's reset takes one slot, so that longer stretches hold a transition
            return True
        return any(
            bool(self.fields["valid"][self._slot_rows(slot)].any()) for slot in range(low, high)
        )

    def _sampling_slots(self, n_step: int) -> tuple[int, int]:
        """Slots from which n steps can be followed and whose states are whole: [low, high)."""
        wrapped = self.slots_written > self.slots
        low = self.oldest_slot + (self.spec.stack - 1 if wrapped else 0)
        return low, self.slots_written - n_step

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
        """Transitions chosen uniformly (line 8 of Algorithm 2) or by priority, if :meth:`can_sample`."""
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
            rows: Rows = (random.random(count) * (last - first)).astype(
                np.int64
            )  # half the time of random.integers
            rows += first
            rows %= rows_held
            return rows

        rows = draw(batch_size)
        while not (valid := self.fields["valid"].take(rows)).all():
            rows[~valid] = draw(int((~valid).sum()))
        return self._transitions(rows, n_step, gamma, clip_rewards)

    def newest(self, *, gamma: float, clip_rewards: bool) -> TransitionBatch | None:
        """The transitions just recorded, one per lane that was not merely reset: learning without replay."""
        rows = (
            np.arange(self.lanes, dtype=np.int64)
            + ((self.slots_written - 2) % self.slots) * self.lanes
        )
        rows = rows[self.fields["valid"][rows]]
        return self._transitions(rows, 1, gamma, clip_rewards) if len(rows) else None

    def set_errors(self, rows: Rows, errors: NDArray[np.float32]) -> None:
        """Tell by how much the targets of ``rows`` were missed, (B,): their priorities, where there are any."""
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

        The discounted sum of the rewards, how many steps that were, γ to their number, and whether the last of them ended the
        episode by termination.
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

    def slot_range(self, first: int, last: int) -> MemoryRows:
        """The slots [first, last) on the host, oldest first."""
        slots = np.arange(first, last) % self.slots
        rows = (slots[:, None] * self.lanes + np.arange(self.lanes)).ravel()
        frames = self.frames[to_device(rows, self.device)].cpu().numpy()
        return MemoryRows(
            self.spec,
            self.lanes,
            frames,
            {name: values[rows] for name, values in self.fields.items()},
        )

    def newest_records(self, records: int) -> MemoryRows:
        """The newest ``records`` transitions, or all, with the frames that their states need."""
        first = self.slots_written - 1
        low = self.oldest_slot + (self.spec.stack - 1 if self.slots_written > self.slots else 0)
        count = 0
        while first > low and count < records:
            first -= 1
            count += int(self.fields["valid"][self._slot_rows(first)].sum())
        context = min(self.spec.stack - 1, first - self.oldest_slot)
        rows = self.slot_range(first - context, self.slots_written)
        valid = rows.fields["valid"]
        valid[: context * self.lanes] = False
        surplus = np.flatnonzero(valid)[: max(0, int(valid.sum()) - records)]
        valid[surplus] = False
        return rows

    def priorities(self) -> dict[str, Any] | None:
        """The part of a checkpoint that :meth:`slot_range` does not hold; None if sampling is uniform."""
        return None if self._priorities is None else self._priorities.state()

    def load_priorities(self, state: dict[str, Any] | None) -> None:
        """The inverse of :meth:`priorities`, after :meth:`restore`."""
        if self._priorities is not None and state is not None:
            self._priorities.load_state(state)

    def truncate_before(self, slot: int) -> None:
        """End the episodes of the slot before ``slot`` by truncation: nothing that follows belongs to them."""
        if slot - 1 < self.oldest_slot:
            return
        rows = self._slot_rows(slot - 1)
        self.fields["truncated"][rows] |= (
            self.fields["valid"][rows] & ~self.fields["terminated"][rows]
        )

    def restore(self, blocks: list[MemoryRows], slots_written: int) -> None:
        """Put back slots saved with :meth:`slot_range`; the newest of them ends at ``slots_written``."""
        self.slots_written = slots_written
        first = slots_written - sum(len(block.frames) // self.lanes for block in blocks)
        for block in blocks:
            for slot in range(len(block.frames) // self.lanes):
                if first >= self.oldest_slot:
                    rows = self._slot_rows(first)
                    part = slice(slot * self.lanes, (slot + 1) * self.lanes)
                    self.frames[rows] = to_device(block.frames[part], self.device)
                    for name, values in self.fields.items():
                        values[rows] = block.fields[name][part]
                    if self._priorities is not None:
                        self._priorities.add(rows)
                first += 1
