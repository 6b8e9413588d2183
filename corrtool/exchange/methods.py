"""The methods of an opened project (:mod:`corrtool.api`) for files of other tools."""

from __future__ import annotations

from abc import ABC, abstractmethod
from os import PathLike
from pathlib import Path

from corrtool.exchange.memory_export import ExportedMemory, export_memory
from corrtool.exchange.memory_import import ImportedMemory, import_memory
from corrtool.exchange.sources import MemoryFormat
from corrtool.project.directory import Project
from corrtool.project.manifests import Play
from corrtool.runs.commands import recording_command
from corrtool.runtime.console import Console
from corrtool.runtime.library import as_library, stage_lock


class MemoryMethods(ABC):
    """Memories from and for elsewhere; docs/exchange.md says what such files hold."""

    _console: Console

    @abstractmethod
    def _project(self) -> Project:
        """The project as it stands now."""

    def export_memory(
        self,
        name: str,
        *,
        to: MemoryFormat,
        output: str | PathLike[str] | None = None,
        overwrite: bool = False,
        dry_run: bool = False,
    ) -> ExportedMemory:
        """Write a memory as a Minari dataset or as ``.npz``.

        Args:
            output: the file; of Minari the directory of all datasets, by default Minari's own.
        """
        with as_library():
            return export_memory(
                self._project(),
                self._console,
                name,
                to=to,
                output=None if output is None else Path(output),
                overwrite=overwrite,
                dry_run=dry_run,
            )

    def import_memory(
        self,
        source: str | PathLike[str],
        *,
        format: MemoryFormat,
        task: str,
        name: str | None = None,
        play: Play | None = None,
        overwrite: bool = False,
        dry_run: bool = False,
    ) -> ImportedMemory:
        """Make a memory from a Minari dataset or from ``.npz``.

        Args:
            source: the file; of Minari the directory of a dataset, or its id.
            task: ``"source"`` or ``"target"``.
            play: who played; only where the file does not say it.
        """
        words = {"--from": format, "--task": task, "--name": name, "--play": play}
        flags = [word for flag, value in words.items() if value for word in (flag, value)]
        flags += ["--overwrite"] * overwrite
        command = ["corrtool", "import", "memory", str(source), *flags]
        with stage_lock, as_library(), recording_command(command):
            return import_memory(
                self._project(),
                self._console,
                Path(source),
                format=format,
                task=task,
                name=name,
                play=play,
                overwrite=overwrite,
                dry_run=dry_run,
            )
