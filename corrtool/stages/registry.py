"""The stages, one record each, read by the command line, its reference, the workflows and the API.

Imports neither torch nor the settings until asked for: ``corrtool --help`` lists only summaries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from corrtool.runs.context import StageContext
    from corrtool.runs.results import StageResult
    from corrtool.settings.base import Settings


@dataclass(frozen=True)
class Option:
    """An option of a stage that is not a setting: something it does as well, or instead."""

    name: str
    kind: Any
    default: Any
    help: str


@dataclass(frozen=True)
class Stage:
    """A step of the paper.

    Attributes:
        name: its subcommand, its section of ``corrtool.toml`` and its directory in ``runs/``.
        summary: what it does, as ``--help`` says it.
        function: where it is done, ``module:function``.
        options: those that are not settings.
        learns: whether it writes metrics and checkpoints that somebody may want to see.
        splits: whether the processes of torchrun can share its mini-batches.
        comes_after: the stages whose artifacts it plays or learns on with, where it follows one of
            them in a sweep.
    """

    name: str
    summary: str
    function: str
    options: tuple[Option, ...] = ()
    learns: bool = True
    splits: bool = False
    comes_after: tuple[str, ...] = ()

    @property
    def settings(self) -> type[Settings]:
        """Its settings class, which also says what it reads and makes."""
        from corrtool.settings.stages import STAGE_SETTINGS

        return STAGE_SETTINGS[self.name]

    @property
    def inputs(self) -> dict[str, str]:
        """The artifacts it reads that can be named, each with its help."""
        return self.settings.inputs

    @property
    def makes(self) -> tuple[str, ...]:
        """The kinds of artifacts it writes."""
        return self.settings.makes

    def run(self, context: StageContext, settings: Settings, **arguments: Any) -> StageResult:
        """Run it, unless it is done; returns its result.

        Args:
            arguments: inputs and options, by name.
        """
        module, _, name = self.function.partition(":")
        function: Callable[..., StageResult] = getattr(import_module(module), name)
        return function(context, settings, **arguments)

    def result_lines(self, result: Any) -> list[str]:
        """What it came to, in lines for people: by the function of its name there."""
        from corrtool.reporting import result_lines  # imported late: --help needs none of it

        lines: Callable[[Any], list[str]] = getattr(result_lines, self.name.replace("-", "_"))
        return lines(result)


_NO_CORR = Option("no_corr", bool, False, "reuse the Q-function directly, without a correspondence")

STAGES = {
    stage.name: stage
    for stage in (
        Stage(
            name="train-dqn",
            summary="Learn a Q-function by DQN (Algorithm 2), by default of the source task; "
            "keep the newest records as its memory.",
            function="corrtool.stages.train_dqn:train_dqn",
            options=(
                Option(
                    "extend",
                    bool,
                    False,
                    "go on from the finished run of this name to a larger --env-steps; nothing "
                    "else may differ",
                ),
            ),
        ),
        Stage(
            name="collect",
            summary="Play a task, by default the target at random, and write a replay memory.",
            function="corrtool.stages.collect:collect",
            learns=False,
        ),
        Stage(
            name="train-model",
            summary="Learn the environment model F of the source task from a memory "
            "(appendix 6.1).",
            function="corrtool.stages.train_model:train_model",
            splits=True,
        ),
        Stage(
            name="learn-corr",
            summary=(
                "Learn the correspondence function (eq. 8-13), with play tests along the way. GAN "
                "is --lambda-cyc 0 --lambda-q 0 --lambda-m 0; CycleGAN is --lambda-cyc 10 "
                "--lambda-q 0 --lambda-m 0 --cycle-loss printed."
            ),
            function="corrtool.stages.learn_corr:learn_corr",
            splits=True,
        ),
        Stage(
            name="evaluate",
            summary="Play fresh games, by default of the target with the newest correspondence, "
            "and report every return.",
            function="corrtool.stages.evaluate:evaluate",
            options=(
                _NO_CORR,
                Option(
                    "video",
                    Path | None,
                    None,
                    "file for a video of one more game, .mp4 or .gif; replaced if it is there. "
                    "Vectors are shown as numbers and signals as waveforms, beside the "
                    "environment's own picture",
                ),
            ),
            learns=False,
            comes_after=("train-dqn", "learn-corr", "finetune"),
        ),
        Stage(
            name="finetune",
            summary="Go on learning on the target task by DQN, with the correspondence held fixed.",
            function="corrtool.stages.finetune:finetune",
            options=(
                _NO_CORR,
                Option(
                    "from_scratch", bool, False, "start from new weights, without a correspondence"
                ),
            ),
            comes_after=("learn-corr",),
        ),
    )
}
