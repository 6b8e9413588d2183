"""The settings of ``train-model``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from corrtool.errors import UsageError
from corrtool.settings.base import MAX_BATCH_SIZE, Settings, setting
from corrtool.settings.compute import (
    compile_setting,
    max_minutes_setting,
    precision_setting,
)


@dataclass(frozen=True)
class TrainModelSettings(Settings):
    """Learn the environment model F of the source task (appendix 6.1)."""

    stage: ClassVar[str] = "train-model"
    inputs: ClassVar[dict[str, str]] = {
        "memory": "memory of the source task to learn from; otherwise the newest",
        "random_memory": "memory of random play of the source that F learns from too; otherwise "
        "the newest",
    }
    makes: ClassVar[tuple[str, ...]] = ("model",)

    architecture: Literal["auto", "resnet", "folded", "mlp"] = setting(
        "auto",
        "'resnet' for images and signals, 'mlp' for vectors; 'folded' for images sees two by two "
        "pixels as channels, which takes a fraction of the time: the default preset's; 'auto' is "
        "resnet or mlp, or folded for small pictures of 16 pixels a side or more",
    )
    filters: int = setting(
        16,
        "filters of the first convolution, units of a hidden layer for vectors; the paper has 64",
        minimum=1,
        maximum=16_384,
    )
    blocks: int = setting(
        4, "residual blocks, hidden layers for vectors; the paper has 9", minimum=1, maximum=256
    )
    action_block: int = setting(
        0,
        "residual block that gets the action, from 1; 0 takes the middle one (the paper's fifth "
        "of nine)",
        minimum=0,
    )
    norm: Literal["batch", "instance"] = setting(
        "batch",
        "normalisation of the convolutions; 'instance' removes the action from every block that "
        "gets it",
    )
    prediction: Literal["residual", "state"] = setting(
        "residual",
        "what F puts out for images and signals: the change of the newest frame, the others being "
        "known, or the whole next state as printed",
    )
    skips: bool = setting(
        False,
        "for images: the last layers of F also see the first ones' features, which keep small "
        "things sharp; the paper has none",
    )
    loss: Literal["mse", "l1"] = setting("mse", "error that F minimises; the authors' code has mse")
    learning_rate: float = setting(1e-3, "step size of Adam", above=0)
    warmup_gradient_steps: int = setting(
        0,
        "gradient steps in which the learning rate rises to --learning-rate, linearly, a tenth of "
        "all at most: first steps of full size can leave a network that only ever predicts that "
        "nothing moves",
        minimum=0,
    )
    constant_share: float = setting(
        1.0,
        "share of the training before the learning rate starts to fall to zero; 1 for never",
        minimum=0,
        maximum=1,
    )
    batch_size: int = setting(16, "transitions in a mini-batch", minimum=1, maximum=MAX_BATCH_SIZE)
    epochs: int = setting(4, "passes over the training records; the paper has 50", minimum=1)
    gradient_steps: int | None = setting(
        None, "gradient steps in all; overrides --epochs", minimum=1
    )
    validation_share: float = setting(
        0.1, "share of the records held out for validation", above=0, maximum=0.9
    )
    mixed_memories: bool = setting(
        False,
        "learn from an agent's memory and one of random play together, where there are both: F "
        "knows nothing of states that it never saw; on in the default preset",
        chooses=True,
    )
    precision: Literal["float32", "bf16", "auto"] = precision_setting()
    compile: bool = compile_setting()
    max_minutes: float | None = max_minutes_setting()

    def check(self) -> None:
        if self.action_block > self.blocks:
            raise UsageError(
                f"--action-block is {self.action_block}", f"there are only {self.blocks} blocks"
            )

    def without_effect(self, state_kind: str, options: dict[str, Any]) -> dict[str, str]:
        unused = {"epochs": "--gradient-steps says how long"} if self.gradient_steps else {}
        if state_kind == "grid":
            unused |= dict.fromkeys(
                ("action_block", "norm", "skips"), "the F of small pictures has none"
            )
        if state_kind == "image" and self.architecture == "folded":
            unused |= dict.fromkeys(("action_block", "norm", "skips"), "the folded F has none")
        if state_kind == "signal":
            unused |= dict.fromkeys(("action_block", "norm", "skips"), "the F of signals has none")
        if state_kind == "vector":
            unused |= dict.fromkeys(
                ("action_block", "norm", "prediction", "skips"), "it is for the F of images"
            )
        return unused
