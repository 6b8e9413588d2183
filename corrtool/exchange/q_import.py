"""``import q``: a Q-function from a file of another library becomes an artifact of the project."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from corrtool.errors import UsageError
from corrtool.exchange.agent_import import as_called, import_agent
from corrtool.exchange.cleanrl import read_cleanrl
from corrtool.exchange.fitting import description_of
from corrtool.exchange.foreign import ForeignFile, FoundQ
from corrtool.exchange.mapped import read_mapped, read_mapping
from corrtool.exchange.q_result import ImportQPlan, ImportQResult
from corrtool.exchange.sb3 import check_observations, read_sb3
from corrtool.project.directory import Project
from corrtool.q_learning.saved import QDescription
from corrtool.runs.commands import recording_command
from corrtool.settings.common import CommonOptions
from corrtool.settings.exchange import ImportQArguments, ImportQSettings, QFormat
from corrtool.states import StateSpec


def import_q(
    project: Project,
    path: Path,
    settings: ImportQSettings,
    common: CommonOptions,
    mapping: Path | None = None,
) -> ImportQResult | ImportQPlan:
    """Write the Q-function in the file ``path`` to the project: see :func:`import_agent`.

    Args:
        mapping: of the format 'torch', a file that maps corrtool's names of weights to the file's.
    """
    names = _mapping_of(settings, mapping)
    read = partial(_read, settings.format, names)
    return import_agent(project, path, settings, common, read, names)


def _read(
    format: str, mapping: dict[str, str] | None, file: ForeignFile, spec: StateSpec, actions: int
) -> tuple[FoundQ, QDescription]:
    """What the file holds, and which of corrtool's Q-functions that is."""
    readers: dict[str, Callable[[ForeignFile], FoundQ]] = {
        "sb3": read_sb3,
        "cleanrl": read_cleanrl,
    }
    found = read_mapped(file, mapping, spec) if format == "torch" else readers[format](file)
    if format == "sb3":
        check_observations(file, found.says, spec)
    return found, description_of(file, found.weights, spec, actions)


def _mapping_of(settings: ImportQSettings, mapping: Path | None) -> dict[str, str] | None:
    """The mapping, if one is given. Raises :class:`UsageError` where the format has none."""
    if settings.format != "torch" and mapping is not None:
        raise UsageError(f"--mapping is for --from torch, not {settings.format}", "leave it out")
    return None if mapping is None else read_mapping(mapping)


def import_q_called(
    project: Project, path: Path, format: QFormat, arguments: Mapping[str, Any]
) -> ImportQResult | ImportQPlan:
    """The same as it is called from Python, with the arguments by name.

    Raises also :class:`UsageError` where there is none of such a name.
    """
    settings, others, words = as_called(
        "import q", ImportQSettings, ImportQArguments.__optional_keys__, format, arguments
    )
    mapping = others.pop("mapping", None)
    with recording_command(["corrtool", "import", "q", str(path), *words]):
        return import_q(
            project,
            path,
            settings,
            CommonOptions(**others),
            None if mapping is None else Path(mapping),
        )
