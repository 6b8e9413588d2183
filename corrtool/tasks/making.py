"""Making environments.

Which are registered, and how one or several are made so that they show frames.
"""

from __future__ import annotations

import functools
import io
import math
import sys
from contextlib import ExitStack, closing, redirect_stderr, redirect_stdout
from typing import Any

import ale_py
import gymnasium
from ale_py.vector_env import AtariVectorEnv
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from corrtool.errors import CorrtoolError, UsageError
from corrtool.settings.preprocessing import ATARI_SOUND
from corrtool.tasks.atari import NoopReset, SoundOfSteps
from corrtool.tasks.observations import StickyActions, as_frames
from corrtool.tasks.signals import as_signal
from corrtool.tasks.task import Task
from corrtool.tasks.trust import check_import

gymnasium.register_envs(ale_py)
gymnasium.logger.min_level = (
    gymnasium.logger.ERROR
)  # its warnings are for those who write environments

_ATARI_ENTRY_POINT = "ale_py.env:AtariEnv"
# What other people's code may raise: exceptions that mean to end the process, and those of other
# languages, which are none of Python's. Signals do not come as exceptions here.
ENVIRONMENT_ERRORS = BaseException


def reason_of(error: BaseException) -> str:
    """What went wrong, in one line: the name of the error and what it says, if anything."""
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")


def registered(identifier: str) -> gymnasium.envs.registration.EnvSpec:
    """The registered environment, importing the module of ``module:Id`` if that is trusted.

    Raises :class:`UsageError`.
    """
    check_import(identifier)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            env_spec = _find_spec(identifier)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"unknown environment {identifier!r} ({error.__cause__ or error})",
            "install its package, or set PYTHONPATH to its directory: the project's and the "
            "current one are not searched",
        ) from None
    except gymnasium.error.Error as error:
        raise UsageError(
            f"unknown environment {identifier!r} ({' '.join(str(error).split())})",
            "give the id of a registered environment",
        ) from None
    except ENVIRONMENT_ERRORS as error:  # importing the module of module:Id runs anything
        raise UsageError(
            f"unknown environment {identifier!r} ({reason_of(error)})",
            "give the id of a registered environment",
        ) from None
    return env_spec


def _find_spec(identifier: str) -> gymnasium.envs.registration.EnvSpec:
    """As Gymnasium finds it.

    Some packages register their environments only when their ``register_envs`` is called.
    """
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
    """True if an environment id is an ALE game.

    Raises :class:`UsageError` if it is not an environment at all.
    """
    return registered(identifier).entry_point == _ATARI_ENTRY_POINT


def atari_vector_env(task: Task, count: int) -> AtariVectorEnv:
    """The fast path. Every default that differs from ``gymnasium.make`` is set here."""
    p = task.preprocessing
    game = registered(task.id).kwargs["game"]
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
        max_num_frames_per_episode=10**9,  # see Lanes._reset_timed_out
        autoreset_mode=AutoresetMode.NEXT_STEP,
    )


def make_vector_env(task: Task, count: int) -> tuple[SyncVectorEnv, list[str]]:
    """Gymnasium's vector environment.

    Where one of several cannot be made the others are closed: there may be only one of it.
    """
    with ExitStack() as made:
        environments = []
        for _ in range(count):
            env, notes = make_single(task)
            environments.append(made.enter_context(closing(env)))
        makers = [functools.partial(_WithoutOptions, env) for env in environments]
        vector = SyncVectorEnv(makers, autoreset_mode=AutoresetMode.NEXT_STEP)
        made.pop_all()
    return vector, notes


class _WithoutOptions(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Is reset with ``options=None``, also where Gymnasium says ``{}``: as it resets some lanes."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return self.env.reset(seed=seed, options=None)


def time_limit(vector: SyncVectorEnv) -> int | None:
    """The steps after which Gymnasium cuts an episode off, if it does."""
    spec = vector.envs[0].spec
    return None if spec is None else spec.max_episode_steps


def reward_threshold(vector: SyncVectorEnv) -> float | None:
    """The mean return with which an environment counts as solved, if it states a finite one."""
    spec = vector.envs[0].spec
    stated: Any = None if spec is None else spec.reward_threshold
    is_number = isinstance(stated, int | float) and math.isfinite(stated)
    return float(stated) if is_number else None


def atari_steps(task: Task) -> int:
    """After how many steps an Atari game is cut off."""
    p = task.preprocessing
    by_frames = math.ceil(p.max_episode_frames / p.frame_skip)
    return by_frames if p.max_episode_steps is None else min(by_frames, p.max_episode_steps)


def make_single(task: Task) -> tuple[gymnasium.Env[Any, Any], list[str]]:
    """One environment of the slower path, wrapped so that it shows what the fast path would.

    And a word on what that took.
    """
    p = task.preprocessing
    if task.is_atari and task.shows_signal:
        return _atari_sound(task)
    if task.is_atari:
        if task.kwargs.get("obs_type") == "ram":
            raise UsageError(
                f"{task.id} with obs_type=ram shows no pictures, which corrtool takes of Atari "
                "games",
                "leave obs_type out",
            )
        if not p.max_pool:
            raise UsageError(
                "--no-max-pool needs ale-py's vector environment",
                "leave the environment's keyword arguments out",
            )
        if task.kwargs.get("sound_obs"):
            raise UsageError(
                f"{task.id} with sound_obs shows a dictionary",
                f"give --observation-key {ATARI_SOUND}, or leave sound_obs out",
            )
        env = _atari_frames(task)
        env = gymnasium.wrappers.AtariPreprocessing(
            env,
            noop_max=0,
            frame_skip=p.frame_skip,
            screen_size=p.screen_size or 84,
            grayscale_obs=p.grayscale,
            grayscale_newaxis=p.grayscale,
            terminal_on_life_loss=p.terminal_on_life_loss,
        )
        return gymnasium.wrappers.TimeLimit(env, atari_steps(task)), []
    limit = {} if p.max_episode_steps is None else {"max_episode_steps": p.max_episode_steps}
    env = gymnasium.make(task.id, disable_env_checker=True, **limit, **task.kwargs)
    if p.repeat_action_probability > 0:
        env = StickyActions(env, p.repeat_action_probability)
    try:
        return as_frames(env, task.id, p)
    except CorrtoolError:
        env.close()
        raise


def _atari_frames(task: Task, **more: Any) -> gymnasium.Env[Any, Any]:
    """An Atari game frame by frame, from the observations that the fast path begins with."""
    p = task.preprocessing
    kwargs = {
        "frameskip": 1,
        "repeat_action_probability": p.repeat_action_probability,
        "full_action_space": p.full_action_space,
        # The time limit does not count no-ops, as in the fast path.
        "max_num_frames_per_episode": 0,
    }
    env = gymnasium.make(task.id, disable_env_checker=True, **(kwargs | task.kwargs | more))
    return NoopReset(env, p.noop_max, p.fire_reset)


def _atari_sound(task: Task) -> tuple[gymnasium.Env[Any, Any], list[str]]:
    """An Atari game that is only heard; its memory is the cheapest picture that goes with that."""
    p = task.preprocessing
    env = _atari_frames(task, sound_obs=True, obs_type="ram")
    env = SoundOfSteps(env, p.frame_skip, p.terminal_on_life_loss)
    env, notes = as_signal(env, task.id, None)
    return gymnasium.wrappers.TimeLimit(env, atari_steps(task)), notes
