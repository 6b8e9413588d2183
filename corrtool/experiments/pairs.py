"""The pairs of the suite as data: sources of agents, and how each target differs."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from corrtool.errors import UsageError


@dataclass(frozen=True)
class SourceTask:
    """A task on which an agent learns, once for all of its pairs.

    Attributes:
        kind: of its states: ``"image"``, ``"grid"`` (small pictures), ``"vector"`` or
            ``"signal"``.
        init: what ``corrtool init`` is told besides.
        pretrained: whether its agent comes with corrtool.
    """

    name: str
    id: str
    kind: str
    init: tuple[str, ...] = ()
    pretrained: bool = False


@dataclass(frozen=True)
class Pair:
    """A source, and the target that it is to be transferred to.

    Attributes:
        name: ``source/how-it-differs``.
        views: of the target.
        init: what ``corrtool init`` is told besides, of the target.
        control: whether the tasks share nothing, so that their returns have no common scale.
    """

    name: str
    source: SourceTask
    target: str
    views: tuple[str, ...] = ()
    init: tuple[str, ...] = ()
    control: bool = False

    @property
    def flags(self) -> list[str]:
        """The options of ``corrtool init`` for its project."""
        views = [word for view in self.views for word in ("--target-view", view)]
        tasks = ["--source", self.source.id, "--target", self.target]
        return [*tasks, *self.source.init, *self.init, *views]

    @property
    def is_view(self) -> bool:
        """Whether the target is the source's task, seen or acted on otherwise."""
        return self.target == self.source.id and not self.init

    @property
    def difference(self) -> str:
        """How the target differs, in the words of ``init``."""
        other = [] if self.target == self.source.id else [self.target]
        kwargs = [word for word in self.init if "=" in word]
        return " ".join(f"`{word}`" for word in (*other, *kwargs, *self.views))


def load_pairs() -> list[Pair]:
    """All pairs that come with corrtool, in the order of their file."""
    file = resources.files("corrtool.experiments").joinpath("suite.toml")
    return pairs_of(tomllib.loads(file.read_text(encoding="utf-8")))


def pairs_of(tables: dict[str, Any]) -> list[Pair]:
    """Pairs as the file has them. Raises KeyError or TypeError where it has other fields."""
    found = []
    for source_name, pairs in tables["pairs"].items():
        source = SourceTask(source_name, **_with_tuples(tables["sources"][source_name]))
        for name, table in pairs.items():
            fields = {"target": source.id} | _with_tuples(table)
            found.append(Pair(f"{source_name}/{name}", source, **fields))
    return found


def _with_tuples(table: dict[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in table.items()
    }


def choose_pairs(names: Sequence[str]) -> list[Pair]:
    """The pairs of these names, each of a pair or of a source; all where there is no name.

    Raises :class:`UsageError` for a name of neither.
    """
    pairs = load_pairs()
    sources = dict.fromkeys(pair.source.name for pair in pairs)
    for name in names:
        if name not in sources and name not in {pair.name for pair in pairs}:
            of_source = [pair.name for pair in pairs if pair.source.name == name.partition("/")[0]]
            choices = ", ".join(of_source or sources)
            raise UsageError(f"there is no pair {name!r}", f"choose from {choices}")
    return [p for p in pairs if not names or p.name in names or p.source.name in names]
