"""Several stages one after another in one project, as ``quickstart`` and ``reproduce`` run them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

from corrtool.pretrained import PONG, adopt
from corrtool.project.defaults import resolve_settings
from corrtool.reporting.evaluations import STICKY
from corrtool.runs.context import StageContext
from corrtool.runs.results import EvaluateResult, StageResult, TrainDqnResult
from corrtool.settings.base import Settings
from corrtool.settings.stages import TrainModelSettings
from corrtool.stages.registry import STAGES

SOURCE_DQN = "source-dqn"
SOURCE_PLAY = "source-play"
TARGET_PLAY = "target-random"


OnResult: TypeAlias = Callable[[str, StageResult], None]


@dataclass(frozen=True)
class SourceAgent:
    """Names of what is known of the source task: Q_S, F and M_S."""

    q: str
    model: str
    source_memory: str


@dataclass(frozen=True)
class Pipeline:
    """Run stages with settings from ``preset``.

    ``on_result`` is called with the name and the result of each that ends.
    """

    context: StageContext
    preset: str
    on_result: OnResult

    def run(
        self,
        stage: str,
        given: dict[str, Any] | None = None,
        *,
        name: str | None = None,
        seed: int | None = None,
        **inputs: Any,
    ) -> StageResult:
        """Run one stage, unless it is done already.

        Args:
            given: settings that the preset does not decide.
            name: of what the stage makes; otherwise made from the settings.
            seed: otherwise the context's.
            inputs: the stage's inputs and options that are not settings.
        """
        settings = self._settings(stage, given or {})
        context = replace(self.context, name=name, seed=self.context.seed if seed is None else seed)
        result = STAGES[stage].run(context, settings, **inputs)
        self.on_result(stage, result)
        return result

    def _settings(self, stage: str, given: dict[str, Any]) -> Settings:
        return resolve_settings(
            self.context.project,
            STAGES[stage].settings,
            self.preset,
            given,
            say=self.context.console.say,
        )

    def evaluate(
        self, given: dict[str, Any] | None = None, **more: Any
    ) -> tuple[EvaluateResult, EvaluateResult]:
        """Evaluate without sticky actions and with those of the reports' tables.

        Whatever the task has.
        """
        plain, sticky = (
            self.run("evaluate", (given or {}) | {"repeat_action_probability": probability}, **more)
            for probability in (0.0, STICKY)
        )
        return cast(EvaluateResult, plain), cast(EvaluateResult, sticky)

    def source_agent(self, *, from_scratch: bool) -> SourceAgent:
        """Q_S and F of Pong that come with corrtool, and M_S played with that Q_S.

        ``from_scratch``, all three learnt here.

        What the project holds already of this is used if it was made with the same settings. Raises
        :class:`UsageError` otherwise.
        """
        project = self.context.project
        if not from_scratch:
            for kind in ("q", "model"):
                adopt(project, kind, PONG)
            self.run("collect", {"task": "source", "policy": f"q:{PONG}"}, name=SOURCE_PLAY)
            return SourceAgent(PONG, PONG, SOURCE_PLAY)
        learnt = cast(TrainDqnResult, self.run("train-dqn", name=SOURCE_DQN))
        mixed = cast(TrainModelSettings, self._settings("train-model", {})).mixed_memories
        random = learnt.get("random_memory") if mixed else None  # by name: there may be newer ones
        self.run("train-model", name=SOURCE_DQN, memory=SOURCE_DQN, random_memory=random)
        return SourceAgent(SOURCE_DQN, SOURCE_DQN, SOURCE_DQN)
