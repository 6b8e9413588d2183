"""Gymnasium wrappers through which an agent of the source task plays the target, unchanged.

For agents of any library, such as Stable-Baselines3 (examples/sb3_policy.py). Both take a single
environment or a vector of them::

    env = TranslateAction(TranslateObservation(env, correspondence), correspondence)
"""

from __future__ import annotations

from typing import Any, overload

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from gymnasium.wrappers import TransformAction, TransformObservation
from gymnasium.wrappers import vector as vector_wrappers
from numpy.typing import NDArray

from corrtool.correspondence.model import Correspondence
from corrtool.errors import ArtifactError, UsageError
from corrtool.states import IMAGE, StateSpec

_Env = gymnasium.Env[Any, Any]
_Vector = VectorEnv[Any, Any, Any]


@overload
def TranslateObservation(env: _Env, correspondence: Correspondence) -> _Env: ...
@overload
def TranslateObservation(env: _Vector, correspondence: Correspondence) -> _Vector: ...
def TranslateObservation(env: _Env | _Vector, correspondence: Correspondence) -> _Env | _Vector:
    """The environment whose observations are raw source states, G_T of the target's.

    Each observation is translated by itself, those of a vector in one pass, on the device of the
    correspondence. Pictures are rounded to 256 levels, as all raw pictures are. The environment
    shows whole raw states, preprocessed and stacked, as the target task of the correspondence
    does: ``OpenedProject.environment`` does so.

    Raises:
        ArtifactError: its observations are not such states.
    """
    _check_correspondence(correspondence)
    target, source = correspondence.target_scaling.spec, correspondence.source_scaling.spec
    if isinstance(env, VectorEnv):
        _check_observations(env.single_observation_space, target)
        return vector_wrappers.TransformObservation(
            env,
            lambda observations: _translated(correspondence, observations),
            single_observation_space=_space_of(source),
        )
    _check_observations(env.observation_space, target)
    return TransformObservation(
        env,
        lambda observation: _translated(correspondence, np.asarray(observation)[None])[0],
        _space_of(source),
    )


@overload
def TranslateAction(
    env: _Env, correspondence: Correspondence, *, fallback: int | None = None
) -> _Env: ...
@overload
def TranslateAction(
    env: _Vector, correspondence: Correspondence, *, fallback: int | None = None
) -> _Vector: ...
def TranslateAction(
    env: _Env | _Vector, correspondence: Correspondence, *, fallback: int | None = None
) -> _Env | _Vector:
    """The environment that takes the source's actions, and does the target action that is each.

    Where several target actions are one source action the first is done, as corrtool's own agent
    does, which takes the first action of the greatest value. A policy says its best action and not
    its second best; so each source action needs a target action, or ``fallback``, a target action
    that is done for those that have none.

    Raises:
        ArtifactError: the environment's actions are not those of the target task.
        UsageError: no target action is some source action, and there is no ``fallback``.
    """
    _check_correspondence(correspondence)
    if isinstance(env, VectorEnv):
        first, target_of = _target_actions(correspondence, env.single_action_space, fallback)
        return vector_wrappers.TransformAction(
            env,
            lambda actions: first + target_of[_checked(actions, len(target_of))],
            single_action_space=spaces.Discrete(len(target_of)),
        )
    first, target_of = _target_actions(correspondence, env.action_space, fallback)
    return TransformAction(
        env,
        lambda action: first + target_of[_checked(action, len(target_of))],
        spaces.Discrete(len(target_of)),
    )


def _checked(actions: Any, count: int) -> NDArray[np.integer[Any]]:
    """Actions as an index; :class:`UsageError` for what are none of the source's, of ``count``."""
    index = np.asarray(actions)
    if not np.issubdtype(index.dtype, np.integer) or ((index < 0) | (index >= count)).any():
        raise UsageError(f"there is no source action {actions}", f"give one from 0 to {count - 1}")
    return index


def _check_correspondence(given: object) -> None:
    """Raise TypeError for a name or anything else that is no correspondence."""
    if not isinstance(given, Correspondence):
        raise TypeError(
            f"{given!r} is no correspondence; load one with "
            "corrtool.open_project(DIR).load_correspondence(NAME)"
        )


def _check_observations(space: gymnasium.Space[Any], spec: StateSpec) -> None:
    """Raise :class:`ArtifactError` where observations are no raw states of ``spec``."""
    is_picture = spec.kind == IMAGE
    if (
        not isinstance(space, spaces.Box)
        or space.shape != spec.state_shape
        or (space.dtype == np.uint8) != is_picture
    ):
        raise ArtifactError(
            f"the environment shows {space}, the correspondence translates "
            f"{'uint8' if is_picture else 'float32'} states {spec.state_shape}: {spec}",
            "wrap the environment so that it shows what the target task does",
        )


def _space_of(spec: StateSpec) -> spaces.Box:
    """The space of raw states."""
    if spec.kind == IMAGE:
        return spaces.Box(0, 255, spec.state_shape, np.uint8)
    return spaces.Box(-np.inf, np.inf, spec.state_shape, np.float32)


@torch.inference_mode()
def _translated(correspondence: Correspondence, observations: Any) -> NDArray[Any]:
    """Raw target states (B, …) → raw source states (B, …)."""
    target, source = correspondence.target_scaling, correspondence.source_scaling
    device = next(correspondence.parameters()).device
    raw = torch.as_tensor(np.ascontiguousarray(observations)).to(device, target.spec.frame_dtype)
    return source.model_to_raw(correspondence.translate(raw)).cpu().numpy()


def _target_actions(
    correspondence: Correspondence, space: gymnasium.Space[Any], fallback: int | None
) -> tuple[int, NDArray[np.int64]]:
    """The number of the environment's first action, and (A_S,) what is done for each of the source.

    Those are counted from 0.
    """
    if not isinstance(space, spaces.Discrete):
        raise ArtifactError(
            f"the environment has the action space {space}", "correspondences are of Discrete ones"
        )
    first, count = int(space.start), int(space.n)
    action_map = correspondence.action_map
    if action_map is None:
        return first, np.arange(count)
    if action_map.target_count != count:
        raise ArtifactError(
            f"the environment has {count} actions, the correspondence maps "
            f"{action_map.target_count}",
            "give the environment of its target task",
        )
    if fallback is not None and not 0 <= fallback < count:
        raise UsageError(
            f"fallback is {fallback}", f"give one of the target's actions, 0 to {count - 1}"
        )
    target_of = np.full(action_map.source_count, -1 if fallback is None else fallback)
    for target, source in reversed(list(enumerate(action_map.source_of))):
        target_of[source] = target
    if (lacking := np.flatnonzero(target_of < 0)).size:
        raise UsageError(
            f"no target action is source action {', '.join(map(str, lacking))}",
            "give a fallback, the target action that is done for it",
        )
    return first, target_of
