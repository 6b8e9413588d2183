"""The report's tables: what came of a project's runs, and what they were made from."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

from corrtool.experiments import experiment_of
from corrtool.project.commands import without_project
from corrtool.reporting.results import REUSE, SCRATCH, Cell, FinishedRun, Results
from corrtool.statistics import Interval, TransferMetrics, interval_over_games, transfer_metrics

THRESHOLDS = (0.0, 10.0, 18.0)


@dataclass(frozen=True)
class Table:
    """A table of the report, with a note on how to read it."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    note: str = ""

    def to_markdown(self) -> str:
        """As GitHub draws it."""
        lines = [f"### {self.title}", ""]
        lines += ["| " + " | ".join(self.columns) + " |", "| " + " | ".join("---" for _ in self.columns) + " |"]
        lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in self.rows]
        return "\n".join([*lines, *(["", self.note] if self.note else []), ""])

    def to_html(self) -> str:
        """As a section of the page."""
        head = "".join(f"<th>{escape(column)}</th>" for column in self.columns)
        body = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>" for row in self.rows)
        note = f"<p class=note>{escape(self.note)}</p>" if self.note else ""
        return f"<h2>{escape(self.title)}</h2><div class=wide><table><tr>{head}</tr>{body}</table></div>{note}"


def title(results: Results) -> str:
    """The paper's experiment whose tasks the project has, or the project's name."""
    experiment = experiment_of(results.project)
    return results.project.root.name if experiment is None else str(experiment["title"])


def tables(results: Results) -> list[Table]:
    """Every table for which the project holds runs."""
    return [*what_came_of_it(results), *what_it_was_made_from(results)]


def what_came_of_it(results: Results) -> list[Table]:
    """Zero-shot transfer and learning on the target."""
    return [table for table in (_zero_shot(results), _transfer(results)) if table.rows]


def what_it_was_made_from(results: Results) -> list[Table]:
    """Source agents, environment models, and every run with its inputs."""
    made = (_source_agents(results), _models(results), _models_by_action(results), _lineage(results))
    return [table for table in made if table.rows]


def _source_agents(results: Results) -> Table:
    rows = []
    for cell in results.source_agents:
        for run, evaluation in zip(cell.runs, cell.evaluations, strict=True):
            games = run.metrics("game")
            solved = None
            if len(games) >= 20:
                solved = transfer_metrics([g["return"] for g in games], [g["env_steps"] for g in games]).env_steps_to[
                    18.0
                ]
            rows.append(
                [
                    run.name,
                    str(run.seed),
                    f"{run.result['env_steps']:,}",
                    _optional(run.result["mean_return_20"]),
                    "–" if solved is None else f"{solved:,}",
                    "–" if evaluation is None else _interval(interval_over_games(evaluation.result["returns"])),
                    _duration(run.seconds),
                ]
            )
    return Table(
        "Source agents",
        [
            "agent",
            "seed",
            "env steps",
            "last 20 training games",
            "env steps to 18",
            "fresh games",
            "wall time",
        ],
        rows,
        "Returns are means; intervals are 95 %. 'Env steps to 18': until the mean of 20 training games reached 18.",
    )


def _models(results: Results) -> Table:
    rows = []
    for cell in results.models:
        for run in cell.runs:
            errors = run.result["validation"]
            rows.append(
                [
                    run.name,
                    str(run.seed),
                    f"{run.result['gradient_steps']:,}",
                    _four(errors.get("l1_newest")),
                    _four(errors.get("l1_newest_persistence")),
                    f"{errors['l1_changing']:.4f}",
                    f"{errors['l1_changing_persistence']:.4f}",
                    f"{errors['l1']:.5f}",
                    f"{errors['l1_persistence']:.5f}",
                    _duration(run.seconds),
                ]
            )
    columns = [
        "model",
        "seed",
        "gradient steps",
        "newest frame, what changes",
        "persistence",
        "state, what changes",
        "persistence",
        "state, everything",
        "persistence",
        "wall time",
    ]
    return Table(
        "Environment models",
        columns,
        rows,
        "Mean absolute error on held-out records, states in [-1, 1]; persistence predicts that nothing changes. Of a state only the "
        "newest frame is news: the others were in the state before.",
    )


def _models_by_action(results: Results) -> Table:
    rows = []
    for cell in results.models:
        for run in cell.runs:
            for errors in run.result["validation"].get("by_action", []):
                rows.append(
                    [
                        run.name,
                        str(errors["action"]),
                        _four(errors["l1_newest"]),
                        _four(errors["l1_newest_persistence"]),
                    ]
                )
    return Table(
        "Environment models, by action",
        ["model", "action", "newest frame, what changes", "persistence"],
        rows,
        "As above, for the records in which this action was taken.",
    )


def _zero_shot(results: Results) -> Table:
    rows = []
    experiment = experiment_of(results.project)
    for name, run in results.baselines.items():
        rows.append([name, "–", "–", _interval(interval_over_games(run.result["returns"])), *["–"] * 5])
    for cell in results.correspondences:
        fresh_games = cell.fresh_games()
        each = [
            "–" if evaluation is None else f"{evaluation.result['mean_return']:.1f}" for evaluation in cell.evaluations
        ]
        rows.append(
            [
                cell.label,
                ", ".join(map(str, cell.seeds)),
                f"{cell.runs[0].result['gradient_steps']:,}",
                "–" if fresh_games is None else _interval(fresh_games),
                ", ".join(each),
                "; ".join(map(play_tests, cell.runs)),
                "; ".join(map(angles, cell.runs)),
                _duration(sum(run.seconds for run in cell.runs) / len(cell.runs)),
                in_the_paper(experiment, cell),
            ]
        )  # fmt: skip
    return Table(
        "Zero-shot transfer: the source agent on the target, without learning there",
        [
            "who plays",
            "seeds",
            "gradient steps",
            "fresh games",
            "each seed",
            "play tests: best, last",
            "angle: start → best",
            "wall time a seed",
            "in the paper",
        ],
        rows,
        "Fresh games chose nothing. Intervals are 95 %, over seeds where there are several and over games otherwise. "
        "The best play test chose the checkpoint that plays them, and is therefore too good. The angle is where the search began to "
        "learn, or 0° where there is none, and that of this checkpoint. The paper's numbers are read off its figures: play tests of "
        "one training.",
    )


def play_tests(run: FinishedRun) -> str:
    """The mean returns of the best play test and of the last one."""
    means = [test["mean_return"] for test in run.metrics("play_test")]
    return f"{max(means):.1f}, {means[-1]:.1f}" if means else "–"


def angles(run: FinishedRun) -> str:
    """Where the rotation of the generator began and where it was when it played best."""
    if run.result["angle_degrees"] is None:
        return "–"
    searches = run.metrics("spatial_search")
    start = searches[-1]["start_degrees"] if searches else run.settings["angle_init"]
    end = run.result["best_angle_degrees"]
    return f"{start:.0f}° → {run.result['angle_degrees'] if end is None else end:.2f}°"


def in_the_paper(experiment: dict[str, Any] | None, cell: Cell) -> str:
    """What the paper measured with the same generator and weights of the losses; its sizes and lengths may differ."""
    for known in [] if experiment is None else experiment["correspondence"]:
        if all(cell.runs[0].settings.get(name) == value for name, value in known["settings"].items()):
            return str(known.get("paper", "–"))
    return "–"


def finetuning_in_the_paper(experiment: dict[str, Any] | None, cell: Cell) -> str:
    """What the paper's Figures 5 and 8 show from the same start: the same generator, none, or no Q-function either."""
    if experiment is None:
        return "–"
    generators = {known["name"]: known["settings"]["generator"] for known in experiment["correspondence"]}
    for known in experiment["finetune"]:
        start = {"scratch": SCRATCH, "reuse": REUSE}.get(known["start"]) or generators[known["start"]]
        if cell.label.split(",")[0] == start:
            return str(known.get("paper", "–"))
    return "–"


def _transfer(results: Results) -> Table:
    rows = []
    metrics = {}
    for cell in results.finetunings:
        metrics[cell.label] = [_curve_metrics(run.metrics("game")) for run in cell.runs if run.metrics("game")]
    scratch = metrics.get(SCRATCH, [])
    experiment = experiment_of(results.project)
    for cell in results.finetunings:
        seeds, fresh_games = metrics[cell.label], cell.fresh_games()
        rows.append(
            [
                cell.label,
                ", ".join(map(str, cell.seeds)),
                _mean([m.jumpstart for m in seeds]) if seeds else "–",
                _mean([m.asymptote for m in seeds]) if seeds else "–",
                *(_reached(seeds, scratch, threshold) if seeds else "–" for threshold in THRESHOLDS),
                "–" if fresh_games is None else _interval(fresh_games),
                finetuning_in_the_paper(experiment, cell),
            ]
        )
    return Table(
        "Learning on the target",
        [
            "start",
            "seeds",
            "first 20 games",
            "last 20 games",
            *(f"games (env steps) to {t:g}" for t in THRESHOLDS),
            "fresh games",
            "in the paper",
        ],
        rows,
        "Means over seeds. 'To 18': until the mean of 20 games reached 18, counting at least 20 games; in brackets the "
        "environment steps, and the share of them that learning from scratch needs beyond that. A dash: not reached by all seeds, or no "
        "game was finished. Fresh games: those of 'corrtool evaluate --q NAME' afterwards. Not "
        "counted: the random play on the target, and the play tests there, from which a correspondence was learnt and chosen.",
    )


def _curve_metrics(games: list[dict[str, Any]]) -> TransferMetrics:
    return transfer_metrics([g["return"] for g in games], [g["env_steps"] for g in games], THRESHOLDS)


def _reached(seeds: list[TransferMetrics], scratch: list[TransferMetrics], threshold: float) -> str:
    games, steps = [m.games_to[threshold] for m in seeds], [m.env_steps_to[threshold] for m in seeds]
    known_games, known_steps = [g for g in games if g is not None], [s for s in steps if s is not None]
    if len(known_steps) < len(seeds):
        return "–"
    mean_steps = sum(known_steps) / len(known_steps)
    text = f"{sum(known_games) / len(known_games):.0f} ({mean_steps:,.0f}"
    alone = [s for m in scratch if (s := m.env_steps_to[threshold]) is not None]
    if scratch and seeds is not scratch and len(alone) == len(scratch):
        text += f"; saves {1 - mean_steps / (sum(alone) / len(alone)):.0%}"
    return text + ")"


def _lineage(results: Results) -> Table:
    rows = []
    for run in results.runs:
        parents = ", ".join(f"{use.replace('_', ' ')} {p['name']}" for use, p in run.record["parents"].items())
        rows.append(
            [
                run.stage,
                run.name,
                str(run.seed),
                parents or "–",
                without_project(run.record["command"]),
                run.corrtool,
                _duration(run.seconds),
            ]
        )
    return Table(
        "Runs and what they were made from",
        ["stage", "name", "seed", "made from", "command", "corrtool", "wall time"],
        rows,
    )


def _interval(interval: Interval) -> str:
    return f"{interval.mean:.1f} [{interval.low:.1f}, {interval.high:.1f}], {interval.count} {interval.over}"


def _optional(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _four(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _mean(values: list[float]) -> str:
    return f"{sum(values) / len(values):.1f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
