"""Options of every stage besides its settings: seed, device, preset, name, and how to run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from corrtool.settings.base import Preset, check_fields, setting


@dataclass(frozen=True)
class CommonOptions:
    """The options that stages share, their help as it is shown.

    Not given, the project's ``[defaults]`` speak for the first three.

    Raises:
        UsageError: a value of another type, or out of its range.
    """

    seed: int | None = setting(
        None, "Seed of everything random.", minimum=0, maximum=2**63 - 1, shown="0"
    )
    device: str | None = setting(
        None, "auto, cpu, cuda, cuda:N or mps; it exists or the command fails.", shown="auto"
    )
    preset: Preset | None = setting(None, "Sizes and settings to start from.", shown="default")
    name: str | None = setting(
        None, "Name of what this command makes.", shown="made from the settings and the seed"
    )
    overwrite: bool = setting(False, "Replace what has this name.")
    dry_run: bool = setting(
        False, "Show the resolved settings and inputs, those that are missing too, and do nothing."
    )
    tensorboard: bool = setting(
        False, "Write TensorBoard event files as well (extra 'tensorboard')."
    )
    track: Literal["trackio", "wandb"] | None = setting(
        None, "Mirror the metrics in a tracker, at each checkpoint (extra of the same name)."
    )
    keep_checkpoints: int = setting(
        1,
        "Newest checkpoints to keep until the run is finished; it goes on from an older one where "
        "a newer is damaged.",
        minimum=1,
        maximum=1_000,
    )

    def __post_init__(self) -> None:
        check_fields(self)


# Only the stages that learn have these.
LEARNING_OPTIONS = ("tensorboard", "track", "keep_checkpoints")
VARIABLES = {
    name: f"CORRTOOL_{name.upper()}" for name in ("seed", "device", "preset")
}  # environment variables
