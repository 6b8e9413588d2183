"""``import policy``: a policy of another library becomes an artifact in a Q-function's place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from corrtool.exchange.agent_import import Reader, as_called, import_agent
from corrtool.exchange.cleanrl_policy import read_cleanrl_policy
from corrtool.exchange.foreign import ForeignFile, FoundQ
from corrtool.exchange.onnx_policy import check_installed, read_onnx_policy
from corrtool.exchange.q_result import ImportPolicyResult, ImportQPlan
from corrtool.exchange.sb3_policy import read_sb3_policy
from corrtool.project.artifacts import read_artifact
from corrtool.project.directory import Project
from corrtool.q_learning.saved import QDescription
from corrtool.runs.commands import recording_command
from corrtool.settings.common import CommonOptions
from corrtool.settings.exchange import ImportPolicyArguments, ImportPolicySettings, PolicyFormat
from corrtool.states import StateSpec

_READERS: dict[str, Reader] = {
    "sb3": read_sb3_policy,
    "cleanrl": read_cleanrl_policy,
    "onnx": read_onnx_policy,
}


def import_policy(
    project: Project, path: Path, settings: ImportPolicySettings, common: CommonOptions
) -> ImportPolicyResult | ImportQPlan:
    """Write the policy in the file ``path`` to the project: see :func:`import_agent`.

    Raises also :class:`UsageError` without the package that a format needs.
    """
    if settings.format == "onnx":
        check_installed()
    read = partial(_read, _READERS[settings.format])
    made: Any = import_agent(project, path, settings, common, read)
    if not common.dry_run:
        description = QDescription.from_manifest(read_artifact(project.root, "q", made["q"]))
        made["critic"] = description.has_critic
    return cast(ImportPolicyResult | ImportQPlan, made)


def _read(
    read: Callable[[ForeignFile, StateSpec, int], tuple[FoundQ, QDescription]],
    file: ForeignFile,
    spec: StateSpec,
    actions: int,
) -> tuple[FoundQ, QDescription]:
    """What the file holds, with a line on what its outputs are."""
    found, description = read(file, spec, actions)
    critic = (
        "with a critic, whose V(s) the score of a correspondence compares with rewards"
        if description.has_critic
        else "without a critic, so that the score of a correspondence leaves rewards out"
    )
    note = f"it is a policy: its action scores are logits and no Q-values, {critic}"
    return replace(found, notes=(*found.notes, note)), description


def import_policy_called(
    project: Project, path: Path, format: PolicyFormat, arguments: Mapping[str, Any]
) -> ImportPolicyResult | ImportQPlan:
    """The same as it is called from Python, with the arguments by name.

    Raises also :class:`UsageError` where there is none of such a name.
    """
    settings, others, words = as_called(
        "import policy",
        ImportPolicySettings,
        ImportPolicyArguments.__optional_keys__,
        format,
        arguments,
    )
    with recording_command(["corrtool", "import", "policy", str(path), *words]):
        return import_policy(project, path, settings, CommonOptions(**others))
