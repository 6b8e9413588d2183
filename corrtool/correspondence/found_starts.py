"""The starts that a run has found: no search is made twice, by two recipes or after a kill.

A search takes minutes on pictures, and comes before the first checkpoint. So what each has found
is written into the run's directory until the run is finished. A file that is damaged, or of another
run, is as good as none: the search is made again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeAlias

from corrtool.correspondence.linear_start import LinearStart
from corrtool.correspondence.signal_starts import SignalStart
from corrtool.correspondence.spatial_starts import Start
from corrtool.errors import ArtifactError
from corrtool.files.atomic import write_atomic
from corrtool.files.sealed import read_sealed_json, seal_json
from corrtool.runs.records import STARTS
from corrtool.runs.run import Run

AnyStart: TypeAlias = Start | SignalStart | LinearStart
_READ: dict[str, Callable[[dict[str, Any]], AnyStart]] = {
    "spatial": Start.from_state,
    "signal": SignalStart.from_state,
    "linear": LinearStart.from_state,
}


class FoundStarts:
    """The starts of one run, each by what was searched for, in words.

    Args:
        kept: whether they are read from and written to the run's directory. Of several processes
            each finds its own: they must all search, or none.
    """

    def __init__(self, run: Run, *, kept: bool) -> None:
        self._run, self._kept = run, kept
        self._found: dict[str, AnyStart] = self._read() if kept else {}
        self._cut: dict[str, AnyStart] = {}

    def get(self, searched: str) -> AnyStart | None:
        """What such a search has found; None if there was none."""
        return self._found.get(searched) or self._cut.get(searched)

    @property
    def cut(self) -> bool:
        """True if one of the searches of this process was cut short."""
        return bool(self._cut)

    def was_cut(self, start: AnyStart | None) -> bool:
        """True if the search that found this start was cut short."""
        return any(found is start for found in self._cut.values())

    def add(self, searched: str, start: AnyStart, *, cut: bool = False) -> None:
        """Keep what a search has found.

        Of one that was ``cut`` short no more than until the process ends: another recipe gains
        nothing by the same search in less time, but a resumed run may.
        """
        if cut:
            self._cut[searched] = start
            return
        self._found[searched] = start
        if self._kept:
            found = {name: one.state() for name, one in self._found.items()}
            content = {"fingerprint": self._run.request.fingerprint, "starts": found}
            write_atomic(self._run.directory / STARTS, seal_json(content))

    def _read(self) -> dict[str, AnyStart]:
        path = self._run.directory / STARTS
        with contextlib.suppress(
            ArtifactError, OSError, KeyError, TypeError, ValueError, AttributeError, RuntimeError
        ):  # sealed by somebody else
            content = read_sealed_json(path) if path.exists() else {}
            if content.get("fingerprint") == self._run.request.fingerprint:
                starts = content["starts"].items()
                return {name: _READ[state["kind"]](state) for name, state in starts}
        return {}
