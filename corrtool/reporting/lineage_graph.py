"""What a correspondence was made from, and what was made from it, as a small drawing.

Boxes stand in columns, by how many steps they are from what was made from nothing. A line is
straight between two columns, and level in a lane of its own where it passes one: never behind a
box.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from corrtool.project.artifacts import KIND_LABELS, Artifact
from corrtool.project.manifests import Reference
from corrtool.reporting.agents import Agents, file_and_format, preprocessing_of
from corrtool.reporting.finished import FinishedRun
from corrtool.reporting.table import duration

MOST_RESULTS = 6  # evaluations and finetunings that are drawn; the table of runs has all
# In pixels of the drawing.
WIDTH, HEIGHT, GAP_ACROSS, GAP_DOWN = 190, 44, 48, 14
LANE = 8  # the height of a line that passes a column
LEAST_WIDTH = 900  # a page scales a wide drawing down to this, and scrolls it from there


@dataclass(frozen=True)
class Node:
    """A box: two lines of text, and a third for those who point at it."""

    title: str
    name: str
    about: str
    parents: tuple[str, ...]


@dataclass(frozen=True)
class Origins:
    """What is known of artifacts that no run made."""

    agents: Agents = field(default_factory=Agents)
    imports: Sequence[Artifact] = ()

    def node(self, reference: Reference) -> Node:
        """A box of one, with the file where it was imported."""
        name, sha256 = reference["name"], reference["sha256"]
        for artifact in self.imports:
            if artifact.reference() == reference:
                origin = file_and_format(artifact)
                about = "; ".join(filter(None, (origin, preprocessing_of(artifact))))
                return Node(f"import: {origin}", name, about, ())
        if reference["kind"] == "q":
            name = self.agents.called((name, sha256))
        return Node(KIND_LABELS[reference["kind"]], name, "", ())


def lineage_graph(
    runs: Sequence[FinishedRun[Any]], correspondence: str | None, origins: Origins | None = None
) -> str:
    """An SVG of the runs that led to a correspondence, and of those that used it, from the left.

    Empty where no run made it.
    """
    nodes = _nodes(runs, correspondence, origins or Origins())
    return _drawn(nodes, _columns(nodes)) if nodes else ""


def _nodes(
    runs: Sequence[FinishedRun[Any]], correspondence: str | None, origins: Origins
) -> dict[str, Node]:
    """Boxes by key, each after those of its parents."""
    makers = {_key(made): run for run in runs for made in run.record["artifacts"]}
    makes = [run for run in runs if run.stage == "learn-corr" and run.name == correspondence]
    nodes = dict[str, Node]()
    for run in makes:
        _add(run, makers, nodes, origins)
    uses = [run for run in runs if {_run_key(make) for make in makes} & _parents(run, makers)]
    for run in uses[-MOST_RESULTS:]:
        _add(run, makers, nodes, origins)
    return nodes


def _add(
    run: FinishedRun[Any],
    makers: dict[str, FinishedRun[Any]],
    nodes: dict[str, Node],
    origins: Origins,
) -> None:
    """Add a run after all that it was made from; what came with corrtool has no run."""
    if _run_key(run) in nodes:
        return
    for reference in run.record["parents"].values():
        maker = makers.get(_key(reference))
        if maker is not None and maker is not run:
            _add(maker, makers, nodes, origins)
        elif maker is None:
            nodes.setdefault(_key(reference), origins.node(reference))
    mean_return = run.result.get("mean_return")
    about = [f"seed {run.seed}", duration(run.seconds)]
    if isinstance(mean_return, int | float):
        about.append(f"mean return {mean_return:.1f}")
    parents = tuple(sorted(_parents(run, makers)))
    nodes[_run_key(run)] = Node(run.stage, run.name, ", ".join(about), parents)


def _parents(run: FinishedRun[Any], makers: dict[str, FinishedRun[Any]]) -> set[str]:
    keys = {_key(reference) for reference in run.record["parents"].values()}
    return {_run_key(makers[key]) if key in makers else key for key in keys} - {_run_key(run)}


def _key(reference: Reference) -> str:
    return f"{reference['kind']} {reference['name']} {reference['sha256']}"


def _run_key(run: FinishedRun[Any]) -> str:
    return f"{run.stage} {run.name}"


def _columns(nodes: dict[str, Node]) -> list[list[str]]:
    """Keys by how many steps they are from what was made from nothing, and lanes between them.

    A lane has the key of the box whose line passes there; one line serves all that it goes to.
    """
    depths = dict[str, int]()
    for key, node in nodes.items():
        depths[key] = 1 + max((depths[parent] for parent in node.parents), default=-1)
    last = dict(depths)
    for key, node in nodes.items():
        for parent in node.parents:
            last[parent] = max(last[parent], depths[key] - 1)
    columns = [
        [key for key in nodes if depths[key] <= column <= last[key]]
        for column in range(max(depths.values()) + 1)
    ]
    for before, column in itertools.pairwise(columns):
        _order(column, before, nodes)
    return columns


def _order(column: list[str], before: list[str], nodes: dict[str, Node]) -> None:
    """Sort a column by where its lines come from in the one before it, so that few cross."""
    rows = {key: row for row, key in enumerate(before)}
    mean = {
        key: statistics.fmean(
            rows[start] for start in ([key] if key in rows else nodes[key].parents) if start in rows
        )
        for key in column
    }
    column.sort(key=lambda key: mean[key])


@dataclass(frozen=True)
class _Place:
    """Where a box, or the lane of a line, is in the drawing: its left edge, and its middle."""

    x: int
    y: int
    is_lane: bool


def _places(columns: list[list[str]]) -> list[dict[str, _Place]]:
    """Of each column the places of its keys; a key that was in the one before has a lane."""
    places = list[dict[str, _Place]]()
    for number, keys in enumerate(columns):
        top, found = 1, dict[str, _Place]()
        for key in keys:
            is_lane = number > 0 and key in columns[number - 1]
            height = LANE if is_lane else HEIGHT
            x = number * (WIDTH + GAP_ACROSS) + 1
            found[key] = _Place(x, top + height // 2, is_lane)
            top += height + GAP_DOWN
        places.append(found)
    return places


def _drawn(nodes: dict[str, Node], columns: list[list[str]]) -> str:
    places = _places(columns)
    width = len(columns) * (WIDTH + GAP_ACROSS) - GAP_ACROSS + 2
    height = max(place.y + HEIGHT // 2 for column in places for place in column.values()) + 1
    lines = []
    for before, column in itertools.pairwise(places):
        for key, place in column.items():
            starts = [key] if place.is_lane else nodes[key].parents
            end = place.x + WIDTH if place.is_lane else place.x
            lines += [_line(before[start], place, end) for start in starts]
    boxes = [
        _box(nodes[key], place.x, place.y - HEIGHT // 2)
        for column in places
        for key, place in column.items()
        if not place.is_lane
    ]
    return (
        f'<svg class=lineage viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'style="min-width: {min(width, LEAST_WIDTH)}px" '
        f'role="img" aria-label="what it was made from">{"".join(lines + boxes)}</svg>'
    )


def _line(start: _Place, place: _Place, end: int) -> str:
    """From the right of one column to the left of the next, and through it where that is a lane."""
    through = "" if end == place.x else f"H{end}"
    return f'<path d="M{start.x + WIDTH} {start.y}L{place.x} {place.y}{through}"/>'


def _box(node: Node, x: int, y: int) -> str:
    hover = escape(f"{node.title} {node.name}{': ' if node.about else ''}{node.about}")
    return (
        f'<g><title>{hover}</title><rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>'
        f'<text x="{x + 10}" y="{y + 18}" class=stage>{_short(node.title)}</text>'
        f'<text x="{x + 10}" y="{y + 35}">{_short(node.name)}</text></g>'
    )


def _short(text: str) -> str:
    """As much of a text as a box has room for; all of it is under the pointer."""
    return escape(text if len(text) <= 26 else f"{text[:25]}…")
