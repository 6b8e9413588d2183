"""The settings of each stage: one frozen dataclass, the single source of defaults, help texts and ranges."""

from __future__ import annotations

from corrtool.settings.base import Settings
from corrtool.settings.correspondence import LearnCorrSettings
from corrtool.settings.environment_model import TrainModelSettings
from corrtool.settings.play import CollectSettings, EvaluateSettings
from corrtool.settings.q_learning import DqnSettings, FinetuneSettings, TrainDqnSettings

__all__ = [
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
]

TASK_ROLES = ("source", "target")

STAGE_SETTINGS: dict[str, type[Settings]] = {
    settings.stage: settings
    for settings in (
        CollectSettings,
        TrainDqnSettings,
        TrainModelSettings,
        LearnCorrSettings,
        EvaluateSettings,
        FinetuneSettings,
    )
}

STAGE_INPUTS: dict[str, tuple[str, ...]] = {  # artifacts that can be named
    "train-model": ("memory",),
    "learn-corr": ("q", "model", "source_memory", "target_memory"),
    "evaluate": ("q", "corr"),
    "finetune": ("q", "corr"),
}
