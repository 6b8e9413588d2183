"""Lanes: a task's environments played side by side, with one meaning of a transition for every kind.

Atari games run in ``ale_py``'s vector environment (C++ threads); with a game mode or difficulty, and for any other
environment, in Gymnasium's. Both reset a finished lane on the *next* step (NEXT_STEP autoreset): that step ignores
its action, so it is no transition, and the lane's terminal observation is an ordinary row before it.
"""

from __future__ import annotations

import functools
import io
import math
import sys
from contextlib import ExitStack, closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any, cast

import ale_py
import gymnasium
import numpy as np
from ale_py.vector_env import AtariVectorEnv
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from corrtool.errors import CorrtoolError, UsageError
from corrtool.states import IMAGE, VECTOR, StateSpec
from corrtool.tasks.atari import NoopReset
from corrtool.tasks.task import Task
from corrtool.tasks.trust import check_import

gymnasium.register_envs(ale_py)
gymnasium.logger.min_level = gymnasium.logger.ERROR  # its warnings are for those who write environments

_ATARI_ENTRY_POINT = "ale_py.env:AtariEnv"


def _registered(identifier: str) -> gymnasium.envs.registration.EnvSpec:
    """The registered environment, importing the module of ``module:Id`` if that is trusted. Raises :class:`UsageError`."""
    check_import(identifier)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            env_spec = _found(identifier)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"unknown environment {identifier!r} ({error.__cause__ or error})",
            "install its package, or set PYTHONPATH to its directory: the project's and the current one are not searched",
        ) from None
    except (Exception, SystemExit) as error:  # importing the module of module:Id runs anything
        reason = " ".join(str(error).split())
        raise UsageError(
            f"unknown environment {identifier!r} ({reason})", "give the id of a registered environment"
        ) from None
    return env_spec


def _found(identifier: str) -> gymnasium.envs.registration.EnvSpec:
    """As Gymnasium finds it. Some packages register their environments only when their ``register_envs`` is called."""
    try:
        return gymnasium.envs.registration._find_spec(identifier)
    except gymnasium.error.Error:
        module, separator, _ = identifier.partition(":")
        register = getattr(sys.modules.get(module), "register_envs", None) if separator else None
        if not callable(register):
            raise
        register()
        return gymnasium.envs.registration._find_spec(identifier)


def is_atari(identifier: str) -> bool:
    """Whether an environment id is an ALE game. Raises :class:`UsageError` when it is no environment at all."""
    return _registered(identifier).entry_point == _ATARI_ENTRY_POINT


@dataclass(frozen=True)
class LaneStep:
    """What came of one action in each of N lanes.

    Attributes:
        frames: (N, *frame_shape) what is seen now.
        rewards: (N,) float32, unclipped.
        terminated, truncated: (N,) bool; truncation bootstraps, termination does not.
        valid: (N,) bool; False where the lane was over and this step only reset it.
        episode_steps: (N,) int64; how many steps into its episode each lane is now, 0 at the first frame.
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
        through_gymnasium: take Gymnasium's vector environment even where the faster one would do (for tests).

    Raises:
        UsageError: the environment cannot be made, has no discrete actions, or a view does not fit its states.
    """

    def __init__(self, task: Task, count: int, *, through_gymnasium: bool = False) -> None:
        self.task = task
        self.count = count
        try:
            if task.is_atari and not task.kwargs and not through_gymnasium:
                self._env: Any = _atari_vector_env(task, count)
            else:
                self._env = _side_by_side(task, count)
        except CorrtoolError:
            raise
        except Exception as error:  # whatever an environment's constructor raises
            reason = " ".join(str(error).split())
            raise UsageError(f"cannot make the {task.role} task's environment {task.id!r}: {reason}") from error
        actions = self._env.single_action_space
        if not isinstance(actions, gymnasium.spaces.Discrete):
            self._env.close()
            raise UsageError(
                f"{task.id} has the action space {actions}", "only discrete actions can be learnt with DQN"
            )
        self.actions = int(actions.n)
        self._first_action = int(actions.start)
        self._observe = _reader(task, self._env.single_observation_space)
        self.spec = self._observe.spec
        try:
            for view in task.views:
                self.spec = view.spec(self.spec)
        except UsageError:
            self._env.close()
            raise
        self.frames_per_step = task.preprocessing.frame_skip if task.is_atari else 1
        self.has_time_limit = task.is_atari or _time_limit(self._env) is not None
        self._over = np.zeros(count, dtype=bool)
        self._episode_steps = np.zeros(count, dtype=np.int64)
        self._pending: NDArray[np.int64] | None = None

    def __enter__(self) -> Lanes:
        return self

    def __exit__(self, *_: object) -> None:
        self._env.close()

    def reset(self, seeds: list[int]) -> NDArray[Any]:
        """Starts every lane anew, lane i from ``seeds[i]``; returns the first frames (N, *frame_shape)."""
        vector_seeds = np.asarray(seeds, dtype=np.int64) if isinstance(self._env, AtariVectorEnv) else list(seeds)
        try:
            observations, _ = self._env.reset(seed=vector_seeds)
        except Exception as error:  # whatever an environment raises
            raise self._raised(error) from error
        self._over[:] = False
        self._episode_steps[:] = 0
        return self._frames(observations)

    def send(self, actions: NDArray[np.int64]) -> None:
        """Begins one step with ``actions`` (N,), counted from 0."""
        actions = actions.astype(np.int64) + self._first_action
        if isinstance(self._env, AtariVectorEnv):
            self._env.send(actions)
        self._pending = actions

    def receive(self) -> LaneStep:
        """Ends the step begun by :meth:`send`."""
        try:
            result = self._env.recv() if isinstance(self._env, AtariVectorEnv) else self._env.step(self._pending)
        except Exception as error:  # whatever an environment raises
            raise self._raised(error) from error
        observations, rewards, terminated, truncated, _ = result
        if not np.isfinite(rewards).all():
            raise CorrtoolError(
                f"the {self.task.role} task's environment {self.task.id} gave a reward that is no number"
            )
        valid = ~self._over
        terminated, truncated = np.array(terminated, dtype=bool), np.array(truncated, dtype=bool)
        self._episode_steps = np.where(valid, self._episode_steps + 1, 0)
        self._over = terminated | truncated
        return LaneStep(
            frames=self._frames(observations),
            rewards=np.asarray(rewards, dtype=np.float32),
            terminated=terminated,
            truncated=truncated,
            valid=valid,
            episode_steps=self._episode_steps.copy(),
        )

    def step(self, actions: NDArray[np.int64]) -> LaneStep:
        """:meth:`send` and :meth:`receive`."""
        self.send(actions)
        return self.receive()

    def _raised(self, error: Exception) -> CorrtoolError:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return CorrtoolError(
            f"the {self.task.role} task's environment {self.task.id} raised {reason}", "mend the environment"
        )

    def _frames(self, observations: Any) -> NDArray[Any]:
        frames = self._observe(observations)
        if self.spec.kind == VECTOR and not np.isfinite(frames).all():
            raise CorrtoolError(
                f"the {self.task.role} task's environment {self.task.id} gave an observation that is no number"
            )
        for view in self.task.views:
            frames = view.frames(frames)
        return frames


def probe(task: Task) -> tuple[StateSpec, int]:
    """The states and the number of actions of a task, by making it once. Raises :class:`UsageError`."""
    with Lanes(task, 1) as lanes:
        return lanes.spec, lanes.actions


def action_names(task: Task) -> list[str]:
    """What each action is called: the game's own names, or numbers where the environment has none."""
    with closing(_make_single(task)) as env:
        space = env.action_space
        assert isinstance(space, gymnasium.spaces.Discrete)
        name = getattr(env.unwrapped, "get_action_meanings", lambda: [str(action) for action in range(int(space.n))])
        return list(name())


def _atari_vector_env(task: Task, count: int) -> AtariVectorEnv:
    """The fast path. Every default that differs from ``gymnasium.make`` is set here."""
    p = task.preprocessing
    game = _registered(task.id).kwargs["game"]
    size = p.screen_size or 84
    return AtariVectorEnv(
        game,
        count,
        frameskip=p.frame_skip,
        maxpool=p.max_pool,
        stack_num=1,  # states are stacked from stored frames, see memory/
        img_height=size,
        img_width=size,
        grayscale=p.grayscale,
        noop_max=p.noop_max + 1,  # it draws from 0 to noop_max - 1
        use_fire_reset=p.fire_reset,
        episodic_life=p.terminal_on_life_loss,
        life_loss_info=False,
        reward_clipping=False,
        repeat_action_probability=p.repeat_action_probability,
        full_action_space=p.full_action_space,
        max_num_frames_per_episode=p.max_episode_frames,
        autoreset_mode=AutoresetMode.NEXT_STEP,
    )


def _side_by_side(task: Task, count: int) -> SyncVectorEnv:
    """Gymnasium's vector environment. Where one of several cannot be made the others are closed: there may be only one of it."""
    with ExitStack() as made:
        environments = [made.enter_context(closing(_make_single(task))) for _ in range(count)]
        makers = [functools.partial(_identity, env) for env in environments]
        vector = SyncVectorEnv(makers, autoreset_mode=AutoresetMode.NEXT_STEP)
        made.pop_all()
    return vector


def _identity(env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    return env


def _time_limit(vector: SyncVectorEnv) -> int | None:
    """The steps after which Gymnasium cuts an episode off, if it does."""
    spec = vector.envs[0].spec
    return None if spec is None else spec.max_episode_steps


def _make_single(task: Task) -> gymnasium.Env[Any, Any]:
    """One environment of the slower path, wrapped so that it shows what the fast path would."""
    p = task.preprocessing
    if task.is_atari:
        if not p.max_pool:
            raise UsageError(
                "--no-max-pool needs ale-py's vector environment", "leave the environment's keyword arguments out"
            )
        env: gymnasium.Env[Any, Any] = gymnasium.make(
            task.id,
            disable_env_checker=True,
            **(
                {
                    "frameskip": 1,
                    "repeat_action_probability": p.repeat_action_probability,
                    "full_action_space": p.full_action_space,
                    "max_num_frames_per_episode": 0,  # the time limit below does not count no-ops, as in the fast path
                }
                | task.kwargs
            ),
        )
        env = NoopReset(env, p.noop_max, p.fire_reset)
        env = gymnasium.wrappers.AtariPreprocessing(
            env,
            noop_max=0,
            frame_skip=p.frame_skip,
            screen_size=p.screen_size or 84,
            grayscale_obs=p.grayscale,
            grayscale_newaxis=p.grayscale,
            terminal_on_life_loss=p.terminal_on_life_loss,
        )
        return gymnasium.wrappers.TimeLimit(env, math.ceil(p.max_episode_frames / p.frame_skip))
    env = gymnasium.make(task.id, disable_env_checker=True, **task.kwargs)
    is_picture = _is_picture(env.observation_space)
    if not is_picture and (p.grayscale or p.screen_size is not None):
        raise UsageError(f"{task.id} shows no pictures", "leave --screen-size and --grayscale out")
    if is_picture:
        if p.grayscale:
            env = gymnasium.wrappers.GrayscaleObservation(env, keep_dim=True)
        if p.screen_size is not None:
            env = gymnasium.wrappers.ResizeObservation(env, (p.screen_size, p.screen_size))
    elif not isinstance(env.observation_space, gymnasium.spaces.Box):
        env = gymnasium.wrappers.FlattenObservation(env)  # a discrete observation becomes one-hot
    return env


def _is_picture(space: gymnasium.Space[Any]) -> bool:
    return isinstance(space, gymnasium.spaces.Box) and space.dtype == np.uint8 and len(space.shape) in (2, 3)


class _reader:
    """Turns a batch of observations into frames: channels first for images, flat float32 for everything else."""

    def __init__(self, task: Task, space: gymnasium.Space[Any]) -> None:
        stack = task.preprocessing.stack
        shape = cast("tuple[int, ...]", space.shape)
        self._atari_vector = task.is_atari and len(shape) >= 3 and shape[0] == 1
        if self._atari_vector:
            shape = (*shape[1:], 1) if len(shape) == 3 else shape[1:]
        self._is_image = _is_picture(space) or self._atari_vector
        if not self._is_image:
            self.spec = StateSpec(VECTOR, (int(np.prod(shape)),), stack)
            return
        if len(shape) == 2:
            shape = (*shape, 1)
        self._channels_last = shape[-1] in (1, 3, 4)
        height, width, channels = shape if self._channels_last else (shape[1], shape[2], shape[0])
        self.spec = StateSpec(IMAGE, (channels, height, width), stack)

    def __call__(self, observations: Any) -> NDArray[Any]:
        count = len(observations)
        if not self._is_image:
            return np.array(observations, dtype=np.float32).reshape(count, *self.spec.frame_shape)
        channels, height, width = self.spec.frame_shape
        if channels == 1:
            return np.array(observations).reshape(count, 1, height, width)
        if self._channels_last:
            pictures = np.asarray(observations).reshape(count, height, width, channels)
            return np.ascontiguousarray(np.moveaxis(pictures, -1, 1))
        return np.array(observations)
