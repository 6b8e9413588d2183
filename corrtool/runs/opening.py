"""The opening of a run: new, interrupted, in another's place, or on from one cut short."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from corrtool.errors import ArtifactError
from corrtool.files.atomic import (
    inside,
    recover_directory,
    remove_partial,
    replaced_path,
    set_aside,
)
from corrtool.project.artifacts import artifact_path
from corrtool.project.directory import Project
from corrtool.project.locks import lock_artifacts
from corrtool.runs.records import (
    RunRecord,
    finished_run,
    read_record,
    run_directory,
    standing_place,
)
from corrtool.runs.requests import EXTENDED, RunRequest, can_resume, cut_run
from corrtool.runs.run import Run
from corrtool.runtime.machine import Machine


@contextmanager
def open_run(
    project: Project,
    request: RunRequest,
    *,
    machine: Machine,
    overwrite: bool,
    tensorboard: bool,
    track: str | None = None,
    keep_checkpoints: int = 1,
) -> Iterator[Run]:
    """Take the locks of the request's artifacts, and open its run, new or interrupted.

    ``overwrite`` replaces a finished run or one with other settings; an interrupted equal run goes
    on all the same, so that a script with ``--overwrite`` can be preempted. What is replaced steps
    aside until its successor is whole, and comes back where that fails before it has a checkpoint.
    So does a run that was cut short, from which an equal one with more time goes on.

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
        cut = None if overwrite else cut_run(project, request)
        outdated = _outdated_run(directory, request) if overwrite else None
        if cut is not None:
            _check_links(project.root, directory)
            set_aside(directory)
        elif directory.exists() and overwrite and not can_resume(project, request):
            if replaced_path(
                directory
            ).exists():  # a successor that was never finished is itself replaced
                shutil.rmtree(directory)
            else:
                set_aside(directory)
        directory.mkdir(parents=True, exist_ok=True)
        remove_partial(directory)
        _check_links(project.root, directory)
        run = Run(
            project,
            request,
            machine,
            overwrites=overwrite or cut is not None,
            tensorboard=tensorboard,
            track=track,
            keep_checkpoints=keep_checkpoints,
        )
        try:
            if cut is not None:
                run.go_on_from(replaced_path(directory), cut)
            elif outdated is not None:
                run.succeed(outdated)
            yield run
        finally:
            run.close()
            _recover_run(directory)


def _outdated_run(directory: Path, request: RunRequest) -> RunRecord | None:
    """The record of a finished run that is made longer, or one of whose inputs has gone on since.

    None without one.
    """
    with contextlib.suppress(ArtifactError):
        finished = finished_run(directory)  # it waits where its successor was interrupted
        parents = {} if finished is None else finished[1]["parents"]
        has_gone_on = EXTENDED in request.options or any(
            use in parents and artifact.succeeds(parents[use]["sha256"])
            for use, artifact in request.inputs.items()
        )
        if finished is not None and has_gone_on:
            return finished[1]
    return None


def _check_links(root: Path, directory: Path) -> None:
    """Raise :class:`ArtifactError` where a link in a run's directory leads out of the project."""
    for path in directory.rglob("*"):
        inside(root, path)


def _recover_run(directory: Path) -> None:
    """Put back the run that an ``--overwrite`` was to replace, if that left nothing to resume."""
    if not replaced_path(directory).exists():
        return
    if standing_place(directory) != directory:
        shutil.rmtree(directory, ignore_errors=True)
        recover_directory(directory)
        return
    with contextlib.suppress(ArtifactError):
        if read_record(directory)["state"] == "finished":
            recover_directory(directory)  # else it goes on, and what it replaces waits
