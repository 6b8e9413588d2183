"""What of a project comes from other programs and goes to them, as methods."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack, cast

from corrtool.exchange import hub, hub_push
from corrtool.exchange.export_result import Exported
from corrtool.exchange.policy_import import import_policy_called
from corrtool.exchange.q_import import import_q_called
from corrtool.exchange.q_result import ImportPolicyResult, ImportQResult
from corrtool.project.directory import Project
from corrtool.runtime.console import Console
from corrtool.runtime.library import StrPath, as_library, stage_lock
from corrtool.settings.exchange import (
    ImportPolicyArguments,
    ImportQArguments,
    PolicyFormat,
    QFormat,
)
from corrtool.workflows.export import ExportArguments, export_policy, export_q


class Exchange:
    """The part of :class:`corrtool.api.OpenedProject` that knows other programs' formats."""

    root: Path
    _console: Console

    def _project(self) -> Project:
        """Its ``corrtool.toml`` as it stands now: people edit it while a notebook is open."""
        return Project(self.root)

    def import_q(
        self, path: StrPath, *, format: QFormat, **arguments: Unpack[ImportQArguments]
    ) -> ImportQResult:
        """Import a Q-function that another library trained: see ``corrtool import q --help``."""
        with stage_lock, as_library():
            made = import_q_called(self._project(), Path(path), format, arguments)
        return cast(ImportQResult, made)

    def import_policy(
        self, path: StrPath, *, format: PolicyFormat, **arguments: Unpack[ImportPolicyArguments]
    ) -> ImportPolicyResult:
        """Import a policy that is no Q-function: see ``corrtool import policy --help``."""
        with stage_lock, as_library():
            made = import_policy_called(self._project(), Path(path), format, arguments)
        return cast(ImportPolicyResult, made)

    def export_q(self, name: str | None = None, **how: Unpack[ExportArguments]) -> Exported:
        """Write a Q-function for other programs (docs/exchange.md), as ``corrtool export q``."""
        with stage_lock, as_library():
            return export_q(self._project(), self._console, name, **how)

    def export_policy(
        self, corr: str | None = None, *, q: str | None = None, **how: Unpack[ExportArguments]
    ) -> Exported:
        """Write an agent with a correspondence for them, as ``corrtool export policy``."""
        with stage_lock, as_library():
            return export_policy(self._project(), self._console, corr, q=q, **how)

    def push(
        self, repository: str, *names: str, **arguments: Unpack[hub_push.PushArguments]
    ) -> hub_push.PushResult:
        """Upload artifacts, by default the newest correspondence with its parents, to the Hub."""
        with as_library():
            to = hub.Repository.parse(repository)
            return hub_push.push(self._project(), to, list(names), self._console, **arguments)
