"""What ``import q`` and ``import policy`` are told of an agent that its file does not say."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any, Literal, TypedDict

from corrtool.errors import UsageError
from corrtool.settings.base import check_fields, setting

SAME = "same"
_LONGEST = 500

QFormat = Literal["sb3", "cleanrl", "torch"]
PolicyFormat = Literal["sb3", "cleanrl", "onnx"]
TaskRole = Literal["source", "target"]


class ImportPolicyArguments(TypedDict, total=False):
    """The arguments of :meth:`corrtool.api.OpenedProject.import_policy`, as the command's options.

    Only with ``dry_run`` can ``preprocessing`` be left out.
    """

    task: TaskRole
    preprocessing: str
    gamma: float
    clip_rewards: bool
    name: str
    seed: int
    overwrite: bool
    dry_run: bool


class ImportQArguments(ImportPolicyArguments, total=False):
    """The arguments of :meth:`corrtool.api.OpenedProject.import_q`, as the command's options."""

    mapping: str | PathLike[str]


@dataclass(frozen=True)
class ImportSettings:
    """The origin of an agent, as its manifest has it.

    Raises:
        UsageError: a value of another type, or out of its range.
    """

    format: str = setting("sb3", "what wrote the file")
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


@dataclass(frozen=True)
class ImportQSettings(ImportSettings):
    """The origin of a Q-function."""

    format: QFormat = setting(
        "sb3",
        "what wrote the file: 'sb3' is a DQN zip of Stable-Baselines3, 'cleanrl' the model of "
        "CleanRL's dqn.py or dqn_atari.py, 'torch' any safetensors file or state dict of torch, "
        "with --mapping",
    )


@dataclass(frozen=True)
class ImportPolicySettings(ImportSettings):
    """The origin of a policy."""

    format: PolicyFormat = setting(
        "sb3",
        "what wrote the file: 'sb3' is a PPO or A2C zip of Stable-Baselines3, 'cleanrl' the model "
        "of CleanRL's ppo.py or ppo_atari.py, 'onnx' a graph from what the task shows to logits, a "
        "chain of plain layers (extra 'onnx')",
    )
