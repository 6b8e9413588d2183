"""The settings of the stages that play and learn nothing: ``collect`` and ``evaluate``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from corrtool.errors import UsageError
from corrtool.settings.base import Settings, setting


def max_idle_frames_setting() -> Any:
    """``--max-idle-frames``, of every stage that plays whole games."""
    return setting(
        18_000,
        "frames without a reward after which a game that is played to its end, as in play tests, "
        "is ended and counts as it stands; by default five minutes of Atari, 0 for any number",
        minimum=0,
    )


def player_inputs() -> dict[str, str]:
    """The player, for every stage that plays through a correspondence."""
    return {
        "q": "Q-function that plays; otherwise the one the correspondence was learnt with, or the "
        "newest",
        "corr": "correspondence to play through; otherwise the newest",
    }


@dataclass(frozen=True)
class CollectSettings(Settings):
    """Step 2 of the experiments: play a task and keep the records."""

    stage: ClassVar[str] = "collect"
    makes: ClassVar[tuple[str, ...]] = ("memory",)

    task: Literal["source", "target"] = setting("target", "which task to play")
    policy: str = setting("random", "who plays: 'random', or 'q:NAME' for a trained Q-function")
    epsilon: float = setting(
        0.05, "share of random actions when a Q-function plays", minimum=0, maximum=1
    )
    records: int = setting(10_000, "valid transitions to write, exactly", minimum=1)
    lanes: int = setting(8, "environments played side by side", minimum=1, maximum=1024)

    def check(self) -> None:
        if self.policy != "random" and not (self.policy.startswith("q:") and len(self.policy) > 2):
            raise UsageError(f"--policy is {self.policy!r}", "give 'random' or 'q:NAME'")

    def without_effect(self, state_kind: str, options: dict[str, Any]) -> dict[str, str]:
        return {"epsilon": "random play has no other"} if self.policy == "random" else {}


@dataclass(frozen=True)
class EvaluateSettings(Settings):
    """Play games that chose nothing, and report every one."""

    stage: ClassVar[str] = "evaluate"
    inputs: ClassVar[dict[str, str]] = player_inputs()

    task: Literal["source", "target"] = setting("target", "which task to play")
    policy: Literal["q", "random"] = setting("q", "who plays: a Q-function, or random actions")
    games: int = setting(
        30,
        "games to play; every game that is begun counts, and fewer than 20 that differ have no "
        "interval",
        minimum=1,
        maximum=1_000_000,
    )
    epsilon: float = setting(
        0.001,
        "share of random actions; a little keeps a greedy agent out of endless loops",
        minimum=0,
        maximum=1,
    )
    repeat_action_probability: float | None = setting(
        None,
        "sticky actions: how often the last action is repeated instead of the chosen one (Machado "
        "et al. 2018: 0.25), of any environment; by default what the task says. Without them a "
        "good agent plays few games that differ",
        minimum=0,
        maximum=1,
    )
    lanes: int = setting(16, "games played side by side, at most", minimum=1, maximum=1024)
    max_idle_frames: int = max_idle_frames_setting()

    def without_effect(self, state_kind: str, options: dict[str, Any]) -> dict[str, str]:
        return {"epsilon": "random play has no other"} if self.policy == "random" else {}
