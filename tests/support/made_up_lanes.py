"""Play without a game, for the tests of the memories.

Random episodes that end and reset as those of ``Lanes`` do.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st

from corrtool.memory import MemoryWriter, StateStacker
from corrtool.memory.ring import RowRing
from corrtool.states import StateSpec
from corrtool.tasks import LaneStep

CPU = torch.device("cpu")
Memory = MemoryWriter | RowRing

# Cases of the memories' properties
fast = settings(deadline=None, max_examples=60)
seeds = st.integers(0, 2**32 - 1)
stacks = st.integers(1, 4)
lane_counts = st.integers(1, 3)
step_counts = st.integers(0, 40)
longest_episodes = st.integers(1, 9)


def vectors(stack: int) -> StateSpec:
    """Vectors of two numbers."""
    return StateSpec("vector", (2,), stack)


@dataclass
class Slot:
    """What was seen in every lane at one time.

    But for the newest slot, also what was done and came of it.
    """

    frames: np.ndarray
    states: torch.Tensor
    episode_steps: np.ndarray
    actions: np.ndarray = field(init=False)
    rewards: np.ndarray = field(init=False)
    terminated: np.ndarray = field(init=False)
    truncated: np.ndarray = field(init=False)
    valid: np.ndarray = field(init=False)


@dataclass
class Transition:
    """What a memory should give for n steps from one slot of one lane.

    It is worked out one reward at a time.
    """

    state: torch.Tensor
    action: int
    total: float
    discount: float
    next_state: torch.Tensor
    terminated: bool


@dataclass
class MadeUpLanes:
    """Episodes of 1 to ``longest`` steps; ``history`` keeps every slot there ever was.

    Frames of vectors are ``(number of the row, random)``, so that a state tells which row it is of;
    those of images are random and nowhere zero.
    """

    spec: StateSpec
    count: int
    seed: int = 0
    longest: int = 6
    history: list[Slot] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.seed)
        self._steps = np.zeros(self.count, np.int64)
        self._over = np.zeros(self.count, bool)

    def reset(self, *memories: Memory) -> None:
        """Begins an episode in every lane, and a slot in every memory."""
        self._stacker = StateStacker(self.spec, self.count, CPU)
        self._steps[:], self._over[:] = 0, False
        frames = self._frames()
        self.history.append(Slot(frames, self._stacker.push(frames), self._steps.copy()))
        for memory in memories:
            memory.open_slot(frames)

    def play(self, steps: int, *memories: Memory, **limit: int) -> "MadeUpLanes":
        """Goes on for ``steps``; every memory records them."""
        if not self.history:
            self.reset(*memories)
        for _ in range(steps):
            actions = self._random.integers(0, 5, self.count)
            valid = ~self._over
            self._steps = np.where(valid, self._steps + 1, 0)
            ends = valid & (self._random.random(self.count) < 1 / self.longest) | (
                self._steps >= self.longest
            )
            terminated = ends & (self._random.random(self.count) < 0.5)
            rewards = np.where(valid, self._random.integers(-3, 4, self.count), 0).astype(
                np.float32
            )
            frames = self._frames()
            step = LaneStep(
                frames, rewards, terminated, ends & ~terminated, valid, self._steps.copy()
            )
            now = self.history[-1]
            now.actions, now.rewards, now.valid = actions, rewards, valid
            now.terminated, now.truncated = step.terminated, step.truncated
            self.history.append(
                Slot(frames, self._stacker.push(frames, step.episode_steps), step.episode_steps)
            )
            self._over = ends
            for memory in memories:
                memory.record(actions, step, **limit)
                if isinstance(memory, MemoryWriter):
                    memory.write_chunks()
        return self

    def _frames(self) -> np.ndarray:
        shape = (self.count, *self.spec.frame_shape)
        if self.spec.kind == "image":
            return self._random.integers(1, 256, shape).astype(np.uint8)
        frames = self._random.normal(size=shape).astype(np.float32)
        if self.spec.kind == "vector":
            frames[:, 0] = len(self.history) * self.count + np.arange(self.count)
        return frames

    def transition(
        self, slot: int, lane: int, n_step: int, gamma: float, clip: bool = False
    ) -> Transition:
        """The n-step transition from ``slot``: it stops where the episode ends."""
        total, discount, at = 0.0, 1.0, slot
        for _ in range(n_step):
            here = self.history[at]
            total += discount * (np.sign(here.rewards[lane]) if clip else here.rewards[lane])
            discount *= gamma
            at += 1
            if here.terminated[lane] or here.truncated[lane]:
                break
        here = self.history[slot]
        return Transition(
            here.states[lane],
            int(here.actions[lane]),
            float(total),
            discount,
            self.history[at].states[lane],
            bool(self.history[at - 1].terminated[lane]),
        )

    def valid_pairs(self, low: int, high: int) -> set[tuple[int, int]]:
        """(slot, lane) of every transition that starts in the slots [low, high)."""
        return {
            (slot, lane)
            for slot in range(low, min(high, len(self.history) - 1))
            for lane in range(self.count)
            if self.history[slot].valid[lane]
        }
