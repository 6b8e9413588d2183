"""The report's tables: what came of a project's runs, and what they were made from."""

from __future__ import annotations

from typing import Any

from corrtool.experiments import Experiment, experiment_of
from corrtool.reporting.baselines import baseline_name, correspondence_name, share_of_the_way
from corrtool.reporting.cells import REUSE, SCRATCH, Cell
from corrtool.reporting.evaluations import STICKY, format_interval
from corrtool.reporting.finished import FinishedRun
from corrtool.reporting.lineage import lineage, models, models_by_action
from corrtool.reporting.logged import TrainingGame
from corrtool.reporting.results import Results
from corrtool.reporting.rows import Row, interval_of_all
from corrtool.reporting.sweep_tables import sweep_table
from corrtool.reporting.table import Table, duration
from corrtool.runs.results import FinetuneResult, LearnCorrResult
from corrtool.statistics import (
    MIN_DISTINCT_GAMES,
    THE_WAY,
    TransferMetrics,
    transfer_metrics,
)

STICKY_GAMES = f"sticky actions {STICKY:g}"
PLAYED = ["fresh games", STICKY_GAMES, "protocol"]
FRESH_GAMES = (
    "Fresh games are those of 'corrtool evaluate': nothing was learnt from them or chosen by them."
)
HOW_PLAYED = (
    "A row has one protocol: the usual one of 'evaluate', or else the first that was played; other "
    "games have rows of their own. "
    "Intervals are 95 %: over seeds by Student's t, over the games of a single one by bootstrap, "
    "where at least "
    f"{MIN_DISTINCT_GAMES} differ."
)
READ_OFF = "The paper's numbers are read off its figures: play tests of one training."


def title(results: Results) -> str:
    """The paper's experiment whose tasks the project has, or the project's name."""
    experiment = experiment_of(results.project)
    return results.project.root.name if experiment is None else experiment.title


def tables(results: Results) -> list[Table]:
    """Every table for which the project holds runs."""
    return [*result_tables(results), *lineage_tables(results)]


def result_tables(results: Results) -> list[Table]:
    """Tables of zero-shot transfer, of learning on the target, and of each sweep.

    The second may hold only its note.
    """
    made = ((_zero_shot(results), False), (_transfer(results), bool(results.finetunings)))
    tables = [table for table, always in made if table.rows or always]
    return [*tables, *map(sweep_table, results.sweeps)]


def lineage_tables(results: Results) -> list[Table]:
    """Source agents, environment models, and every run with its inputs."""
    made = (_source_agents(results), models(results), models_by_action(results), lineage(results))
    return [table for table in made if table.rows]


def _source_agents(results: Results) -> Table:
    solved = results.thresholds[-1] if results.thresholds else None
    rows = []
    for cell in results.source_agents:
        for index, run in enumerate(cell.runs):
            own = [row for row in cell.rows if row.plain[index] or row.sticky[index]] or cell.rows[
                :1
            ]
            games = run.games
            steps = (
                None
                if solved is None or not games
                else _curve_metrics(games, (solved,)).env_steps_to[solved]
            )
            about = [
                f"{run.result['env_steps']:,}",
                _optional(run.result["mean_return_20"]),
                *([] if solved is None else ["–" if steps is None else f"{steps:,}"]),
            ]
            for number, row in enumerate(own):
                played = _played(row, slice(index, index + 1))
                if number:
                    rows.append([run.name, str(run.seed), *["–"] * len(about), *played, "–"])
                else:
                    rows.append([run.name, str(run.seed), *about, *played, duration(run.seconds)])
    columns = ["agent", "seed", "env steps", "last 20 training games", *PLAYED, "wall time"]
    until = ""
    if solved is not None:
        columns.insert(4, f"env steps to {solved:g}")
        until = (
            f" 'Env steps to {solved:g}': until the mean of 20 training games reached {solved:g}."
        )
    table = Table("Source agents", columns, rows, f"Returns are means. {HOW_PLAYED}{until}")
    return table.with_column(STICKY_GAMES, "")


def _zero_shot(results: Results) -> Table:
    rows = []
    experiment = experiment_of(results.project)
    for name, played in results.baselines.items():
        rows += [
            [baseline_name(results.agents, name, row), *_with_share(row, ("–", "–")), *["–"] * 5]
            for row in played
            if row.protocol is not None
        ]
    for cell in results.correspondences:
        steps = _gradient_steps(cell)
        about = [
            "; ".join(map(play_tests, cell.runs)),
            "; ".join(map(angles, cell.runs))
            if any(angles(run) != "–" for run in cell.runs)
            else "–",
            duration(sum(run.seconds for run in cell.runs) / len(cell.runs)),
            paper_value(experiment, cell),
        ]
        for number, row in enumerate(cell.rows):
            shown = ["–"] * len(about) if number else about
            rows.append(
                [
                    correspondence_name(results.agents, cell, row),
                    *_with_share(
                        row,
                        (_seeds(cell, row), steps),
                        share_of_the_way(row, results.baselines),
                    ),
                    _each_seed(row),
                    *shown,
                ]
            )
    table = Table(
        "Zero-shot transfer: the source agent on the target, without learning there",
        [
            "who plays",
            PLAYED[0],
            THE_WAY,
            "seeds",
            "gradient steps",
            *PLAYED[1:],
            "each seed",
            "play tests: kept, last",
            "angle: start → best",
            "wall time a seed",
            "in the paper",
        ],
        rows,
        f"{FRESH_GAMES} {HOW_PLAYED} "
        "Play tests chose the checkpoint that plays them, so that of what is kept is too good.",
    )
    table = table.with_column(
        THE_WAY,
        "Of the way from random play to the agent: 0% is as good as random play on the target, "
        "100% as the agent on its own task, each in games of the row's protocol.",
    )
    table = table.with_column(
        "angle: start → best",
        "The angle is where the search began to learn, or 0° where there is none, and that of this "
        "checkpoint.",
    )
    return table.with_column("in the paper", READ_OFF).with_column(STICKY_GAMES, "")


def play_tests(run: FinishedRun[LearnCorrResult]) -> str:
    """The mean returns of the play test of what is kept and of the last one."""
    means = [test.mean_return for test in run.play_tests]
    kept = run.result["best_mean_return"]
    return f"{max(means) if kept is None else kept:.1f}, {means[-1]:.1f}" if means else "–"


def angles(run: FinishedRun[LearnCorrResult]) -> str:
    """The angle at which the generator's rotation began, and the one at which it played best."""
    if run.result["angle_degrees"] is None:
        return "–"
    start = run.settings["angle_init"] if run.start_degrees is None else run.start_degrees
    end = run.result["best_angle_degrees"]
    hand = ", mirrored" if run.result.get("mirrored") else ""
    return f"{start:.0f}° → {run.result['angle_degrees'] if end is None else end:.2f}°{hand}"


def paper_value(experiment: Experiment | None, cell: Cell[LearnCorrResult]) -> str:
    """The paper's number for the same generator and loss weights.

    Its sizes and lengths may differ.
    """
    mine = cell.runs[0].settings
    for known in () if experiment is None else experiment.correspondence:
        if all(mine.get(name) == value for name, value in known.settings.items()):
            return known.paper or "–"
    return "–"


def finetuning_paper_value(experiment: Experiment | None, cell: Cell[FinetuneResult]) -> str:
    """The paper's number in Figures 5 and 8 for the same start.

    That is the same generator, none, or no Q-function either.
    """
    if experiment is None:
        return "–"
    starts = {known.name: known.settings["generator"] for known in experiment.correspondence}
    starts |= {"scratch": SCRATCH, "reuse": REUSE}
    for known in experiment.finetune:
        if cell.label.split(",")[0] == starts[known.start]:
            return known.paper or "–"
    return "–"


def _transfer(results: Results) -> Table:
    thresholds = results.thresholds
    metrics = {
        cell.label: [_curve_metrics(run.games, thresholds) for run in cell.runs if run.games]
        for cell in results.finetunings
    }
    shown = [
        cell
        for cell in results.finetunings
        if metrics[cell.label] or cell.rows[0].protocol is not None
    ]
    scratch = metrics.get(SCRATCH, [])
    experiment = experiment_of(results.project)
    rows = []
    for cell in shown:
        seeds = metrics[cell.label]
        about = ["–"] * (2 + len(thresholds))
        if seeds:
            about = [_mean([m.jumpstart for m in seeds]), _mean([m.asymptote for m in seeds])]
            about += [_reached(seeds, scratch, threshold) for threshold in thresholds]
        for number, row in enumerate(cell.rows):
            first, last = (
                (["–"] * len(about), "–")
                if number
                else (about, finetuning_paper_value(experiment, cell))
            )
            rows.append([_named(cell.label, row), _seeds(cell, row), *first, *_played(row), last])
    note = "Means over seeds. "
    if thresholds:
        note += (
            f"'To {thresholds[-1]:g}': until the mean of 20 games reached {thresholds[-1]:g}, "
            "counting at least 20 games; in brackets "
            "the environment steps, and how many fewer or more of them that is than learning from "
            "scratch needs. A dash: not reached "
            "by all seeds. "
        )
    note += (
        f"Fresh games: those of 'corrtool evaluate --q NAME' afterwards. {HOW_PLAYED} Not "
        "counted: the random play on the target, and the play tests there, from which a "
        "correspondence was learnt and chosen."
    )
    without = [cell.label for cell in results.finetunings if not metrics[cell.label]]
    if without:
        said = f"Learning finished no game: {'; '.join(without)}."
        note = f"{note} {said}" if rows else said
    columns = [
        "start",
        "seeds",
        "first 20 games",
        "last 20 games",
        *(f"games (env steps) to {t:g}" for t in thresholds),
    ]
    table = Table("Learning on the target", [*columns, *PLAYED, "in the paper"], rows, note)
    return table.with_column("in the paper", READ_OFF).with_column(STICKY_GAMES, "")


def _curve_metrics(games: list[TrainingGame], thresholds: tuple[float, ...]) -> TransferMetrics:
    return transfer_metrics(
        [game.game_return for game in games], [game.env_steps for game in games], thresholds
    )


def _reached(seeds: list[TransferMetrics], scratch: list[TransferMetrics], threshold: float) -> str:
    games, steps = (
        [m.games_to[threshold] for m in seeds],
        [m.env_steps_to[threshold] for m in seeds],
    )
    known_games, known_steps = (
        [g for g in games if g is not None],
        [s for s in steps if s is not None],
    )
    if len(known_steps) < len(seeds):
        return "–"
    mean_steps = sum(known_steps) / len(known_steps)
    text = f"{sum(known_games) / len(known_games):.0f} ({mean_steps:,.0f}"
    alone = [s for m in scratch if (s := m.env_steps_to[threshold]) is not None]
    if scratch and seeds is not scratch and len(alone) == len(scratch):
        share = mean_steps / (sum(alone) / len(alone))
        text += f"; saves {1 - share:.0%}" if share <= 1 else f"; needs {share - 1:.0%} more"
    return text + ")"


def _named(label: str, row: Row) -> str:
    return f"{label}, {row.deviation}" if row.deviation else label


def _seeds(cell: Cell[Any], row: Row) -> str:
    """The seeds of a cell, and of which of them the row has games where those are not all."""
    every = ", ".join(map(str, cell.seeds))
    has = [
        plain is not None or sticky is not None
        for plain, sticky in zip(row.plain, row.sticky, strict=True)
    ]
    if all(has) or not any(has):
        return every
    some = ", ".join(str(seed) for seed, there in zip(cell.seeds, has, strict=True) if there)
    return f"{some} of {every}"


def _played(row: Row, runs: slice = slice(None)) -> list[str]:
    """The columns :data:`PLAYED` of a row, of all its runs or some."""
    intervals = (interval_of_all(row.plain[runs]), interval_of_all(row.sticky[runs]))
    shown = ["–" if interval is None else format_interval(interval) for interval in intervals]
    return [*shown, "–" if intervals == (None, None) else row.described()]


def _with_share(row: Row, learnt: tuple[str, str], share: float | None = None) -> list[str]:
    """The same of all its runs, what counts first: games, and the share of the way to the agent.

    ``learnt``, the seeds and the gradient steps, comes between that and the protocol.
    """
    fresh, *others = _played(row)
    return [fresh, "–" if share is None else f"{share:.0%}", *learnt, *others]


def _gradient_steps(cell: Cell[LearnCorrResult]) -> str:
    """The gradient steps of a cell's runs; of each where they differ, as those of patience do."""
    steps = [f"{run.result['gradient_steps']:,}" for run in cell.runs]
    return steps[0] if len(set(steps)) == 1 else "; ".join(steps)


def _each_seed(row: Row) -> str:
    plain, sticky = (
        ", ".join("–" if run is None else f"{run.result['mean_return']:.1f}" for run in column)
        if any(column)
        else ""
        for column in (row.plain, row.sticky)
    )
    return plain + (f"; sticky: {sticky}" if sticky else "") if plain or sticky else "–"


def _optional(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _mean(values: list[float]) -> str:
    return f"{sum(values) / len(values):.1f}"
