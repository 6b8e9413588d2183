"""The settings of each stage.

One frozen dataclass, the single source of defaults, help texts and ranges.
"""

from __future__ import annotations

from typing import Any

from corrtool.settings.base import Settings, choosing_names, former_names
from corrtool.settings.correspondence import LearnCorrSettings
from corrtool.settings.environment_model import TrainModelSettings
from corrtool.settings.play import CollectSettings, EvaluateSettings
from corrtool.settings.q_learning import DqnSettings, FinetuneSettings, TrainDqnSettings

__all__ = [
    "LEARNING_STAGES",
    "MADE_BY",
    "STAGE_INPUTS",
    "STAGE_SETTINGS",
    "TASK_ROLES",
    "CollectSettings",
    "DqnSettings",
    "EvaluateSettings",
    "FinetuneSettings",
    "LearnCorrSettings",
    "TrainDqnSettings",
    "TrainModelSettings",
    "identifying_settings",
]

TASK_ROLES = ("source", "target")

STAGE_SETTINGS: dict[str, type[Settings]] = {  # in the order of the paper's experiments
    settings.stage: settings
    for settings in (
        TrainDqnSettings,
        CollectSettings,
        TrainModelSettings,
        LearnCorrSettings,
        EvaluateSettings,
        FinetuneSettings,
    )
}

LEARNING_STAGES = tuple(  # that can be swept, and be given a time limit
    stage
    for stage, settings in STAGE_SETTINGS.items()
    if "max_minutes" in settings.__dataclass_fields__
)

STAGE_INPUTS = {
    stage: tuple(settings.inputs) for stage, settings in STAGE_SETTINGS.items()
}  # artifacts that can be named

MADE_BY = {  # which stage makes a kind of artifact: the first that is there for it
    settings.makes[0]: stage
    for stage, settings in reversed(STAGE_SETTINGS.items())
    if settings.makes
}


def identifying_settings(stage: str, recorded: dict[str, Any]) -> dict[str, Any]:
    """Settings of a stage as some version recorded them, by the names that they have now.

    Without those that only choose inputs: the inputs themselves are recorded.
    """
    settings_class = STAGE_SETTINGS.get(stage)
    if settings_class is None:
        return recorded
    present, choosing = former_names(settings_class), choosing_names(settings_class)
    named = {present.get(name, name): value for name, value in recorded.items()}
    return {name: value for name, value in named.items() if name not in choosing}
