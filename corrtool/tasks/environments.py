"""Lanes: a task's environments side by side, with one meaning of a transition for every kind.

Atari games run in ``ale_py``'s vector environment (C++ threads); with a game mode or difficulty,
and for any other environment, in Gymnasium's. Both reset a finished lane on the *next* step
(NEXT_STEP autoreset): that step ignores its action, so it is not a transition, and the lane's
terminal observation is an ordinary row before it.

Environments run other people's code: whatever it raises becomes one line, also where it means to
end the process, and what it prints goes to stderr.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium
import numpy as np
from ale_py.vector_env import AtariVectorEnv
from numpy.typing import NDArray

from corrtool.errors import CorrtoolError, UsageError
from corrtool.runtime.signals import default_signal_handling
from corrtool.runtime.waiting import in_thread
from corrtool.states import IMAGE, SIGNAL, VECTOR, StateSpec
from corrtool.tasks.making import (
    ENVIRONMENT_ERRORS,
    atari_steps,
    atari_vector_env,
    make_vector_env,
    reason_of,
    reward_threshold,
    time_limit,
)
from corrtool.tasks.task import Task


@dataclass(frozen=True)
class LaneStep:
    """The outcome of one action in each of N lanes.

    Attributes:
        frames: (N, *frame_shape) what is seen now.
        rewards: (N,) float32, unclipped.
        terminated, truncated: (N,) bool; truncation bootstraps, termination does not.
        valid: (N,) bool; False where the lane was over and this step only reset it.
        episode_steps: (N,) int64; steps of each lane's episode so far, 0 at the first frame.
    """

    frames: NDArray[Any]
    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    episode_steps: NDArray[np.int64]


class Lanes:
    """N environments of one task. Use as a context manager; call :meth:`reset` first.

    :meth:`send` and :meth:`receive` are apart so that a network can learn while the emulators run.

    Args:
        task: what to play.
        count: N.
        through_gymnasium: take Gymnasium's vector environment where the faster one would do, too
            (for tests).

    Raises:
        UsageError: the environment cannot be made or has no discrete actions, or a view does not
            fit its states or actions.
    """

    def __init__(self, task: Task, count: int, *, through_gymnasium: bool = False) -> None:
        self.task = task
        self.count = count
        self.notes: list[str] = []  # on what it took to make frames of what the environment shows
        try:
            with redirect_stdout(sys.stderr):
                if task.runs_by_itself and not through_gymnasium:
                    with default_signal_handling():  # it holds Python's lock while it loads
                        self._env: Any = atari_vector_env(task, count)
                else:
                    self._env, self.notes = make_vector_env(task, count)
        except CorrtoolError:
            raise
        except ENVIRONMENT_ERRORS as error:  # whatever an environment's constructor raises
            raise UsageError(
                f"cannot make {'' if count == 1 else f'{count} of '}the {task.role} task's "
                f"environment {task.id!r}: {reason_of(error)}",
                "" if count == 1 else "if there can be only one of it at a time, give --lanes 1",
            ) from error
        actions = self._env.single_action_space
        if not isinstance(actions, gymnasium.spaces.Discrete):
            self._close()
            raise UsageError(
                f"{task.id} has the action space {actions}",
                "only discrete actions can be learnt with DQN",
            )
        self.actions = int(actions.n)
        self._first_action = int(actions.start)
        self._first_channel = isinstance(
            self._env, AtariVectorEnv
        )  # of the stack, which is one frame
        self.spec = _spec(task, self._env.single_observation_space.shape)
        try:
            for view in task.views:
                self.spec = view.spec(self.spec)
                self.actions = view.action_count(self.actions)
        except UsageError:
            self._close()
            raise
        self.frames_per_step = task.preprocessing.frame_skip if task.is_atari else 1
        self.has_time_limit = task.is_atari or time_limit(self._env) is not None
        fast = isinstance(self._env, AtariVectorEnv)
        self.reward_threshold = None if fast else reward_threshold(self._env)
        self._own_time_limit = atari_steps(task) if fast else None
        self._over = np.zeros(count, dtype=bool)
        self._episode_steps = np.zeros(count, dtype=np.int64)
        self._timed_out = np.zeros(count, dtype=bool)
        self._pending: NDArray[np.int64] | None = None

    def __enter__(self) -> Lanes:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        """Close the environment; a failure now harms nothing learnt, so it is only reported."""
        try:
            with redirect_stdout(sys.stderr):
                self._env.close()
        except ENVIRONMENT_ERRORS as error:
            print(
                f"corrtool: the environment {self.task.id} raised {reason_of(error)} when it was "
                "closed",
                file=sys.stderr,
            )

    def reset(self, seeds: list[int]) -> NDArray[Any]:
        """Start each lane i anew from ``seeds[i]``; returns the first frames (N, *frame_shape).

        A step that was sent and not received is lost.
        """
        if self._pending is not None and isinstance(self._env, AtariVectorEnv):
            self._env.recv()  # else its frames would be taken for the first ones
        self._pending = None
        observations, _ = self._call(lambda: self._reset(seeds))
        self._over[:] = self._timed_out[:] = False
        self._episode_steps[:] = 0
        return self._frames(observations)

    def _reset(self, seeds: list[int]) -> Any:
        """Reset the environment; Gymnasium's in this thread, as simulators may ask for."""
        if not isinstance(self._env, AtariVectorEnv):
            return self._env.reset(seed=list(seeds))
        vector_seeds = np.asarray(seeds, dtype=np.int64)
        doing = f"starting {self.count} games of {self.task}"
        return in_thread(lambda: self._env.reset(seed=vector_seeds), doing)

    def restart(self, lanes: list[int], seeds: list[int]) -> NDArray[Any]:
        """Start some ``lanes``, ascending, anew between two steps; returns their frames (n, …).

        Each from its seed of ``seeds``, but for Atari games, which go on with the random numbers of
        their lane: with a seed ale-py loads a game anew, which takes 64 ms instead of 4.
        """
        where = np.zeros(self.count, dtype=bool)
        where[lanes] = True
        seed_of = dict(zip(lanes, seeds, strict=True))
        seed = None if self.task.is_atari else [seed_of.get(lane) for lane in range(self.count)]
        reset = functools.partial(self._env.reset, seed=seed, options={"reset_mask": where})
        observations, _ = self._call(reset)
        self._over[lanes] = self._timed_out[lanes] = False
        self._episode_steps[lanes] = 0
        return self._frames(observations[lanes])

    def send(self, actions: NDArray[np.int64]) -> None:
        """Begin one step with ``actions`` (N,) of the agent, counted from 0."""
        actions = self.task.environment_actions(actions.astype(np.int64)) + self._first_action
        if isinstance(self._env, AtariVectorEnv):
            self._env.send(actions)
        self._pending = actions

    def receive(self) -> LaneStep:
        """End the step begun by :meth:`send`."""
        fast = isinstance(self._env, AtariVectorEnv)
        result = self._env.recv() if fast else self._call(lambda: self._env.step(self._pending))
        self._pending = None
        observations, rewards, terminated, truncated, _ = result
        with np.errstate(over="ignore"):
            rewards = np.asarray(rewards).astype(np.float32)
        if not np.isfinite(rewards).all():
            raise CorrtoolError(
                f"the {self.task.role} task's environment {self.task.id} gave a reward that is "
                "not a number, or too large"
            )
        valid = ~self._over
        terminated, truncated = np.array(terminated, dtype=bool), np.array(truncated, dtype=bool)
        self._episode_steps = np.where(valid, self._episode_steps + 1, 0)
        if self._own_time_limit is not None:
            observations, rewards, terminated = self._reset_timed_out(
                observations, rewards, terminated
            )
            truncated = valid & ~terminated & (self._episode_steps >= self._own_time_limit)
            self._timed_out = truncated.copy()
        self._over = terminated | truncated
        return LaneStep(
            frames=self._frames(observations),
            rewards=rewards,
            terminated=terminated,
            truncated=truncated,
            valid=valid,
            episode_steps=self._episode_steps.copy(),
        )

    def step(self, actions: NDArray[np.int64]) -> LaneStep:
        """:meth:`send` and :meth:`receive`."""
        self.send(actions)
        return self.receive()

    @property
    def render_modes(self) -> list[str]:
        """What the environment says that it can draw, such as ``rgb_array``."""
        return list(self._env.metadata.get("render_modes") or [])

    def picture(self) -> NDArray[np.uint8]:
        """The first lane as its environment draws it, RGB; made with ``render_mode="rgb_array"``.

        Raises :class:`CorrtoolError`.
        """
        picture = np.asarray(self._call(lambda: self._env.render()[0]))
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[-1] != 3:
            raise CorrtoolError(
                f"the {self.task.role} task's environment {self.task.id} draws no picture"
            )
        return picture

    def _reset_timed_out(
        self,
        observations: NDArray[Any],
        rewards: NDArray[np.float32],
        terminated: NDArray[np.bool_],
    ) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.bool_]]:
        """Reset lanes that the time limit ended one step ago, as ale-py does with terminated ones.

        ale-py's own limit stops in the middle of a frame skip and shows a stale frame, from which a
        value would be bootstrapped.
        """
        if not self._timed_out.any():
            return observations, rewards, terminated
        fresh, _ = self._env.reset(options={"reset_mask": self._timed_out})
        observations = np.where(
            self._timed_out.reshape(-1, *[1] * (observations.ndim - 1)), fresh, observations
        )
        return (
            observations,
            np.where(self._timed_out, np.float32(0), rewards),
            terminated & ~self._timed_out,
        )

    def _call(self, environment_code: Callable[[], Any]) -> Any:
        try:
            with redirect_stdout(sys.stderr):
                return environment_code()
        except ENVIRONMENT_ERRORS as error:
            raise CorrtoolError(
                f"the {self.task.role} task's environment {self.task.id} raised {reason_of(error)}",
                "fix the environment",
            ) from error

    def _frames(self, observations: Any) -> NDArray[Any]:
        if self.spec.kind == VECTOR:
            frames: NDArray[Any] = _as_float32(observations).reshape(len(observations), -1)
        elif self.spec.kind == SIGNAL:
            frames = _as_float32(observations)
        else:
            pictures = np.asarray(observations)
            pictures = pictures[:, 0] if self._first_channel else pictures
            pictures = pictures[..., None] if pictures.ndim == 3 else pictures
            frames = np.ascontiguousarray(np.moveaxis(pictures, -1, 1))
        if self.spec.kind != IMAGE and not np.isfinite(frames).all():
            raise CorrtoolError(
                f"the {self.task.role} task's environment {self.task.id} gave an observation that "
                "is not a number"
            )
        for view in self.task.views:
            frames = view.frames(frames)
        return frames


def _as_float32(observations: Any) -> NDArray[np.float32]:
    """A copy; what is too large for it becomes infinite without a word, which is refused then."""
    with np.errstate(over="ignore"):
        return np.array(observations, dtype=np.float32)


def _spec(task: Task, shape: tuple[int, ...]) -> StateSpec:
    """The states of what one lane shows.

    (1, height, width) or (1, height, width, 3) from ale-py's vector environment, else pictures
    (height, width, channels), signals (channels, length), or numbers.
    """
    stack = task.preprocessing.stack
    if task.shows_signal:
        return StateSpec(SIGNAL, shape, stack)
    if task.is_atari and shape[0] == 1:
        shape = (*shape[1:], 1)[:3]
    if len(shape) < 3:
        return StateSpec(VECTOR, (int(np.prod(shape)),), stack)
    height, width, channels = shape
    return StateSpec(IMAGE, (channels, height, width), stack)


class LanesLike(Protocol):
    """The interface of :class:`corrtool.tasks.Lanes` and of those seen through a correspondence."""

    spec: StateSpec
    actions: int
    count: int
    frames_per_step: int
    has_time_limit: bool
    reward_threshold: float | None

    def __enter__(self) -> Any: ...
    def __exit__(self, *_: object) -> None: ...
    def reset(self, seeds: list[int]) -> NDArray[Any]: ...
    def restart(self, lanes: list[int], seeds: list[int]) -> NDArray[Any]: ...
    def send(self, actions: NDArray[np.int64]) -> None: ...
    def receive(self) -> LaneStep: ...
