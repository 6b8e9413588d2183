"""What ``import q`` is told of an agent that a file from elsewhere does not say."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any, Literal, TypedDict

from corrtool.errors import UsageError
from corrtool.settings.base import check_fields, setting

SAME = "same"
_LONGEST = 500

QFormat = Literal["sb3", "cleanrl", "torch"]
TaskRole = Literal["source", "target"]


class ImportQArguments(TypedDict, total=False):
    """The arguments of :meth:`corrtool.api.OpenedProject.import_q`, as the options of the command.

    Only with ``dry_run`` can ``preprocessing`` be left out.
    """

    task: TaskRole
    preprocessing: str
    gamma: float
    clip_rewards: bool
    mapping: str | PathLike[str]
    name: str
    seed: int
    overwrite: bool
    dry_run: bool


@dataclass(frozen=True)
class ImportQSettings:
    """The origin of a Q-function, as its manifest has it.

    Raises:
        UsageError: a value of another type, or out of its range.
    """

    format: QFormat = setting(
        "sb3",
        "what wrote the file: 'sb3' is a DQN zip of Stable-Baselines3, 'cleanrl' the model of "
        "CleanRL's dqn.py or dqn_atari.py, 'torch' any safetensors file or state dict of torch, "
        "with --mapping",
    )
    task: TaskRole = setting("source", "task that the agent was trained on")
    preprocessing: str | None = setting(
        None,
        "'same' if the agent was trained with the task's preprocessing, which --dry-run says, else "
        "what was different, in your words; no file holds it, so it is asked for and recorded",
        shown="required",
    )
    gamma: float | None = setting(
        None,
        "discount factor that the agent was trained with, where the file does not say",
        minimum=0,
        maximum=1,
        shown="as in the file, else 0.99",
    )
    clip_rewards: bool | None = setting(
        None,
        "whether it learnt from the sign of each reward, which no file says",
        shown="on for Atari games, else off",
    )

    def __post_init__(self) -> None:
        check_fields(self)
        text = self.preprocessing
        if text is not None and not 0 < len(text.strip()) <= _LONGEST:
            raise UsageError(
                f"--preprocessing has {len(text)} letters", f"say it in 1 to {_LONGEST}"
            )

    def to_json(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        return asdict(self)
