"""Several stages one after another in one project.

As ``quickstart``, ``transfer`` and ``reproduce`` run them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias, cast

from corrtool.errors import ArtifactError
from corrtool.pretrained import PONG, adopt
from corrtool.project.artifacts import artifact_path
from corrtool.project.defaults import project_seed
from corrtool.project.directory import Project
from corrtool.reporting.evaluations import STICKY
from corrtool.runs.records import RunRecord, read_record, run_directories
from corrtool.runs.results import EvaluateResult, Plan, Returns, StageResult, TrainDqnResult
from corrtool.runtime.console import Console
from corrtool.settings.stages import TrainModelSettings
from corrtool.workflows.call import StageCall, command_anew

SOURCE_DQN = "source-dqn"
SOURCE_PLAY = "source-play"
TARGET_PLAY = "target-random"


# How fresh games are played: without sticky actions and with those of the reports' tables, whatever
# the task has.
PROTOCOLS: tuple[dict[str, Any], ...] = tuple(
    {"repeat_action_probability": probability} for probability in (0.0, STICKY)
)

OnResult: TypeAlias = Callable[[str, StageResult], None]


@dataclass(frozen=True)
class SourceAgent:
    """Names of what is known of the source task: Q_S, F and M_S."""

    q: str
    model: str
    source_memory: str


PRETRAINED_AGENT = SourceAgent(PONG, PONG, SOURCE_PLAY)
LEARNT_AGENT = SourceAgent(SOURCE_DQN, SOURCE_DQN, SOURCE_DQN)


@dataclass(frozen=True)
class Pipeline:
    """Stages of one project, one after the other.

    Attributes:
        calls: what is said of each stage before anything else is.
        on_result: called with the name and the result of each stage that ends.
        to_come: names of what the stages of a dry run would make.
    """

    project: Project
    console: Console
    calls: Mapping[str, StageCall]
    on_result: OnResult
    to_come: set[str] = field(default_factory=set)

    def run(
        self,
        stage: str,
        given: dict[str, Any] | None = None,
        *,
        name: str | None = None,
        seed: int | None = None,
        overwrite: bool = False,
        **options: Any,
    ) -> StageResult:
        """Run one stage, unless it is done already; in a dry run, its plan is the result.

        Args:
            given: settings that nothing else decides.
            name: of what the stage makes; otherwise made from the settings.
            seed: otherwise that of the calls.
            overwrite: replace what has the name.
            options: the stage's inputs and options that are not settings.
        """
        call = self.call(stage, given, name=name, seed=seed, **options)
        if overwrite:
            call = replace(call, common=replace(call.common, overwrite=True))
        result = call.execute(self.project, self.console)
        if call.common.dry_run:
            made = cast(Plan, result)["produces"]
            self.to_come.update(artifact.partition(" ")[2] for artifact in made)
        self.on_result(stage, result)
        return result

    def call(
        self,
        stage: str,
        given: dict[str, Any] | None = None,
        *,
        name: str | None = None,
        seed: int | None = None,
        **options: Any,
    ) -> StageCall:
        """The call that :meth:`run` carries out."""
        call = self.calls[stage]
        common = replace(call.common, name=name, seed=call.common.seed if seed is None else seed)
        return replace(
            call,
            common=common,
            settings=call.settings | (given or {}),
            options=call.options | options,
            from_environment=call.from_environment - options.keys(),
            to_come=frozenset(self.to_come),
            in_a_row=True,
        )

    def evaluate(
        self, given: dict[str, Any] | None = None, **more: Any
    ) -> tuple[EvaluateResult, EvaluateResult]:
        """Evaluate with both of the :data:`PROTOCOLS`."""
        plain, sticky = (
            self.run("evaluate", (given or {}) | protocol, **more) for protocol in PROTOCOLS
        )
        return cast(EvaluateResult, plain), cast(EvaluateResult, sticky)

    def command_anew(self, path: Path) -> str | None:
        """The command that makes again the artifact to which a file belongs; None if no run did."""
        root = self.project.root
        for directory in run_directories(root):
            with contextlib.suppress(ArtifactError):
                record = read_record(directory)
                for made in record["artifacts"]:
                    if path.is_relative_to(artifact_path(root, made["kind"], made["name"])):
                        return self._command_of(record)
        return None

    def _command_of(self, record: RunRecord) -> str:
        """The command that does a run again, with settings that no preset or file gives."""
        stage, settings = str(record["stage"]), record["settings"]
        task = {"task": settings["task"]} if "task" in settings else {}
        call = self.call(stage, task)
        resolved = call.resolved(self.project, Console(quiet=True)).to_json()
        other = {name: value for name, value in settings.items() if value != resolved.get(name)}
        options = {key: said for key, said in record["options"].items() if key in call.options}
        is_same = record["seed"] == project_seed(self.project, call.common.seed)
        seed = None if is_same else record["seed"]
        inputs = {use: parent["name"] for use, parent in record["parents"].items()}
        call = self.call(stage, task | other, seed=seed, **options)
        return command_anew(call, self.project, record["name"], inputs)

    def source_agent(self, *, from_scratch: bool) -> SourceAgent:
        """Q_S and F of Pong that come with corrtool, and M_S played with that Q_S.

        ``from_scratch``, all three learnt here.

        What the project holds already of this is used if it was made with the same settings. Raises
        :class:`UsageError` otherwise.
        """
        if not from_scratch:
            for kind in ("q", "model"):
                adopt(self.project, kind, PONG)
            self.run("collect", {"task": "source", "policy": f"q:{PONG}"}, name=SOURCE_PLAY)
            return PRETRAINED_AGENT
        learnt = cast(TrainDqnResult, self.run("train-dqn", name=SOURCE_DQN))
        resolved = self.calls["train-model"].resolved(self.project, self.console)
        mixed = cast(TrainModelSettings, resolved).mixed_memories
        random = learnt.get("random_memory") if mixed else None  # by name: there may be newer ones
        self.run("train-model", name=SOURCE_DQN, memory=SOURCE_DQN, random_memory=random)
        return LEARNT_AGENT


def returns_of(evaluation: EvaluateResult) -> Returns:
    """What a row of a table has of an evaluation."""
    return {
        "returns": evaluation["returns"],
        "mean_return": evaluation["mean_return"],
        "ci95": evaluation["ci95"],
        "distinct_games": evaluation["distinct_games"],
    }
