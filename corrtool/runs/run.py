"""A run: one execution of a stage, with its settings, metrics and checkpoint under ``runs/``.

Opened by :mod:`corrtool.runs.opening`.
"""

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
    copy_atomic,
    publish_directory,
    publish_file,
    recover_directory,
    write_atomic,
)
from corrtool.files.sealed import damaged, seal_json
from corrtool.project.artifacts import Artifact, artifact_path
from corrtool.project.directory import Project
from corrtool.project.manifests import About, Manifest, Origin
from corrtool.project.memory_files import seal_memory
from corrtool.project.weights import save_weights
from corrtool.runs.checkpoint_files import CHECKPOINT, checkpoint_paths
from corrtool.runs.checkpoints import save_checkpoint
from corrtool.runs.commands import this_command
from corrtool.runs.metrics import MetricsLog, NoMetrics, metrics_path
from corrtool.runs.records import (
    JOURNAL,
    PICTURES,
    STAGED_MEMORY,
    STARTS,
    Checkpoint,
    RunRecord,
    newest_checkpoint,
    read_checkpoint,
    read_record,
    run_directory,
)
from corrtool.runs.requests import RunRequest
from corrtool.runs.results import StageResult
from corrtool.runs.resumable import Resumable, State
from corrtool.runs.trackers import Mirror
from corrtool.runtime.machine import Machine


class Run:
    """An opened run, under the locks of its artifacts.

    Attributes:
        continues: of a run that goes on from one which its time limit cut short, or was made from
            inputs that have gone on since, the SHA-256 of what that one made and took the place of.
    """

    def __init__(
        self,
        project: Project,
        request: RunRequest,
        machine: Machine,
        *,
        overwrites: bool,
        tensorboard: bool,
        track: str | None = None,
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
        self.continues: list[str] = []
        self._began, self._earlier_seconds = time.monotonic(), 0.0
        self._tensorboard, self._track = tensorboard, track
        self._mirror: Mirror | None = None
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
                self.continues = [*read_record(self.directory).get("continues", [])]
        elif (left := metrics_path(self.directory)).exists() and left.stat().st_size:
            name = f"{self.request.settings.stage} {self.request.name}"
            say(f"{name}: starting anew: it has no checkpoint, stopped before its first or lost")
        self._write_record("running", {})  # before all else that is in its directory
        self.metrics = MetricsLog(
            self.directory, None if state is None else state["metrics"], self._tensorboard
        )
        if self._track is not None:
            self._mirror = Mirror.of_run(
                self.directory, self._track, self.project.root.name, self.request, say
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
        if self._mirror is not None:
            self._mirror.catch_up()

    def close(self) -> None:
        """Close the metrics and their copy; closing twice is fine."""
        if hasattr(self, "metrics"):
            self.metrics.close()
        if self._mirror is not None:
            self._mirror.close()

    def origin(self) -> Origin:
        """What the record of this run and the manifests of all its artifacts say."""
        request = self.request
        origin: Origin = {
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
        return {**origin, "continues": self.continues} if self.continues else origin

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

    def succeed(self, record: RunRecord) -> None:
        """Take the place of the finished run with this record in all that is made from it."""
        self.continues = [made["sha256"] for made in record["artifacts"]]
        self.continues += record.get("continues", [])

    def go_on_from(self, cut: Path, record: RunRecord) -> None:
        """Begin where the finished run in the directory ``cut``, with this record, was cut short.

        Its checkpoint is written last: without it the run has not begun, and the other comes back.
        """
        self.succeed(record)
        self._write_record("running", {})
        for name in (JOURNAL, PICTURES):
            if (cut / name).is_dir():
                shutil.copytree(cut / name, self.directory / name, copy_function=_link)
        shutil.copyfile(metrics_path(cut), metrics_path(self.directory))
        state: Checkpoint = {
            **read_checkpoint(cut / CHECKPOINT),
            "fingerprint": self.request.fingerprint,
            "overwrites": True,
        }
        save_checkpoint(self.checkpoint_path, state)

    def finish(self, result: StageResult) -> None:
        """Record the result, and drop what only a resumption would need.

        A run that its time limit cut short keeps its newest checkpoint: with a larger limit it goes
        on from there (:func:`corrtool.runs.requests.cut_run`).
        """
        metrics = self.metrics.sync()
        self.metrics.close()
        self._write_record("finished", {"result": result, "metrics_sha256": metrics["sha256"]})
        if self._mirror is not None:
            self._mirror.catch_up()
        recover_directory(self.directory)  # what this run replaces has waited until now
        checkpoints, cut = checkpoint_paths(self.directory), "cut" in result
        for path in reversed(checkpoints[1:] if cut else checkpoints):
            path.unlink()
        if not cut:
            shutil.rmtree(self.directory / JOURNAL, ignore_errors=True)
        shutil.rmtree(self.directory / STAGED_MEMORY, ignore_errors=True)
        (self.directory / STARTS).unlink(missing_ok=True)

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


def _link(path: str, copy: str) -> None:
    """A second name for a file that is never written to again."""
    copy_atomic(Path(path), Path(copy))
