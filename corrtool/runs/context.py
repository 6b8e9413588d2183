"""The context of a stage, and the frame around its work: finished, interrupted, or new."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar, cast

import torch

from corrtool.errors import ArtifactError, UsageError
from corrtool.project.artifacts import (
    Artifact,
    artifact_problems,
    find_artifacts,
    read_artifact,
    select_artifact,
)
from corrtool.project.directory import Project
from corrtool.project.locks import check_unlocked
from corrtool.project.manifests import PLAY_WORDS, Manifest, Play, play_of_memory
from corrtool.runs.loop import StopSignals
from corrtool.runs.opening import open_run
from corrtool.runs.records import read_record, run_directory, steps_done
from corrtool.runs.requests import (
    RunRequest,
    can_resume,
    cut_run,
    finished_result,
    identity_of,
    inputs_of,
    interrupted_at,
)
from corrtool.runs.results import Plan, StageResult
from corrtool.runs.resumable import State
from corrtool.runs.run import FollowerRun, Run
from corrtool.runtime.console import Console
from corrtool.runtime.machine import Machine, describe_machine
from corrtool.runtime.precision import compute_dtype, has_bf16_instructions
from corrtool.runtime.process import configure_process, configured_process
from corrtool.runtime.ranks import ONE_PROCESS, Ranks
from corrtool.settings.base import Settings
from corrtool.settings.stages import MADE_BY
from corrtool.tasks import Task

R = TypeVar("R", bound=StageResult)
Work = Callable[[Run, StopSignals, State | None], R]
LONGEST_NAME = 95  # learn-corr appends "-last", and no name has more than 100


@dataclass(frozen=True)
class StageContext:
    """Everything around a stage that is not one of its settings.

    ``in_a_row`` it is one of several that a command runs, which has no ``--overwrite``.
    """

    project: Project
    console: Console
    device: torch.device
    seed: int = 0
    name: str | None = None
    overwrite: bool = False
    dry_run: bool = False
    tensorboard: bool = False
    track: str | None = None
    keep_checkpoints: int = 1
    ranks: Ranks = ONE_PROCESS
    in_a_row: bool = False

    def run_name(self, settings: Settings, inputs: dict[str, Artifact], text: str) -> str:
        """``--name``; without it ``text`` and the seed, so that a loop over seeds needs no names.

        The seed 0 is left out, unless ``text`` has another one from what is read: no two runs may
        come to one name. Runs from before the seed was in the name keep theirs.
        """
        if self.name is not None:
            return self.name
        if (self.seed == 0 and "-seed" not in text) or self._run_exists(settings, inputs, text):
            return text
        seed = f"-seed{self.seed}"
        return text[: LONGEST_NAME - len(seed)] + seed

    def _run_exists(self, settings: Settings, inputs: dict[str, Artifact], name: str) -> bool:
        """True if a run of this name was made with this seed, these settings and these inputs."""
        try:
            record = read_record(run_directory(self.project.root, settings.stage, name))
        except (ArtifactError, UsageError):
            return False
        wanted = {"seed": self.seed, "settings": settings.identity(), "inputs": inputs_of(inputs)}
        return wanted.items() <= identity_of(record).items()

    def execute(self, request: RunRequest, work: Work[R]) -> R:
        """Do ``work`` for ``request``, unless it is done already; returns its result.

        A dry run returns its :class:`Plan` in the result's place.

        ``work`` gets the run, the stop signals and the state of the last checkpoint, if there is
        one. Of several ranks only the first has a result. To what ``work`` returns comes what every
        stage tells: see :meth:`_with_common_fields`.
        """
        with self.ranks.connected(self.device):
            if not self.ranks.first:
                return self._follow(request, work)
            announced = _AnnouncedWork(work, self.ranks, self.device)
            try:
                with self.ranks.together():
                    return self._begin(request, announced)
            finally:
                if not announced.begun:
                    self.ranks.broadcast(0, self.device)

    def _follow(self, request: RunRequest, work: Work[R]) -> R:
        """Do the first rank's work on another rank, once that one begins it.

        It leaves no trace on disk.
        """
        if not self.ranks.broadcast(0, self.device):
            return cast(R, {})
        configure_process(self.device, self.seed, request.state_kind)
        run = FollowerRun(self.project, request)
        with (
            StopSignals(polled=True),
            self.ranks.together(),
        ):  # asked to stop, they go on until the first has saved and left
            return work(run, StopSignals(), run.start(self.console.say))

    def _begin(self, request: RunRequest, work: Work[R]) -> R:
        result = (
            None if self.overwrite else cast("R | None", finished_result(self.project, request))
        )
        if self.dry_run:
            return cast(R, self._plan(request, result))
        if result is not None:
            return self._with_common_fields(request, self._already_done(request, result))
        with configured_process(self.device, self.seed, request.state_kind):
            return self._with_common_fields(request, self._execute(request, work))

    def _execute(self, request: RunRequest, work: Work[R]) -> R:
        with open_run(
            self.project,
            request,
            machine=self._machine(request.settings),
            overwrite=self.overwrite,
            tensorboard=self.tensorboard,
            track=self.track,
            keep_checkpoints=self.keep_checkpoints,
        ) as run:
            if (
                not self.overwrite
            ):  # somebody else may have finished it while this process waited for nothing
                done = cast("R | None", finished_result(self.project, request))
                if done is not None:
                    return self._already_done(request, done)
            for use, artifact in request.inputs.items():
                self.console.say(f"{request.settings.stage}: {use.replace('_', ' ')} is {artifact}")
            with StopSignals() as stop, self.console.used():
                result = work(run, stop, run.start(self.console.say))
            run.finish(result)
        return result

    def _machine(self, settings: Settings) -> Machine:
        """Machine and precision, for the run's record.

        Says what a person should know of that.
        """
        machine: Machine = {**describe_machine(self.device), "processes": self.ranks.count}
        precision = getattr(settings, "precision", None)
        if precision is not None:
            reduced = compute_dtype(precision, self.device) == torch.bfloat16
            machine["precision"] = "bf16" if reduced else "float32"
            if precision == "auto":
                self.console.say(f"computing in {machine['precision']}")
            if reduced and not has_bf16_instructions(self.device):
                self.console.say(
                    f"{self.device} has no instructions for bf16: it is emulated, and slower than "
                    "float32"
                )
        if getattr(settings, "compile", False):
            self.console.say(
                "the first steps compile the networks, which takes a minute or more; a cache keeps "
                "what they made"
            )
        return machine

    def _already_done(self, request: RunRequest, result: R) -> R:
        again = "" if self.in_a_row else "; the same command with --overwrite does it again"
        self.console.say(f"{request.settings.stage} {request.name} is done already{again}")
        return result

    def _with_common_fields(self, request: RunRequest, result: R) -> R:
        """A stage's result with what the results of all stages have in common (docs/cli.md)."""
        made = [read_artifact(self.project.root, kind, name) for kind, name in request.produces]
        common: StageResult = {
            "stage": request.settings.stage,
            "name": request.name,
            "artifacts": [artifact.reference() for artifact in made],
            "seed": request.seed,
            "settings": request.settings.to_json(),
            "metrics": _numbers(result),
        }
        return cast(R, {**common, **result})

    def _plan(self, request: RunRequest, result: StageResult | None) -> Plan:
        """The plan of a dry run; an equal run may be finished, with ``result``.

        Raises what would prevent it: a damaged input, a name that is being written.
        """
        for artifact in request.inputs.values():
            for problem in artifact_problems(self.project.root, artifact.kind, artifact.name):
                raise problem
        check_unlocked(self.project.root, request.locks)
        overwrites = self.overwrite and not can_resume(self.project, request)
        begun = None if overwrites else interrupted_at(self.project, request)
        plan: Plan = {
            "dry_run": True,
            "done": result is not None,
            "begun": begun is not None,
            "name": request.name,
            "device": str(self.device),
            "produces": [f"{kind} {name}" for kind, name in request.produces],
            "missing": [],
            "stage": request.settings.stage,
            "settings": request.settings.to_json(),
            "seed": request.seed,
            "tasks": request.tasks,
            "inputs": {use: f"{a.kind} {a.name}" for use, a in request.inputs.items()},
            "options": request.options,
        }
        if begun is not None and (steps := steps_done(begun["stage"])) is not None:
            plan["steps"] = steps
        if (result is not None and "cut" in result) or (
            begun is not None and cut_run(self.project, request) is not None
        ):
            plan["cut"] = True
        return plan

    def source_q(self, name: str | None = None) -> Artifact:
        """Q_S: the named Q-function, or the newest that was trained on the source task."""
        task = self.project.task("source")
        return self._select("q", name, task, "Q-function of the source task")

    def artifact_of_task(
        self, kind: str, name: str | None, task: Task, play: Play | None = None
    ) -> Artifact:
        """The named memory or model of ``task``, or the newest.

        Args:
            play: of a memory, if only one of such play will do.

        Raises :class:`ArtifactError`.
        """
        what = "memory" if kind == "memory" else "environment model"
        return self._select(kind, name, task, f"{what} of the {task.role} task", play)

    def _select(
        self, kind: str, name: str | None, task: Task, wanted: str, play: Play | None = None
    ) -> Artifact:
        of_task = partial(_mismatch, task, name is not None)
        mismatch = of_task if play is None else partial(_mismatch_of_play, of_task, play)
        made_by = MADE_BY[kind]
        if kind == "memory" and task.role == "source":
            agents = [
                a.name
                for a in find_artifacts(self.project.root, "q")
                if of_task(a.manifest) is None
            ]
            by_agent = "" if play == "random" or not agents else f" --policy q:{agents[0]}"
            made_by = f"collect --task source{by_agent}" if agents else "train-dqn"
        return select_artifact(self.project.root, kind, name, mismatch, wanted, made_by)

    def correspondence(self, name: str | None = None) -> Artifact:
        """The named correspondence, or the newest one between the two tasks.

        The best of a training, not its last.
        """
        source, target = self.project.task("source"), self.project.task("target")

        def mismatch(manifest: Manifest) -> str | None:
            described = manifest.get("tasks", {})
            if not all(
                task.is_compatible_with(
                    manifest.get(f"{task.role}_task_sha256"), described.get(task.role)
                )
                for task in (source, target)
            ):
                return "it was learnt between other tasks"
            if name is None and manifest.get("selection") != "best":
                return "it is the last of a training, not the best"
            return None

        return select_artifact(
            self.project.root,
            "corr",
            name,
            mismatch,
            "correspondence between its two tasks",
            MADE_BY["corr"],
        )


@dataclass
class _AnnouncedWork(Generic[R]):
    """The work of the first rank, which tells the others as it begins.

    They wait to know whether there is any.
    """

    work: Work[R]
    ranks: Ranks
    device: torch.device
    begun: bool = False

    def __call__(self, run: Run, stop: StopSignals, state: State | None) -> R:
        self.ranks.broadcast(1, self.device)
        self.begun = True
        return self.work(run, stop, state)


def _mismatch(task: Task, named: bool, manifest: Manifest) -> str | None:
    """Why an artifact does not fit a task; None if it does. The other role's has to be named."""
    role = manifest.get("role")
    described = manifest.get("tasks", {}).get(role) if isinstance(role, str) else None
    if not task.is_compatible_with(manifest.get("task_sha256"), described):
        return f"it was made on another task than {task}"
    if manifest.get("role") != task.role and not named:
        return f"it belongs to the {manifest.get('role')} task"
    return None


def _mismatch_of_play(
    otherwise: Callable[[Manifest], str | None], play: Play, manifest: Manifest
) -> str | None:
    """Why a memory does not fit where it must be of this kind of play; None if it does."""
    if play_of_memory(manifest) != play:
        return f"it is not of {PLAY_WORDS[play]}"
    return otherwise(manifest)


def _numbers(result: Mapping[str, object], prefix: str = "") -> dict[str, float]:
    """The numbers of a result; those of a table in it with its name before theirs."""
    found: dict[str, float] = {}
    for name, value in result.items():
        if isinstance(value, dict):
            found |= _numbers(value, f"{prefix}{name}_")
        elif type(value) in (int, float) and isinstance(value, int | float) and name != "seed":
            found[f"{prefix}{name}"] = value
    return found
