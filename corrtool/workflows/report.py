"""Draw what a project's runs came to: figures, tables and one page."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from matplotlib.figure import Figure

from corrtool.errors import ArtifactError, CorrtoolError, MissingInputError, UsageError
from corrtool.files.atomic import inside, write_atomic
from corrtool.project.artifacts import find_artifacts
from corrtool.project.defaults import project_device, project_seed
from corrtool.project.directory import Project, check_output
from corrtool.reporting.best import best_correspondence
from corrtool.reporting.explanation import Explanation
from corrtool.reporting.explanation_tables import explanation_tables
from corrtool.reporting.figures import draw_figures, encode
from corrtool.reporting.heat_maps import action_matrix_figure
from corrtool.reporting.hover import hover_marks
from corrtool.reporting.page import DrawnFigure, page
from corrtool.reporting.results import Results, read_results
from corrtool.reporting.sweep_figures import sweep_figures
from corrtool.reporting.sweep_tables import caption
from corrtool.reporting.table import Table
from corrtool.reporting.tables import tables, title
from corrtool.runtime.console import Console
from corrtool.workflows.explain import explain

_QUIET = Console(quiet=True)
CAPTIONS = {
    "source-agent": "Learning the source task: mean return of the last 20 training games "
    "(ε-greedy).",
    "play-tests": "Zero-shot play on the target while the correspondence was learnt (the paper's "
    "Figures 3 and 6).",
    "losses": "The terms of the loss, eq. (8)–(11), unweighted.",
    "translations": "States of the target task (left) and their translations (right) while "
    "learning (the paper's Figures 4 and 7).",
    "finetuning": "Learning on the target task from different starts (the paper's Figures 5 and "
    "8); "
    "bands are 95 % intervals over seeds, by Student's t, cut off where they leave the curves.",
    "action-matrix": "How well F predicts translated transitions of each target action as each "
    "source action, of the correspondence that plays best: blue is well. A circle is the map in "
    "use, a cross the best one.",
}


class ReportedTable(TypedDict):
    """A table of the report, as JSON."""

    title: str
    columns: list[str]
    rows: list[list[str]]


class ReportResult(TypedDict):
    """What ``report`` wrote.

    ``left_out`` has a line for each run and each manifest of a sweep that cannot be read.

    ``explained`` is the correspondence that the page explains, None where there is none that can.
    """

    report: str
    explained: str | None
    figures: list[str]
    left_out: list[str]
    tables: list[ReportedTable]


def report(
    project: Project,
    markdown: Path | None = None,
    *,
    append: bool = False,
    thresholds: tuple[float, ...] = (),
    console: Console = _QUIET,
) -> ReportResult:
    """Write ``report/``: each figure as PNG and SVG, and ``report.html``.

    The page also says why the correspondence that plays best transfers or not, as ``explain``
    does. The tables also as Markdown on request.

    Runs and sweeps that cannot be read are left out, and named under ``left_out`` in what is
    returned.

    Args:
        markdown: file for the tables; figures stay in ``report/``.
        append: keep what the file holds, and write the tables after it.
        thresholds: returns whose reaching is told, instead of those that the tasks and the
            evaluations suggest.
        console: shows how far the explanation is.

    Raises:
        ArtifactError: there is no finished run to report on.
        UsageError: the tables cannot be written there.
    """
    if markdown is not None:
        check_output(markdown, "--markdown", project)
    before = _text_of(markdown) if markdown is not None and append and markdown.exists() else ""
    results = read_results(project, thresholds, console)
    if not results.runs and results.left_out:
        raise ArtifactError(results.left_out[0], "there is no other finished run to report on")
    if not results.runs:
        raise ArtifactError(
            f"{project.root} has no finished run to report on",
            "run a stage first, such as 'corrtool train-dqn'",
        )
    folder = inside(project.root, project.root / "report")
    explained = _explained(results, console)
    captions = dict(CAPTIONS)
    with console.transient_progress("report: drawing", len(results.sweeps) + 1, "parts") as bar:
        figures = draw_figures(results)
        bar.advance(1)
        for sweep in results.sweeps:
            of_sweep = sweep_figures(sweep)
            figures |= of_sweep
            captions |= dict.fromkeys(of_sweep, caption(sweep))
            bar.advance(1)
    if isinstance(explained, dict) and explained["actions"] is not None:
        figures["action-matrix"] = action_matrix_figure(explained["actions"])
    pictures = _write_figures(folder, figures, console)
    write_atomic(
        folder / "report.html",
        page(results, pictures, captions, _explanation(explained), _best(results)).encode(),
    )
    made = tables(results)
    if markdown is not None:
        write_atomic(markdown, (before + _as_markdown(results, made)).encode())
    return {
        "report": project.relative(folder / "report.html"),
        "explained": explained["correspondence"] if isinstance(explained, dict) else None,
        "figures": [f"report/{name}.{kind}" for name in pictures for kind in ("png", "svg")],
        "left_out": results.left_out,
        "tables": [{"title": t.title, "columns": t.columns, "rows": t.rows} for t in made],
    }


def _write_figures(
    folder: Path, figures: dict[str, Figure], console: Console
) -> dict[str, DrawnFigure]:
    """Write each figure as PNG and SVG; returns the PNGs, with what to tell over them, by name.

    Raises :class:`ArtifactError` for a name that is none of a file in ``folder``.
    """
    pictures = {}
    with console.transient_progress("report: figures", len(figures), "figures") as bar:
        for name, figure in figures.items():
            if Path(name).name != name:
                raise ArtifactError(f"no figure can be called {name!r}", "rename what it shows")
            pictures[name] = DrawnFigure(encode(figure, "png"), hover_marks(figure))
            write_atomic(folder / f"{name}.png", pictures[name].png)
            write_atomic(folder / f"{name}.svg", encode(figure, "svg"))
            bar.advance(1)
    return pictures


def _explained(results: Results, console: Console) -> Explanation | str | None:
    """Why the correspondence that plays best transfers or not, or why that cannot be said.

    The newest where none has a number; None where there is none. What is damaged must not take the
    rest of the report along.
    """
    project = results.project
    try:
        device, seed = project_device(project, None), project_seed(project, None)
        return explain(project, console, device, _best(results), seed=seed)
    except MissingInputError:
        return None
    except CorrtoolError as error:
        return str(error)


def _best(results: Results) -> str | None:
    """The correspondence that plays best, of those that are still as they were learnt."""
    there = {(a.name, a.sha256) for a in find_artifacts(results.project.root, "corr")}
    learnt = [run for cell in results.correspondences for run in cell.runs]
    return best_correspondence(
        [run for run in learnt if (run.name, run.output_sha256("corr", run.name)) in there],
        [run for run in results.runs if run.stage == "evaluate"],
    )


def _explanation(explained: Explanation | str | None) -> list[Table]:
    """The section of the page."""
    if isinstance(explained, str):
        return [Table("Why the best correspondence transfers or not", [], [], explained)]
    return [] if explained is None else explanation_tables(explained)


def _text_of(markdown: Path) -> str:
    try:
        return markdown.read_text(encoding="utf-8-sig") + "\n"
    except UnicodeDecodeError:
        raise UsageError(
            f"--markdown {markdown} does not hold UTF-8 text to append to", "give another file"
        ) from None


def _as_markdown(results: Results, made: list[Table]) -> str:
    project = results.project
    tasks = "\n".join(f"- {role}: `{project.task(role)}`" for role in ("source", "target"))
    tasks += f"\n- made on: {'; '.join(results.machines())}"
    return f"## {title(results)}\n\n{tasks}\n\n" + "\n".join(table.to_markdown() for table in made)
