"""Settings of stages as a command would resolve them."""

from typing import Any

from corrtool.settings.base import Settings
from corrtool.settings.resolve import resolve
from corrtool.settings.stages import STAGE_SETTINGS, TrainDqnSettings

STAGES = list(STAGE_SETTINGS.values())


def resolved(
    stage: type[Settings] = TrainDqnSettings,
    preset: str = "default",
    kind: str = "image",
    **values: Any,
) -> Any:
    """What holds where ``values`` are given.

    Those of ``project`` stand in ``corrtool.toml``.
    """
    project = values.pop("project", {})
    return resolve(stage, preset=preset, state_kind=kind, project_values=project, given=values)
