"""The six stage commands together, for the commands that run several of them."""

from __future__ import annotations

from typing import Any

from corrtool.cli import collect, evaluate, finetune, learn_corr, train_dqn, train_model

_LINES = {
    "train-dqn": train_dqn.lines,
    "collect": collect.lines,
    "train-model": train_model.lines,
    "learn-corr": learn_corr.lines,
    "evaluate": evaluate.lines,
    "finetune": finetune.lines,
}


def stage_lines(stage: str, result: dict[str, Any]) -> list[str]:
    """A stage's result for people, as its own command prints it."""
    return _LINES[stage](result)
