"""The drawing of what a correspondence was made from."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from corrtool.project.artifacts import Artifact
from corrtool.reporting.agents import Agents
from corrtool.reporting.finished import FinishedRun
from corrtool.reporting.lineage_graph import (
    GAP_ACROSS,
    HEIGHT,
    LEAST_WIDTH,
    MOST_RESULTS,
    WIDTH,
    Origins,
    lineage_graph,
)


def run(stage: str, name: str, makes: str | None, *parents: str, **result: Any) -> FinishedRun[Any]:
    """A run that makes an artifact of its own name; artifacts are KIND/NAME."""

    def reference(artifact: str) -> dict[str, str]:
        kind, _, called = artifact.partition("/")
        return {"kind": kind, "name": called, "sha256": f"of {artifact}"}

    record: Any = {
        "seed": 3,
        "seconds": 90.0,
        "parents": {f"input {i}": reference(parent) for i, parent in enumerate(parents)},
        "artifacts": [reference(f"{makes}/{name}")] if makes else [],
        "result": result,
    }
    return FinishedRun(stage, name, Path(), record)


RUNS = [
    run("train-dqn", "agent", "q"),
    run("collect", "play", "memory"),
    run("collect", "elsewhere", "memory"),
    run("train-model", "f", "model", "memory/shipped"),
    run("learn-corr", "c<1>", "corr", "q/agent", "memory/play", "model/f"),
    run("evaluate", "through", None, "q/agent", "corr/c<1>", mean_return=20.0),
    run("evaluate", "reuse", None, "q/agent"),
]


def places(svg: str) -> dict[str, tuple[int, int]]:
    """Where the box of each name is."""
    found = {}
    for group in ElementTree.fromstring(svg).findall("g"):
        box, texts = group.find("rect"), group.findall("text")
        assert box is not None and texts[1].text is not None
        found[texts[1].text] = (int(box.attrib["x"]), int(box.attrib["y"]))
    return found


def test_what_it_was_made_from_is_on_its_left_and_what_used_it_on_its_right() -> None:
    svg = lineage_graph(RUNS, "c<1>")
    at = places(well_formed(svg))
    assert set(at) == {"agent", "play", "shipped", "f", "c<1>", "through"}
    assert at["agent"][0] == at["play"][0] == at["shipped"][0] < at["f"][0] < at["c<1>"][0]
    assert at["c<1>"][0] < at["through"][0]
    assert len({at[name] for name in at}) == len(at)
    assert svg.count("<path ") == 9  # six lines, of which two have a lane past F and past c
    assert "<title>evaluate through: seed 3, 1 min 30 s, mean return 20.0</title>" in svg
    assert "<title>memory shipped</title>" in svg


def well_formed(svg: str) -> str:
    """The same as XML, whose attributes all have quotes."""
    return re.sub(r"class=(\w+)", r'class="\1"', svg)


def test_no_line_passes_behind_a_box() -> None:
    """Of agent and memory to learn-corr past F, and of the agent to the evaluation past that."""
    svg = lineage_graph(RUNS, "c<1>")
    boxes = places(well_formed(svg)).values()
    lines = [points(path) for path in re.findall(r'<path d="([^"]+)"', svg)]
    for line in lines:
        for (x, y), (to_x, to_y) in itertools.pairwise(line):
            for share in (0.001, *(i / 100 for i in range(1, 100)), 0.999):
                at_x, at_y = x + share * (to_x - x), y + share * (to_y - y)
                assert not any(
                    left < at_x < left + WIDTH and top <= at_y <= top + HEIGHT
                    for left, top in boxes
                ), line
    # Every line goes on from a box, or from where another one ends.
    starts = {(left + WIDTH, top + HEIGHT // 2) for left, top in boxes}
    assert all(line[0] in starts | {other[-1] for other in lines} for line in lines)
    ends = {(left, top + HEIGHT // 2) for left, top in boxes}
    assert all(line[-1] in ends | {other[0] for other in lines} for line in lines)


def points(path: str) -> list[tuple[float, float]]:
    """The corners of a path of straight lines."""
    found = [tuple(map(float, point.split())) for point in re.findall(r"[ML]([\d.]+ [\d.]+)", path)]
    level = re.search(r"H([\d.]+)", path)
    corners = [(x, y) for x, y in found]
    return corners if level is None else [*corners, (float(level[1]), corners[-1][1])]


def test_an_import_is_drawn_with_its_file_and_a_replaced_agent_as_an_earlier_one() -> None:
    about: Any = {
        "sha256": "of q/agent", "imported": {"file": "a.zip"},
        "settings": {"format": "sb3", "preprocessing": "other colours"},
    }  # fmt: skip
    imported = Artifact("q", "agent", Path(), about)
    svg = lineage_graph(RUNS[1:], "c<1>", Origins(imports=[imported]))
    assert "<title>import: a.zip, sb3 agent: a.zip, sb3; trained with other colours</title>" in svg
    other = Artifact("q", "agent", Path(), {"sha256": "another"})
    svg = lineage_graph(RUNS[1:], "c<1>", Origins(Agents({"agent": other})))
    assert "<title>Q-function an earlier agent (of q/age)</title>" in svg


def test_only_the_newest_results_are_drawn() -> None:
    many = [run("evaluate", f"e{i}", None, "corr/c<1>") for i in range(MOST_RESULTS + 2)]
    at = places(well_formed(lineage_graph(RUNS[:5] + many, "c<1>")))
    assert "e1" not in at and {f"e{i}" for i in range(2, MOST_RESULTS + 2)} < set(at)


def test_without_a_run_that_made_it_there_is_none() -> None:
    assert lineage_graph(RUNS, "other") == lineage_graph(RUNS, None) == ""


def test_a_page_scales_a_wide_drawing_down_to_a_readable_width() -> None:
    """Never up: a narrow one has its own width."""
    chain = [run("collect", "m0", "memory")]
    chain += [run("collect", f"m{i}", "memory", f"memory/m{i - 1}") for i in range(1, 6)]
    learnt = run("learn-corr", "c", "corr", "memory/m5")
    width = 7 * (WIDTH + GAP_ACROSS) - GAP_ACROSS + 2
    svg = lineage_graph([*chain, learnt], "c")
    assert f'width="{width}"' in svg and f"min-width: {LEAST_WIDTH}px" in svg
    alone = lineage_graph([run("learn-corr", "c", "corr")], "c")
    assert f"min-width: {WIDTH + 2}px" in alone
