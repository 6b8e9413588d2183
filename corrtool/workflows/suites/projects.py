"""The projects of a suite, and which command comes next in each.

``DIR/SOURCE/source-SEED`` learns the agent and the environment model that the pairs of a source
share; ``DIR/SOURCE/PAIR/seed-SEED`` is a pair, which begins with a copy of them. What is done the
projects tell: there is no other state.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from corrtool.errors import ArtifactError
from corrtool.experiments.pairs import Pair, SourceTask
from corrtool.files.atomic import publish_directory
from corrtool.project.artifacts import artifact_names, artifact_problems
from corrtool.project.directory import PROJECT_FILE
from corrtool.reporting.suite import Played, read_played, without_players
from corrtool.workflows.suites.methods import OURS, commands_of

_SHARED = ("memories", "weights", "runs")


@dataclass(frozen=True)
class Cell:
    """A pair, a seed and a method. Of a control only ``ours`` is played."""

    pair: Pair
    seed: int
    method: str

    def __str__(self) -> str:
        return f"{self.pair.name} seed {self.seed} {self.method}"


@dataclass(frozen=True)
class Command:
    """What is to be run next for a cell.

    Attributes:
        shared: whether all cells of its source and seed need it.
        publishes: the project that is made in a place beside it, and the one it copies from.
    """

    words: tuple[str, ...]
    log: Path
    shared: bool = False
    publishes: tuple[Path, Path] | None = None

    def finish(self) -> None:
        """Put a project that was made into its place, with all that its source's has."""
        if self.publishes is None:
            return
        project, base = self.publishes
        made = partial(project)
        for part in _SHARED:
            if (base / part).exists():
                shutil.copytree(base / part, made / part, dirs_exist_ok=True)
        publish_directory(made, project)


@dataclass(frozen=True)
class Suite:
    """Where a suite lies, and with which options of every stage.

    Attributes:
        options: such as ``--preset tiny``, of all commands but ``init``.
        known: what other machines have played.
    """

    root: Path
    options: tuple[str, ...] = ()
    known: tuple[Played, ...] = ()

    def source_project(self, source: SourceTask, seed: int) -> Path:
        """Where the agent of a source is learnt."""
        return self.root / source.name / f"source-{seed}"

    def project(self, pair: Pair, seed: int) -> Path:
        """Where a pair is played."""
        return self.root / pair.name / f"seed-{seed}"

    def played(self, pair: Pair, seed: int) -> list[Played]:
        """What was played of a pair so far: here, and of other players elsewhere.

        Each beside the agent and the random play that it was played with.
        """
        here = self.played_here(pair, seed)
        found = [here] if here is not None and here["means"] else []
        for elsewhere in self.known:
            if (elsewhere["pair"], elsewhere["seed"]) == (pair.name, seed):
                rest = without_players(elsewhere, {who for one in found for who in one["means"]})
                found += [] if rest is None else [rest]
        return found

    def played_here(self, pair: Pair, seed: int) -> Played | None:
        """What was played in the project of a pair; None where there is none yet."""
        return read_played(self.project(pair, seed), pair.name, seed)

    def is_done(self, cell: Cell) -> bool:
        """True if the games of a cell have been played."""
        return any(cell.method in one["means"] for one in self.played(cell.pair, cell.seed))

    def next_command(self, cell: Cell, done: Sequence[tuple[str, ...]]) -> Command | None:
        """What comes next for a cell; None where all of its games are played.

        Args:
            done: the words of the cell's commands that have ended well already.
        """
        if self.is_done(cell):
            return None
        return self._of_source(cell) or self._of_pair(cell, done)

    def _of_source(self, cell: Cell) -> Command | None:
        """What its agent and environment model lack."""
        source, seed = cell.pair.source, cell.seed
        project = self.source_project(source, seed)
        log = self.root / "logs" / f"{source.name}-{seed}.log"
        if not (project / PROJECT_FILE).exists():
            pretrained = ["--pretrained"] if source.pretrained else []
            words = ("init", str(project), "--source", source.id, *source.init, *pretrained)
            return Command(words, log, shared=True)
        for kind, stage in (("q", "train-dqn"), ("model", "train-model")):
            if not artifact_names(project, kind):
                return Command(self._words([stage], project, seed), log, shared=True)
        return None

    def _of_pair(self, cell: Cell, done: Sequence[tuple[str, ...]]) -> Command:
        """What its project lacks: itself, or the next of the method's commands."""
        project = self.project(cell.pair, cell.seed)
        log = self.root / "logs" / f"{cell.pair.name.replace('/', '-')}-{cell.seed}.log"
        if not (project / PROJECT_FILE).exists():
            base, made = self.source_project(cell.pair.source, cell.seed), partial(project)
            _check_whole(base)
            shutil.rmtree(made, ignore_errors=True)
            return Command(("init", str(made), *cell.pair.flags), log, publishes=(project, base))
        methods = [cell.method]
        here = self.played_here(cell.pair, cell.seed)
        if here is None or OURS not in here["means"]:
            methods.insert(0, OURS)  # whose memories the others take
        commands = [
            self._words(words, project, cell.seed)
            for method in dict.fromkeys(methods)
            for words in commands_of(method, cell.pair)
        ]
        left = [words for words in commands if words not in done]
        return Command((left or commands[-1:])[0], log)

    def _words(self, command: list[str], project: Path, seed: int) -> tuple[str, ...]:
        return (*command, "--project", str(project), "--seed", str(seed), *self.options)


def _check_whole(base: Path) -> None:
    """Check every byte of what all pairs of a source begin with, lest each copies the damage.

    Raises :class:`ArtifactError`.
    """
    for kind in ("memory", "q", "model"):
        for name in artifact_names(base, kind):
            for problem in artifact_problems(base, kind, name):
                raise ArtifactError(
                    f"{problem}, and all pairs of {base.name} begin with a copy of it",
                    f"remove it, so that it is made again, or all of {base}",
                )


def partial(project: Path) -> Path:
    """Where a project is made before it is in its place."""
    return project.with_name(f".{project.name}.partial")
