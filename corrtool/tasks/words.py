"""The preprocessing of a task in words, for a person who is to say whether an agent knows it."""

from __future__ import annotations

from corrtool.states import IMAGE, StateSpec
from corrtool.tasks.task import Task


def preprocessing_in_words(task: Task, spec: StateSpec, actions: int) -> str:
    """What an agent sees of a task and what its actions do, as parts with semicolons between."""
    p = task.preprocessing
    parts = [f"states of {spec}"]
    if spec.kind == IMAGE:
        parts.append("grey" if p.grayscale else "colours as the environment has them")
    else:
        parts.append("numbers as the environment has them, not normalised")
    if task.is_atari:
        parts += _of_atari(task)
    sticky = p.repeat_action_probability
    parts.append(f"sticky actions of {sticky:g}" if sticky else "no sticky actions")
    if task.view_texts:
        parts.append(f"seen through {', '.join(task.view_texts)}")
    return "; ".join([*parts, f"{actions} actions"])


def _of_atari(task: Task) -> list[str]:
    p = task.preprocessing
    frames = "1 frame" if p.frame_skip == 1 else f"{p.frame_skip} frames"
    return [
        f"an action lasts {frames}",
        "the maximum of the last two is shown" if p.max_pool else "the last is shown",
        f"up to {p.noop_max} no-ops at the start" if p.noop_max else "no no-ops at the start",
        f"FIRE is {'' if p.fire_reset else 'not '}pressed at the start",
        f"a lost life {'ends' if p.terminal_on_life_loss else 'does not end'} an episode",
    ]
