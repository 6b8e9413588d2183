"""Checks of a pair of tasks for ``init`` and ``doctor``, so that no later stage has to refuse it.

Both are played, and every network is built.

Nothing is learnt, and networks are built on the meta device, which takes no memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.discriminators import build_discriminator
from corrtool.correspondence.model import Correspondence
from corrtool.environment_model.saved import ModelDescription
from corrtool.errors import CorrtoolError, UsageError
from corrtool.memory.rows import ring_bytes
from corrtool.q_learning.saved import QDescription
from corrtool.runtime.free_memory import free_bytes, in_gigabytes
from corrtool.settings.base import Settings
from corrtool.settings.stages import (
    CollectSettings,
    LearnCorrSettings,
    TrainDqnSettings,
    TrainModelSettings,
)
from corrtool.state_scaling import StateScaling
from corrtool.states import IMAGE, SIGNAL, VECTOR, StateSpec
from corrtool.tasks import Lanes, Task

STEPS = 10  # of random play
LARGEST = 1e15  # that an observation may have: sums of its square fit 32 bits
_THINGS = {IMAGE: "pictures", SIGNAL: "signals", VECTOR: "numbers"}

SettingsFor = Callable[[type[Settings], StateSpec], Any]


@dataclass(frozen=True)
class TriedTask:
    """A task that was played.

    Attributes:
        notes: what it took to make frames of what its environment shows.
        warnings: what will need an option of some stage.
    """

    task: Task
    states: StateSpec
    actions: int
    notes: list[str]
    warnings: list[str] = field(default_factory=list)


def try_task(task: Task) -> TriedTask:
    """Make a task, play ten random steps of it, and try whether another can be open beside it.

    Raises:
        UsageError: it cannot be made, or shows what nothing can be learnt from.
        CorrtoolError: it raises.
    """
    random = np.random.default_rng(0)
    with Lanes(task, 1) as lanes:
        first = lanes.reset([0])
        steps = [lanes.step(random.integers(0, lanes.actions, 1)) for _ in range(STEPS)]
        _check_size(task, [first, *(step.frames for step in steps)])
        tried = TriedTask(task, lanes.spec, lanes.actions, lanes.notes)
        if all((step.terminated | step.truncated | ~step.valid).all() for step in steps):
            tried.warnings.append(
                f"every game of {task.id} is over after one step, so that a model of it has "
                "nothing to learn from"
            )
        if not lanes.has_time_limit:
            tried.warnings.append(
                f"{task.id} has no time limit; if its games can go on for ever, give "
                "--max-episode-steps (play tests and evaluations end "
                "a game after 27,000 steps, or 18,000 frames without a reward: --max-idle-frames)"
            )
        if not task.is_atari and not _opens_second(task):
            tried.warnings.append(
                f"there can be only one {task.id} at a time; give --lanes 1 to the stages that "
                "play; for transfer and sweep write lanes = 1 below [train-dqn], [collect], "
                "[evaluate] and [finetune] in corrtool.toml"
            )
    return tried


def _check_size(task: Task, frames: list[NDArray[Any]]) -> None:
    """Raise :class:`UsageError` for numbers whose squares are too large to be learnt from."""
    largest = max(float(np.abs(frame.astype(np.float64)).max()) for frame in frames)
    if largest > LARGEST:
        raise UsageError(
            f"{task.id} shows numbers as large as {largest:.2g}, whose squares are beyond 32 bits",
            "give it in other units, as by a wrapper, or by a view such as 'scale:1e-6'",
        )


def _opens_second(task: Task) -> bool:
    """True if another one can be, and start a game, where some simulators say that it cannot."""
    try:
        with Lanes(task, 1) as lanes:
            lanes.reset([0])
            return True
    except CorrtoolError:
        return False


def check_pair(source: TriedTask, target: TriedTask, settings_for: SettingsFor) -> list[str]:
    """Check that an agent of ``source`` can play ``target`` at all; returns warnings.

    Args:
        settings_for: a stage's settings for states of a kind.

    Raises:
        UsageError: it cannot, whatever the stages are told.
    """
    _check_spaces(source, target)
    _check_networks(source, target, settings_for)
    warnings = [*source.warnings]
    warnings += [warning for warning in target.warnings if warning not in warnings]
    warnings += _action_warnings(source, target)
    return warnings + _memory_warnings(source, target, settings_for)


def _action_warnings(source: TriedTask, target: TriedTask) -> list[str]:
    if source.actions == target.actions:
        return []
    atari = source.task.is_atari and target.task.is_atari
    return [
        f"the source has {source.actions} actions and the target {target.actions}: by default it "
        "is learnt which are the same; if you know, tell it by learn-corr --action-map FILE, a "
        "JSON list with the source action of each target action"
        + (", or give init --full-action-space" if atari else "")
    ]


def _check_spaces(source: TriedTask, target: TriedTask) -> None:
    if source.states.kind != target.states.kind:
        kinds = [_THINGS[tried.states.kind] for tried in (source, target)]
        raise UsageError(
            f"the source shows {kinds[0]} and the target {kinds[1]}, and no generator maps one to "
            "the other",
            f"give both tasks {kinds[0]}, or both {kinds[1]}",
        )
    sizes = [tried.states.frame_shape[1:] for tried in (source, target)]
    if sizes[0] != sizes[1] and source.states.kind == SIGNAL:
        raise UsageError(
            f"the source's signals have {sizes[0][0]:,} samples, the target's {sizes[1][0]:,}, and "
            "only signals of one length can be translated",
            "wrap one of the environments so that they have",
        )
    if sizes[0] != sizes[1]:
        of_source, of_target = (f"{height} × {width} pixels" for height, width in sizes)
        raise UsageError(
            f"the source's pictures are {of_source}, the target's {of_target}, and only pictures "
            "of one size can be translated",
            f"give --screen-size {max(16, min(sizes[0]))}, which makes both square",
        )


def _check_networks(source: TriedTask, target: TriedTask, settings_for: SettingsFor) -> None:
    """Build every network that the stages would. Raises :class:`UsageError`."""
    q, model = (
        settings_for(TrainDqnSettings, source.states),
        settings_for(TrainModelSettings, source.states),
    )
    corr = settings_for(LearnCorrSettings, source.states)
    try:
        with torch.device("meta"):
            for tried in (source, target):
                QDescription(tried.states, tried.actions, q.architecture, q.width, q.init).build()
                build_discriminator(tried.states, corr.discriminator_filters, corr.norm)
            ModelDescription.of(model, source.states, source.actions).build()
            generator = GeneratorDescription.of(corr, source.states)
            Correspondence(StateScaling(source.states), StateScaling(target.states), generator)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _memory_warnings(source: TriedTask, target: TriedTask, settings_for: SettingsFor) -> list[str]:
    free = free_bytes(torch.device("cpu"))
    capacity = settings_for(TrainDqnSettings, source.states).memory_capacity
    records = settings_for(CollectSettings, target.states).records
    needs = {
        f"train-dqn's replay memory of {capacity:,} records (--memory-capacity)": ring_bytes(
            source.states, capacity
        ),
        f"the two memories of learn-corr, of {records:,} records each (--records)": ring_bytes(
            source.states, records
        )
        + ring_bytes(target.states, records),
    }
    return [
        f"{what} takes {in_gigabytes(needed)}, and {in_gigabytes(free)} are free"
        for what, needed in needs.items()
        if free is not None and needed > free
    ]
