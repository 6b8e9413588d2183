"""What a task is found to be by making it once: its states, its actions, and their names."""

from __future__ import annotations

import functools
import sys
from contextlib import closing, redirect_stdout

import numpy as np

from corrtool.runtime.remembering import remembered
from corrtool.states import StateSpec
from corrtool.tasks.environments import Lanes
from corrtool.tasks.making import ENVIRONMENT_ERRORS, make_single
from corrtool.tasks.task import Task


def probe(task: Task) -> tuple[StateSpec, int]:
    """The states and the number of actions of a task, by making it once, or :class:`UsageError`."""
    return remembered(("probe", task.role, task.sha256), functools.partial(_probe, task))


def _probe(task: Task) -> tuple[StateSpec, int]:
    with Lanes(task, 1) as lanes:
        return lanes.spec, lanes.actions


def action_names(task: Task) -> list[str]:
    """The name of each action of the agent.

    These are the game's own names, or the environment's numbers if it has no usable ones.
    """
    count = probe(task)[1]
    try:
        with redirect_stdout(sys.stderr), closing(make_single(task)[0]) as env:
            names = [str(name) for name in env.unwrapped.get_action_meanings()]  # type: ignore[attr-defined]
    except ENVIRONMENT_ERRORS:
        names = []
    if len(names) != count:
        names = [str(action) for action in range(count)]
    return [names[action] for action in task.environment_actions(np.arange(count))]
