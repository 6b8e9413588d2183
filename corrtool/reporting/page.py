"""The report's page: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from html import escape
from typing import Any

from corrtool.reporting.cells import Cell
from corrtool.reporting.lineage_graph import Origins, lineage_graph
from corrtool.reporting.results import Results
from corrtool.reporting.table import Table
from corrtool.reporting.tables import lineage_tables, result_tables, title
from corrtool.runtime.printable import printable


@dataclass(frozen=True)
class DrawnFigure:
    """A figure as PNG, and the ``marks`` over it that tell its numbers (hover.py)."""

    png: bytes
    marks: str = ""


def page(
    results: Results,
    figures: dict[str, DrawnFigure],
    captions: dict[str, str],
    explanation: list[Table],
    best: str | None,
) -> str:
    """The page as HTML; ``figures`` by name become part of it.

    The tables of the ``explanation`` follow them, and what the ``best`` correspondence was made
    from.
    """
    project = results.project
    parts = [f"<h1>{escape(title(results))}</h1>"]
    parts += [
        f"<p>{role}: <code>{escape(str(project.task(role)))}</code></p>"
        for role in ("source", "target")
    ]
    parts += [f"<p class=note>made on: {escape('; '.join(results.machines()))}</p>"]
    parts += [table.to_html() for table in result_tables(results)]
    for name, figure in figures.items():
        encoded = base64.b64encode(figure.png).decode()
        caption = escape(captions[name])
        parts.append(
            f'<figure><div class=picture><img alt="{caption}" '
            f'src="data:image/png;base64,{encoded}">{figure.marks}</div>'
            f"<figcaption>{caption}</figcaption></figure>"
        )
    parts += [table.to_html() for table in explanation]
    if graph := lineage_graph(results.runs, best, Origins(results.agents, results.imports)):
        parts.append(f"<h2>What correspondence {escape(str(best))} was made from</h2>")
        parts.append(f"<p class='note sideways'>{_SIDEWAYS}</p><div class=wide>{graph}</div>")
    parts += [table.to_html() for table in lineage_tables(results)]
    parts += [
        _settings(cell)
        for cells in (results.source_agents, results.correspondences, results.finetunings)
        for cell in cells
    ]
    return printable(_PAGE.format(title=escape(title(results)), body="\n".join(parts)))


def _settings(cell: Cell[Any]) -> str:
    run = cell.runs[0]
    settings = _joined(run.settings)
    summary = f"Settings: {escape(run.stage)} {escape(cell.label)}"
    asked = f"<code>{escape(settings)}</code>"
    return f"<details><summary>{summary}</summary>{asked}{_of_recipe(run.result)}</details>"


def _of_recipe(result: dict[str, Any]) -> str:
    """The settings that a recipe decided, beside those that were asked for; older runs lack them.

    Runs whose recipes differ are in cells of their own.
    """
    recipe = result.get("recipe")
    if recipe is None:
        return ""
    decided: Any = result.get("recipe_settings")
    if not isinstance(decided, dict):
        return f"<p class=note>recipe {escape(str(recipe))}: its settings were not recorded</p>"
    return (
        f"<p>These were asked for. The recipe {escape(str(recipe))} decided:</p>"
        f"<code>{escape(_joined(decided))}</code>"
    )


def _joined(settings: dict[str, Any]) -> str:
    return " ".join(f"{name.replace('_', '-')}={value}" for name, value in settings.items())


_SIDEWAYS = "The drawing may be wider than this window: it scrolls sideways. →"

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}: corrtool report</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #1b1b1b; }}
body {{ max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; font-size: .85rem; }}
th, td {{ text-align: left; vertical-align: top; }}
th, td {{ padding: .25rem .7rem .25rem 0; border-bottom: 1px solid #ddd; }}
.wide {{ overflow-x: auto; }}
.sideways {{ display: none; }}
/* A shadow at an edge beyond which there is more; what is local covers it at the end. */
.wide {{ background: linear-gradient(90deg, #fff 40%, #fff0) left / 2.5rem 100% no-repeat local,
  linear-gradient(-90deg, #fff 40%, #fff0) right / 2.5rem 100% no-repeat local,
  linear-gradient(90deg, #0003, #0000) left / .8rem 100% no-repeat scroll,
  linear-gradient(-90deg, #0003, #0000) right / .8rem 100% no-repeat scroll; }}
@media (max-width: 40rem) {{
  h1 {{ font-size: 1.5rem; line-height: 1.25; }}
  h2 {{ font-size: 1.2rem; line-height: 1.25; }}
  td, th {{ min-width: 3.5rem; }} /* the tables scroll; cells of one word a line would be tall */
  .sideways {{ display: block; }}
  td.long {{ min-width: 12rem; }}
  th.long {{ min-width: 8rem; }}
}}
figure {{ margin: 2rem 0; }}
img {{ max-width: 100%; display: block; }}
.picture {{ position: relative; width: fit-content; }}
.marks {{ position: absolute; inset: 0; width: 100%; height: 100%; }}
.marks * {{ fill: transparent; }}
.marks :hover {{ stroke: #1b1b1b; stroke-width: 2; }}
figcaption, .note {{ color: #555; font-size: .85rem; }}
code {{ font-size: .85em; overflow-wrap: anywhere; }}
details {{ margin: .3rem 0; }}
.lineage {{ max-width: 100%; height: auto; }}
.lineage rect {{ fill: #f4f6f8; stroke: #98a4b0; }}
.lineage path {{ fill: none; stroke: #7d8a97; stroke-width: 1.25; }}
.lineage text {{ font-size: 12px; }}
.lineage .stage {{ font-weight: 600; }}
</style>
{body}
</html>
"""
