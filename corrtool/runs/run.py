"""A run: one execution of a stage, with its settings, metrics and checkpoint under ``runs/``."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from corrtool.errors import ArtifactError
from corrtool.files.atomic import (
    inside,
    publish_directory,
    publish_file,
    recover_directory,
    remove_partial,
    replaced_path,
    set_aside,
    write_atomic,
)
from corrtool.files.sealed import damaged, seal_json
from corrtool.project.artifacts import Artifact, artifact_path, save_weights
from corrtool.project.directory import Project
from corrtool.project.locks import lock_artifacts
from corrtool.project.manifests import About, Manifest, Origin
from corrtool.project.memory_files import seal_memory
from corrtool.runs.checkpoints import CHECKPOINT, checkpoint_paths, save_checkpoint
from corrtool.runs.commands import this_command
from corrtool.runs.metrics import MetricsLog, NoMetrics
from corrtool.runs.records import (
    STAGED_MEMORY,
    Checkpoint,
    RunRecord,
    newest_checkpoint,
    read_record,
    run_directory,
)
from corrtool.runs.requests import RunRequest, can_resume
from corrtool.runs.results import StageResult
from corrtool.runs.resumable import Resumable, State
from corrtool.runtime.machine import Machine


class Run:
    """An opened run, under the locks of its artifacts. Made by :func:`open_run`."""

    def __init__(
        self,
        project: Project,
        request: RunRequest,
        machine: Machine,
        *,
        overwrites: bool,
        tensorboard: bool,
        keep_checkpoints: int,
    ) -> None:
        self.project = project
        self.request = request
        self.machine = machine
        self.directory = run_directory(project.root, request.settings.stage, request.name)
        self.checkpoint_path = self.directory / CHECKPOINT
        self.keep_checkpoints = keep_checkpoints
        self.overwrites = overwrites
        self.resumptions = 0
        self._began, self._earlier_seconds = time.monotonic(), 0.0
        self._tensorboard = tensorboard
        self._published: list[Artifact] = []
        self.metrics: MetricsLog

    def start(self, say: Callable[[str], None]) -> State | None:
        """The state of the last checkpoint that is whole, or None.

        Opens the metrics where that state left them.

        Raises:
            ArtifactError: there are checkpoints, and none of them is whole.
        """
        state = self._last_checkpoint(say)
        if state is not None:
            with self.restoring():
                self._check_fingerprint(state)
                self.resumptions = int(state["resumptions"]) + 1
                self.overwrites |= bool(state["overwrites"])
                self._earlier_seconds = float(state["seconds"])
        self._write_record("running", {})  # before all else that is in its directory
        self.metrics = MetricsLog(
            self.directory, None if state is None else state["metrics"], self._tensorboard
        )
        return None if state is None else state["stage"]

    def _check_fingerprint(self, state: Checkpoint) -> None:
        """Check that a checkpoint is of this run.

        One with older settings is rewritten with the present ones.

        Raises:
            ArtifactError: it is of another run.
        """
        if state["fingerprint"] == self.request.fingerprint:
            return
        record = read_record(self.directory)
        if state["fingerprint"] != record["fingerprint"] or not self.request.matches(record):
            raise ArtifactError(
                f"{self.checkpoint_path} belongs to a run with other settings", "use --overwrite"
            )
        state["fingerprint"] = self.request.fingerprint
        save_checkpoint(
            self.checkpoint_path, state
        )  # before the record: else a kill between them would part the two

    def _last_checkpoint(self, say: Callable[[str], None]) -> Checkpoint | None:
        """The newest whole checkpoint's state.

        It becomes the only one, as the journal continues from it.
        """
        newest = newest_checkpoint(self.directory)
        if newest is None:
            return None
        path, state, problems = newest
        for problem in problems:
            say(f"{problem.message}; resuming from {path.name}, which is older")
        if path != self.checkpoint_path:
            publish_file(path, self.checkpoint_path)
        for other in checkpoint_paths(self.directory)[1:]:
            other.unlink()
        return state

    @contextmanager
    def restoring(self) -> Iterator[None]:
        """Around what a stage puts back from its checkpoint.

        What does not fit there was sealed by somebody else.

        Raises:
            ArtifactError: the checkpoint is damaged.
        """
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except (
            KeyError,
            IndexError,
            TypeError,
            ValueError,
            AttributeError,
            OverflowError,
            RuntimeError,
        ) as error:
            raise damaged(self.checkpoint_path) from error

    def restore(self, resumable: Resumable, state: Any) -> None:
        """Put ``state``, which a checkpoint held, back into ``resumable``.

        Raises:
            ArtifactError: it does not fit there.
        """
        with self.restoring():
            resumable.load_state(state)

    @property
    def seconds(self) -> float:
        """Wall time spent on this run.

        Without what a killed process did after its last checkpoint.
        """
        return self._earlier_seconds + time.monotonic() - self._began

    def save(self, stage_state: State) -> None:
        """Write a checkpoint: ``stage_state`` and where the metrics stand."""
        self._check_exists()
        state: Checkpoint = {
            "fingerprint": self.request.fingerprint,
            "resumptions": self.resumptions,
            "overwrites": self.overwrites,
            "seconds": self.seconds,
            "metrics": self.metrics.sync(),
            "stage": stage_state,
        }
        save_checkpoint(self.checkpoint_path, state, self.keep_checkpoints)

    def origin(self) -> Origin:
        """What the record of this run and the manifests of all its artifacts say."""
        request = self.request
        return {
            "created": datetime.now(UTC).isoformat(),
            "stage": request.settings.stage,
            "run": self.project.relative(self.directory),
            "fingerprint": request.fingerprint,
            "seed": request.seed,
            "settings": request.settings.to_json(),
            "options": request.options,
            "tasks": request.tasks,
            "parents": {use: a.reference() for use, a in request.inputs.items()},
            "resumptions": self.resumptions,
            "machine": self.machine,
            "command": this_command(request.settings.stage),
        }

    def publish_weights(
        self, kind: str, name: str, tensors: dict[str, Tensor], about: About
    ) -> Artifact:
        """Write weights of this run as an artifact."""
        self._check_exists()
        manifest = cast(Manifest, {**self.origin(), **about})
        artifact = save_weights(self.project.root, kind, name, tensors, manifest)
        self._published.append(artifact)
        return artifact

    def publish_memory(self, name: str, staged: Path, about: About) -> Artifact:
        """Seal the finished memory in the directory ``staged``, and move it to its place."""
        self._check_exists()
        manifest = seal_memory(staged, {"name": name, **self.origin(), **about})
        final = artifact_path(self.project.root, "memory", name)
        publish_directory(staged, final)
        artifact = Artifact("memory", name, final, manifest)
        self._published.append(artifact)
        return artifact

    def finish(self, result: StageResult) -> None:
        """Records the result and drops what only a resumption would need."""
        metrics = self.metrics.sync()
        self.metrics.close()
        self._write_record("finished", {"result": result, "metrics_sha256": metrics["sha256"]})
        recover_directory(self.directory)  # what this run replaces has waited until now
        for path in reversed(checkpoint_paths(self.directory)):
            path.unlink()
        shutil.rmtree(self.directory / "journal", ignore_errors=True)
        shutil.rmtree(self.directory / STAGED_MEMORY, ignore_errors=True)

    def _check_exists(self) -> None:
        """Raise :class:`ArtifactError` where the run was removed.

        Writing would create the directories again.
        """
        if not (self.directory / "run.json").exists():
            raise ArtifactError(
                f"{self.directory} was removed while the run was under way", "begin it again"
            )

    def _write_record(self, state: str, outcome: RunRecord) -> None:
        record: RunRecord = {
            **self.origin(),
            "state": state,
            "name": self.request.name,
            "identity": self.request.identity(),
            **outcome,
        }
        record["seconds"] = self.seconds
        record["locks"] = self.request.locks
        record["overwrites"] = self.overwrites
        record["artifacts"] = [artifact.reference() for artifact in self._published]
        write_atomic(self.directory / "run.json", seal_json(record))


class FollowerRun(Run):
    """The :class:`Run` of the ranks after the first.

    It reads what that one left, and writes nothing.
    """

    def __init__(self, project: Project, request: RunRequest) -> None:
        super().__init__(
            project, request, {}, overwrites=False, tensorboard=False, keep_checkpoints=1
        )
        self.metrics = NoMetrics()

    def start(self, say: Callable[[str], None]) -> State | None:
        """The state from which the first rank goes on."""
        newest = newest_checkpoint(self.directory)
        return None if newest is None else newest[1]["stage"]

    def save(self, stage_state: State) -> None:
        """The first rank does."""


@contextmanager
def open_run(
    project: Project,
    request: RunRequest,
    *,
    machine: Machine,
    overwrite: bool,
    tensorboard: bool,
    keep_checkpoints: int = 1,
) -> Iterator[Run]:
    """Take the locks of the request's artifacts, and open its run, new or interrupted.

    ``overwrite`` replaces a finished run or one with other settings; an interrupted equal run goes
    on all the same, so that a script with ``--overwrite`` can be preempted. What is replaced steps
    aside until its successor is whole, and comes back where that fails before it has a checkpoint.

    Raises:
        LockedError: another process is writing one of the artifacts.
    """
    stage = request.settings.stage
    with lock_artifacts(project.root, request.locks):
        for kind, name in request.produces:
            artifact = artifact_path(project.root, kind, name)
            remove_partial(artifact.parent, f"{artifact.name}.")
            if kind == "memory":
                recover_directory(artifact)
        directory = run_directory(project.root, stage, request.name)
        _recover_run(directory)
        if directory.exists() and overwrite and not can_resume(project, request):
            if replaced_path(
                directory
            ).exists():  # a successor that was never finished is itself replaced
                shutil.rmtree(directory)
            else:
                set_aside(directory)
        directory.mkdir(parents=True, exist_ok=True)
        remove_partial(directory)
        for path in directory.rglob("*"):
            inside(project.root, path)
        run = Run(
            project,
            request,
            machine,
            overwrites=overwrite,
            tensorboard=tensorboard,
            keep_checkpoints=keep_checkpoints,
        )
        try:
            yield run
        finally:
            if hasattr(run, "metrics"):
                run.metrics.close()
            _recover_run(directory)


def _recover_run(directory: Path) -> None:
    """Put back the run that an ``--overwrite`` was to replace, if that left nothing to resume."""
    if not replaced_path(directory).exists():
        return
    try:
        finished = read_record(directory)["state"] == "finished"
    except ArtifactError:
        finished = False
    if not finished:
        if checkpoint_paths(directory):
            return  # it goes on, and what it replaces waits
        shutil.rmtree(directory, ignore_errors=True)
    recover_directory(directory)
