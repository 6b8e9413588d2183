"""Agents for elsewhere: a Q-function, alone or behind a correspondence, in other programs' files.

Each file is tried by the program that reads it, where that is installed, before it is written.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Literal, TypedDict, Unpack

import torch
from torch import Tensor

from corrtool import __version__
from corrtool.correspondence.saved import load_correspondence
from corrtool.errors import MissingInputError, UsageError
from corrtool.exchange import to_onnx, to_sb3, to_torch
from corrtool.exchange.agent_files import said_of_itself
from corrtool.exchange.export_result import Check, Exported, Format
from corrtool.exchange.played_values import (
    BATCHES,
    Difference,
    PlayedValues,
    Runner,
    compare,
    output_name,
)
from corrtool.files.atomic import inside, publish_file, sha256_of_file
from corrtool.files.staging import remove_abandoned, staged_beside
from corrtool.project.artifacts import read_artifact
from corrtool.project.directory import Project, check_output
from corrtool.q_learning.saved import QDescription, RewardsLearnt, load_q_function
from corrtool.runs.context import StageContext
from corrtool.runtime.console import Console
from corrtool.stages.inputs import load_memory
from corrtool.stages.players import Player, check_player, choose_player
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec
from corrtool.tasks import Task, action_names, probe

SUFFIXES = {"onnx": to_onnx.SUFFIX, "sb3": to_sb3.SUFFIX, "torch": to_torch.SUFFIX}
_VERSION = 1  # of what is written; another one is other content of the same artifacts
_DIRECTORY = "exports"  # of a project, where no file is named
_PRODUCER = "producer"
_CPU = torch.device("cpu")


class ExportArguments(TypedDict, total=False):
    """How a file is to be written; docs/cli.md has the same as options."""

    to: Format
    output: str | PathLike[str] | None
    overwrite: bool
    dry_run: bool


@dataclass(frozen=True)
class _How:
    """The same with their defaults."""

    to: Format = "onnx"
    output: str | PathLike[str] | None = None
    overwrite: bool = False
    dry_run: bool = False

    def __post_init__(self) -> None:
        if self.to not in SUFFIXES:
            raise UsageError(f"there is no format {self.to!r}", f"choose {', '.join(SUFFIXES)}")


@dataclass(frozen=True)
class _Export:
    """Whose values are written, of which task, where and how."""

    context: StageContext
    task: Task
    player: Player
    spec: StateSpec
    to: Format
    path: Path

    @property
    def description(self) -> QDescription:
        assert self.player.q is not None
        return QDescription.from_manifest(self.player.q)

    def metadata(self) -> dict[str, str]:
        """What the file says of itself, in texts."""
        used = self.player.inputs()
        return {
            _PRODUCER: f"corrtool {__version__}",
            "format": f"{self.to} {_VERSION}",
            **{use: artifact.name for use, artifact in used.items()},
            **{f"{use}_sha256": artifact.sha256 for use, artifact in used.items()},
            "described_sha256": self._described(),
            "task": str(self.task),
            **({"values": "logits"} if self.description.is_policy else {}),
            "states": json.dumps(self.spec.to_json()),
            "actions": json.dumps(action_names(self.task)),
        }

    def _described(self) -> str:
        """Digest of what makes the file besides tensors, which are all that ``*_sha256`` is of."""
        player = self.player
        assert player.q is not None
        used = player.inputs().items()
        networks = {use: artifact.manifest.get("network") for use, artifact in used}
        gamma = RewardsLearnt.from_manifest(player.q).gamma
        described = [networks, gamma, player.values_target_actions]
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()

    def is_there(self) -> bool:
        """True if the file was made of the same, by whatever version of corrtool."""
        own, there = self.metadata(), said_of_itself(self.path, self.to)
        return own | {_PRODUCER: ""} == there | {_PRODUCER: ""}


def export_q(
    project: Project, console: Console, name: str | None = None, **how: Unpack[ExportArguments]
) -> Exported:
    """Write the named Q-function, or the newest of the source task: raw states of its task in.

    Raises:
        ArtifactError: it is missing, damaged, or does not fit its task.
        UsageError: it plays through a correspondence, or the file cannot be written so.
        CorrtoolError: what the file computes is something else.
    """
    context = StageContext(project, console, _CPU)
    q = context.source_q() if name is None else read_artifact(project.root, "q", name)
    task = project.task("target" if q.manifest.get("role") == "target" else "source")
    player = choose_player(context, task, q=q.name, corr=None, no_corr=False)
    if player.corr is not None:
        raise UsageError(
            f"{q} plays through {player.corr}", f"use 'corrtool export policy --q {q.name}'"
        )
    return _export(context, task, player, f"q-{q.name}", _How(**how))


def export_policy(
    project: Project,
    console: Console,
    corr: str | None = None,
    *,
    q: str | None = None,
    **how: Unpack[ExportArguments],
) -> Exported:
    """Write Q_S ∘ G_T with the action map: raw states of the target in, values of its actions out.

    Of the named correspondence, or the newest, and the Q-function that ``evaluate`` would take.

    Raises:
        ArtifactError: an artifact is missing, damaged, or does not fit.
        UsageError: the Q-function plays without a correspondence, or the file cannot be written so.
        CorrtoolError: what the file computes is something else.
    """
    if how.get("to") == "sb3":
        raise UsageError(
            "Stable-Baselines3 has no network with a correspondence",
            "use 'corrtool export q --to sb3' and corrtool.wrappers, or --to onnx or --to torch",
        )
    context, task = StageContext(project, console, _CPU), project.task("target")
    player = choose_player(context, task, q=q, corr=corr, no_corr=False)
    if player.corr is None or player.q is None:
        raise UsageError(
            f"{player.q} plays without a correspondence", f"use 'corrtool export q {q}'"
        )
    name = player.q.name if player.values_target_actions else player.corr.name
    return _export(context, task, player, name, _How(**how))


def _export(context: StageContext, task: Task, player: Player, name: str, how: _How) -> Exported:
    """Check, make, try and write the file."""
    spec, actions = probe(task)
    check_player(player, spec, actions)
    path = _path(context.project, name, how)
    export = _Export(context, task, player, spec, how.to, path)
    _check_format(export)
    result = _described(export)
    if _is_there(export, how):
        result["state"] = "there already"
        result["bytes"], result["sha256"] = path.stat().st_size, sha256_of_file(path)
    if how.dry_run:
        return {"dry_run": True, "state": "planned", **result}
    remove_abandoned(path)
    if "state" in result:
        return result
    context.console.say(f"export: making {path.name}, which may take half a minute")
    network = _network(export)
    content, runner = _content(export, network)
    check = None if runner is None else _check(export, network, *runner)
    with staged_beside(path) as staged:
        staged.write_bytes(content)
        publish_file(staged, path)
    digest = hashlib.sha256(content).hexdigest()
    done: Exported = {"state": "written", "bytes": len(content), "sha256": digest, "check": check}
    return {**result, **done}


def _path(project: Project, name: str, how: _How) -> Path:
    """Where the file goes. Raises :class:`UsageError` where it cannot."""
    if how.output is None:
        file = f"{name}{SUFFIXES[how.to]}"
        path = inside(project.root, project.root / _DIRECTORY / file)
    else:
        path = Path(how.output)
    if how.output is not None or path.parent.exists():
        check_output(path, "--output", project)
    return path


def _is_there(export: _Export, how: _How) -> bool:
    """True if the same was exported already. Raises :class:`UsageError` for something else."""
    if how.overwrite or not export.path.exists():
        return False
    if export.is_there():
        return True
    raise UsageError(
        f"{export.path} is there already, and is damaged or was made from something else",
        "use --overwrite, or another --output",
    )


def _check_format(export: _Export) -> None:
    """Raise :class:`UsageError` where the format needs a package, or does not take the network."""
    if export.to == "onnx":
        to_onnx.check_installed()
    if export.to == "sb3":
        to_sb3.check_sb3(export.description)


def _described(export: _Export) -> Exported:
    player = export.player
    assert player.q is not None
    return {
        "to": export.to,
        "path": str(export.path),
        "task": str(export.task),
        "q": player.q.name,
        "corr": None if player.corr is None else player.corr.name,
        "output": output_name(is_policy=export.description.is_policy),
        "input": {
            "shape": list(export.spec.state_shape),
            "dtype": str(export.spec.frame_dtype).removeprefix("torch."),
        },
        "actions": action_names(export.task),
    }


def _network(export: _Export) -> PlayedValues:
    """The network from raw states to values. Raises :class:`ArtifactError`."""
    player = export.player
    assert player.q is not None
    q_function = load_q_function(player.q, _CPU)
    if player.corr is None:
        return PlayedValues(q_function, export.spec)
    correspondence = load_correspondence(player.corr, _CPU)
    actions_of: Literal["source", "target"] = "target" if player.values_target_actions else "source"
    return PlayedValues(q_function, export.spec, correspondence, actions_of)


def _content(export: _Export, network: PlayedValues) -> tuple[bytes, tuple[str, Runner] | None]:
    """The file, and the program that reads it, if it is installed."""
    metadata = export.metadata()
    if export.to == "onnx":
        content = to_onnx.to_onnx(network, metadata)
        return content, to_onnx.onnx_runner(content)
    if export.to == "torch":
        content = to_torch.to_torch(network, metadata)
        return content, to_torch.torch_runner(content)
    assert export.player.q is not None
    gamma = RewardsLearnt.from_manifest(export.player.q).gamma
    content = to_sb3.to_sb3(network.q_function, export.description, gamma, metadata)
    return content, to_sb3.sb3_runner(content, export.description)


def _check(export: _Export, network: PlayedValues, by: str, run: Runner) -> Check:
    """Compare the file with corrtool. Raises :class:`CorrtoolError` where they differ."""
    states, where = _states(export, network)
    difference: Difference = compare(run, network, states)
    return {
        "by": by,
        "states": where,
        "batches": list(BATCHES),
        "max_difference": difference.largest,
        "relative": difference.relative,
    }


def _states(export: _Export, network: PlayedValues) -> tuple[Tensor, str]:
    """Raw states of the task, and where they are from: its newest memory, or random ones."""
    count = max(BATCHES)
    try:
        memory = export.context.artifact_of_task("memory", None, export.task)
    except MissingInputError:
        scaling = network.target_scaling if network.generator else StateScaling(export.spec)
        random = torch.Generator().manual_seed(0)
        between = torch.rand(count, *export.spec.state_shape, generator=random) * 2 - 1
        return scaling.model_to_raw(between), "random"
    replay = load_memory(export.context, memory)
    rows = replay.transition_rows()
    return replay.states(rows[:: max(1, len(rows) // count)][:count]), str(memory)
