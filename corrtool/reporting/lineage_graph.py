"""What a correspondence was made from, and what was made from it, as a small drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from corrtool.project.artifacts import KIND_LABELS
from corrtool.project.manifests import Reference
from corrtool.reporting.finished import FinishedRun
from corrtool.reporting.table import duration

MOST_RESULTS = 6  # evaluations and finetunings that are drawn; the table of runs has all
# In pixels of the drawing.
WIDTH, HEIGHT, GAP_ACROSS, GAP_DOWN = 190, 44, 36, 14
LEAST_WIDTH = 900  # a page scales a wide drawing down to this, and scrolls it from there


@dataclass(frozen=True)
class Node:
    """A box: two lines of text, and a third for those who point at it."""

    title: str
    name: str
    about: str
    parents: tuple[str, ...]


def lineage_graph(runs: Sequence[FinishedRun[Any]], correspondence: str | None) -> str:
    """An SVG of the runs that led to a correspondence, and of those that used it, from the left.

    Empty where no run made it.
    """
    nodes = _nodes(runs, correspondence)
    return _drawn(nodes, _columns(nodes)) if nodes else ""


def _nodes(runs: Sequence[FinishedRun[Any]], correspondence: str | None) -> dict[str, Node]:
    """Boxes by key, each after those of its parents."""
    makers = {_key(made): run for run in runs for made in run.record["artifacts"]}
    makes = [run for run in runs if run.stage == "learn-corr" and run.name == correspondence]
    nodes = dict[str, Node]()
    for run in makes:
        _add(run, makers, nodes)
    uses = [run for run in runs if {_run_key(make) for make in makes} & _parents(run, makers)]
    for run in uses[-MOST_RESULTS:]:
        _add(run, makers, nodes)
    return nodes


def _add(
    run: FinishedRun[Any], makers: dict[str, FinishedRun[Any]], nodes: dict[str, Node]
) -> None:
    """Add a run after all that it was made from; what came with corrtool has no run."""
    if _run_key(run) in nodes:
        return
    for reference in run.record["parents"].values():
        maker = makers.get(_key(reference))
        if maker is not None and maker is not run:
            _add(maker, makers, nodes)
        elif maker is None:
            label = KIND_LABELS[reference["kind"]]
            nodes.setdefault(_key(reference), Node(label, reference["name"], "", ()))
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
    """Keys by how many steps they are from what was made from nothing."""
    depths = dict[str, int]()
    for key, node in nodes.items():
        depths[key] = 1 + max((depths[parent] for parent in node.parents), default=-1)
    return [
        [key for key, depth in depths.items() if depth == column]
        for column in range(max(depths.values()) + 1)
    ]


def _drawn(nodes: dict[str, Node], columns: list[list[str]]) -> str:
    across, down = WIDTH + GAP_ACROSS, HEIGHT + GAP_DOWN
    places = {
        key: (column * across + 1, row * down + 1)
        for column, keys in enumerate(columns)
        for row, key in enumerate(keys)
    }
    width = len(columns) * across - GAP_ACROSS + 2
    height = max(map(len, columns)) * down - GAP_DOWN + 2
    lines = [
        _line(places[parent], places[key]) for key, node in nodes.items() for parent in node.parents
    ]
    boxes = [_box(node, *places[key]) for key, node in nodes.items()]
    return (
        f'<svg class=lineage viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'style="min-width: {min(width, LEAST_WIDTH)}px" '
        f'role="img" aria-label="what it was made from">{"".join(lines + boxes)}</svg>'
    )


def _line(start: tuple[int, int], end: tuple[int, int]) -> str:
    (x, y), (to_x, to_y) = (start[0] + WIDTH, start[1] + HEIGHT // 2), end
    to_y += HEIGHT // 2
    middle = (x + to_x) // 2
    return f'<path d="M{x} {y}C{middle} {y} {middle} {to_y} {to_x} {to_y}"/>'


def _box(node: Node, x: int, y: int) -> str:
    name = node.name if len(node.name) <= 26 else f"{node.name[:25]}…"
    hover = escape(f"{node.title} {node.name}{': ' if node.about else ''}{node.about}")
    return (
        f'<g><title>{hover}</title><rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>'
        f'<text x="{x + 10}" y="{y + 18}" class=stage>{escape(node.title)}</text>'
        f'<text x="{x + 10}" y="{y + 35}">{escape(name)}</text></g>'
    )
