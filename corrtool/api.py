"""corrtool from Python.

A project whose stages are methods, and what was learnt, to play with (docs/api.md).

The methods do what the subcommands do, by the same functions. Nothing is printed, no signal handler
is installed, and torch is left as it was found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack, cast

from torch import nn

from corrtool.api_exchange import Exchange
from corrtool.arguments import (
    CollectArguments,
    EvaluateArguments,
    FinetuneArguments,
    LearnCorrArguments,
    PreprocessingArguments,
    TrainDqnArguments,
    TrainModelArguments,
)
from corrtool.correspondence import saved as correspondences
from corrtool.correspondence.model import Correspondence
from corrtool.exchange import hub, hub_pull
from corrtool.exchange.methods import MemoryMethods
from corrtool.play.agent import Agent
from corrtool.play.environment import TaskEnvironment
from corrtool.project.artifacts import artifact_at
from corrtool.project.defaults import project_device, project_seed
from corrtool.project.directory import find_project
from corrtool.q_learning import saved as q_functions
from corrtool.reporting.explanation import Explanation
from corrtool.runs.commands import recording_command
from corrtool.runs.context import StageContext
from corrtool.runs.overview import ArtifactStatus, describe_artifacts
from corrtool.runs.results import (
    CollectResult,
    EvaluateResult,
    FinetuneResult,
    LearnCorrResult,
    StageResult,
    TrainDqnResult,
    TrainModelResult,
)
from corrtool.runtime.console import Console
from corrtool.runtime.device import resolve_device
from corrtool.runtime.library import StrPath, as_library, stage_lock
from corrtool.runtime.process import preserving_torch_state
from corrtool.settings.base import Preset
from corrtool.settings.budget import Budget, minutes_of
from corrtool.settings.common import CommonOptions
from corrtool.stages.players import check_player, choose_player
from corrtool.stages.registry import STAGES, Stage
from corrtool.tasks import Task, probe
from corrtool.workflows.call import call_with, command_of, command_words, plain_calls
from corrtool.workflows.init import NamedTask, init
from corrtool.workflows.pipeline import Pipeline
from corrtool.workflows.transfer import TransferResult, transfer


def open_project(path: StrPath | None = None, *, verbose: bool = False) -> OpenedProject:
    """Open a project directory, such as ``corrtool init`` makes.

    Args:
        path: without it, the nearest parent with a ``corrtool.toml``.
        verbose: whether stages write messages and progress to stderr, as the command line does.

    Raises:
        ArtifactError: the directory is not a project.
        UsageError: its ``corrtool.toml`` cannot be understood.
    """
    with as_library():
        found = find_project(None if path is None else Path(path))
    return OpenedProject(found.root, verbose=verbose)


def init_project(
    path: StrPath,
    *,
    source: str,
    target: str | None = None,
    source_view: Sequence[str] = (),
    target_view: Sequence[str] = (),
    source_kwargs: dict[str, Any] | None = None,
    target_kwargs: dict[str, Any] | None = None,
    pretrained: bool = False,
    overwrite: bool = False,
    **preprocessing: Unpack[PreprocessingArguments],
) -> OpenedProject:
    """Make a project directory as ``corrtool init`` does, whose help says what each argument is.

    Raises:
        UsageError: a task cannot be made, the two do not fit each other, or the directory is a
            project already.
    """
    if target is None:
        target, target_kwargs = source, target_kwargs or source_kwargs
    with stage_lock, as_library():
        made = init(
            Path(path),
            NamedTask(source, source_view, source_kwargs or {}),
            NamedTask(target, target_view, target_kwargs or {}),
            dict(preprocessing),
            pretrained=pretrained,
            overwrite=overwrite,
        )
    return OpenedProject(made.project.root)


def pull(repository: str, path: StrPath, *, overwrite: bool = False) -> OpenedProject:
    """Download ``OWNER/REPO`` or ``OWNER/REPO@REVISION`` of the Hub into a new project or an old.

    Raises :class:`CorrtoolError`; where a file is missing or damaged nothing has changed.
    """
    with as_library():
        wanted = hub.Repository.parse(repository)
        hub_pull.pull(Path(path), wanted, Console(quiet=True), overwrite=overwrite)
    return open_project(path)


def load_q_function(path: StrPath, device: str = "cpu") -> nn.Module:
    """The Q-function of a weights file, frozen.

    It maps states (N, …) in the range "q" of ``corrtool.states`` to values (N, A).

    Raises:
        ArtifactError: the file is missing, damaged, or holds no Q-function.
        DeviceError: the device is not there.
    """
    with as_library():
        file = Path(path)
        return q_functions.load_q_function(
            artifact_at(file, "q", file.stem), resolve_device(device, "device")
        )


def load_correspondence(path: StrPath, device: str = "cpu") -> Correspondence:
    """The correspondence of a weights file, frozen; its ``translate`` takes raw target states.

    Raises:
        ArtifactError: the file is missing, damaged, or holds no correspondence.
        DeviceError: the device is not there.
    """
    with as_library():
        file = Path(path)
        artifact = artifact_at(file, "corr", file.stem)
        return correspondences.load_correspondence(artifact, resolve_device(device, "device"))


class OpenedProject(Exchange, MemoryMethods):
    """A project directory, of which each stage is a method.

    A method does what its subcommand does, and returns what that prints with ``--json``: with
    ``dry_run`` a ``corrtool.runs.results.Plan`` in the result's place. Arguments
    are the subcommand's options with ``_`` for ``-``; what is not given comes from
    ``corrtool.toml``, the preset and the defaults. Environment variables speak to the command line
    alone, but for ``CORRTOOL_TRUST``.

    Every method raises ``CorrtoolError``; ``corrtool.errors`` lists its kinds. A stage that
    was interrupted goes on when it is called again with the same arguments. Stages of one process
    wait for each other.

    Attributes:
        root: the directory.
    """

    def __init__(self, root: Path, *, verbose: bool = False) -> None:
        self.root = root
        self._console = Console(quiet=not verbose)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.root)!r})"

    def train_dqn(self, **arguments: Unpack[TrainDqnArguments]) -> TrainDqnResult:
        """Learn a Q-function by DQN, by default of the source task, and keep its newest records."""
        return cast(TrainDqnResult, self._run(STAGES["train-dqn"], arguments))

    def collect(self, **arguments: Unpack[CollectArguments]) -> CollectResult:
        """Play a task, by default the target at random, and write a replay memory."""
        return cast(CollectResult, self._run(STAGES["collect"], arguments))

    def train_model(self, **arguments: Unpack[TrainModelArguments]) -> TrainModelResult:
        """Learn the environment model F of the source task from a memory."""
        return cast(TrainModelResult, self._run(STAGES["train-model"], arguments))

    def learn_corr(self, **arguments: Unpack[LearnCorrArguments]) -> LearnCorrResult:
        """Learn the correspondence function, with play tests along the way."""
        return cast(LearnCorrResult, self._run(STAGES["learn-corr"], arguments))

    def evaluate(self, **arguments: Unpack[EvaluateArguments]) -> EvaluateResult:
        """Play fresh games, by default of the target with the newest correspondence."""
        return cast(EvaluateResult, self._run(STAGES["evaluate"], arguments))

    def finetune(self, **arguments: Unpack[FinetuneArguments]) -> FinetuneResult:
        """Go on learning on the target task by DQN, with the correspondence held fixed."""
        return cast(FinetuneResult, self._run(STAGES["finetune"], arguments))

    def transfer(
        self,
        *,
        from_q: str | None = None,
        games: int | None = None,
        budget: str | None = None,
        seed: int | None = None,
        device: str | None = None,
        preset: Preset | None = None,
        dry_run: bool = False,
    ) -> TransferResult:
        """Do what is missing from an agent to the table of who plays the target how well.

        Args:
            from_q: the source agent's Q-function; otherwise the newest, or one that is learnt here.
            games: of each evaluation.
            budget: time for all of it, such as ``"20m"``.
            dry_run: return a ``corrtool.workflows.transfer.TransferPlan`` instead.
        """
        common = CommonOptions(seed=seed, device=device, preset=preset, dry_run=dry_run)
        said = {"from_q": from_q, "games": games, "budget": budget, "device": device}
        with stage_lock, as_library(), preserving_torch_state():
            project, limit = self._project(), None if budget is None else minutes_of(budget)
            pipeline = Pipeline(project, self._console, plain_calls(common), lambda *_: None)
            with recording_command(command_words("transfer", common, project, said)):
                result = transfer(pipeline, from_q=from_q, games=games, budget=Budget(limit))
        return cast(TransferResult, result)

    def explain(
        self, name: str | None = None, *, seed: int | None = None, device: str | None = None
    ) -> Explanation:
        """Say why a correspondence, by default the newest, transfers or not, and what to try.

        No game is played. Pictures go to ``report/explain/NAME/``.

        Raises:
            ArtifactError: there is none, or a memory that it was learnt from is gone.
        """
        # Not above: it imports matplotlib, for which no other method should have to wait.
        from corrtool.workflows.explain import explain

        with stage_lock, as_library():
            project = self._project()
            return explain(
                project,
                self._console,
                project_device(project, device),
                name,
                seed=project_seed(project, seed),
            )

    def artifacts(self) -> list[ArtifactStatus]:
        """Every memory and network, as ``status --json`` lists them, after checking every byte."""
        with as_library():
            return describe_artifacts(self._project())

    def task(self, role: str = "target") -> Task:
        """The ``"source"`` or the ``"target"`` task."""
        with as_library():
            return self._project().task(role)

    def environment(self, role: str = "target") -> TaskEnvironment:
        """A task as a Gymnasium environment, one game at a time."""
        with as_library():
            return TaskEnvironment(self._project().task(role))

    def load_agent(
        self,
        role: str = "target",
        *,
        q: str | None = None,
        corr: str | None = None,
        no_corr: bool = False,
        device: str = "cpu",
    ) -> Agent:
        """The agent that plays a task as ``evaluate`` would.

        Args:
            q: name of a Q-function; otherwise the newest that fits.
            corr: name of a correspondence, likewise.
            no_corr: play directly, without a correspondence.
        """
        with as_library():
            context = self._context(device)
            task = context.project.task(role)
            player, (spec, actions) = (
                choose_player(context, task, q=q, corr=corr, no_corr=no_corr),
                probe(task),
            )
            check_player(player, spec, actions)
            q_values = player.q_values(spec, context.device)
            assert q_values is not None  # who was chosen does not play at random
            return Agent(q_values, context.device)

    def load_q_function(self, name: str | None = None, *, device: str = "cpu") -> nn.Module:
        """The named Q-function, or the newest of the source task: see ``load_q_function``."""
        with as_library():
            context = self._context(device)
            return q_functions.load_q_function(context.source_q(name), context.device)

    def load_correspondence(
        self, name: str | None = None, *, device: str = "cpu"
    ) -> Correspondence:
        """The named correspondence, or the newest, as ``load_correspondence`` loads it."""
        with as_library():
            context = self._context(device)
            return correspondences.load_correspondence(context.correspondence(name), context.device)

    def _context(self, device: str) -> StageContext:
        return StageContext(self._project(), self._console, resolve_device(device, "device"))

    def _run(self, stage: Stage, arguments: Mapping[str, Any]) -> StageResult:
        with stage_lock, as_library(), preserving_torch_state():
            call, project = call_with(stage, arguments), self._project()
            with recording_command(command_of(call, project)):
                return call.execute(project, self._console)
