"""`python -m benchmarks.pairs DIR [NAME …] [--seeds N …]`: many pairs of tasks, and their table.

Each pair is `corrtool init` and `corrtool transfer`, as its users would type them. What the pairs
of one source share, the agent and the environment model, is learnt once for each seed, and its
minutes are counted for each pair. Finished pairs are not played again. `--table` prints what there
is, `--sources-only` learns what the pairs share.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from corrtool.statistics import student_t_interval

DEFINITIONS = Path(__file__).with_suffix(".toml")
PRETRAINED = ("pong",)
SHARED = ("memories", "weights", "runs")  # what a pair takes over from its source's project


@dataclass(frozen=True)
class Pair:
    """A source task, and the target that it is to be transferred to."""

    name: str
    source_name: str
    source: str
    target: str
    views: tuple[str, ...]
    init: tuple[str, ...] = ()  # what else `corrtool init` is told
    control: bool = False  # the tasks share nothing, so their returns have no common scale


@dataclass(frozen=True)
class Outcome:
    """What one `corrtool transfer` came to; returns are means of its fresh games."""

    pair: str
    seed: int
    source: float
    random: float
    reuse: float | None
    transfer: float
    score: float | None
    made: str
    minutes: float

    @property
    def normalised(self) -> float:
        """The share of the way from random play to the agent on its own task."""
        return (self.transfer - self.random) / (self.source - self.random)


def pairs() -> Iterator[Pair]:
    """All pairs, in the order of the file."""
    defined = tomllib.loads(DEFINITIONS.read_text(encoding="utf-8"))
    sources, more = defined.pop("sources"), defined.pop("init")
    for source_name, targets in defined.items():
        source, init = sources[source_name], tuple(more.get(source_name, ()))
        for kind in ("targets", "controls"):
            for name, target in targets.pop(kind, {}).items():
                pair = Pair(f"{source_name}/{name}", source_name, source, target, (), init)
                yield replace(pair, control=kind == "controls")
        for name, views in targets.items():
            yield Pair(f"{source_name}/{name}", source_name, source, source, tuple(views), init)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pairs", description=__doc__)
    parser.add_argument("directory", type=Path, help="where projects and outcomes are kept")
    parser.add_argument("names", nargs="*", help="pairs, or sources; all by default")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="which seeds")
    parser.add_argument("--table", action="store_true", help="print the table, and play nothing")
    parser.add_argument(
        "--sources-only", action="store_true", help="only what the pairs of a source share"
    )
    asked = parser.parse_args()
    chosen = [
        pair
        for pair in pairs()
        if not asked.names or pair.name in asked.names or pair.source_name in asked.names
    ]
    outcomes = asked.directory / "outcomes.jsonl"
    if asked.table:
        print("\n".join(table(chosen, list(read(outcomes)))))
        return
    for seed in asked.seeds:
        for pair in chosen:
            if asked.sources_only:
                prepare(asked.directory, pair, seed)
            elif not any((o.pair, o.seed) == (pair.name, seed) for o in read(outcomes)):
                outcome = play(asked.directory, pair, seed)
                with outcomes.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(outcome)) + "\n")
                print(outcome, flush=True)


def read(outcomes: Path) -> Iterator[Outcome]:
    """The outcomes that were written."""
    if outcomes.exists():
        for line in outcomes.read_text(encoding="utf-8").splitlines():
            yield Outcome(**json.loads(line))


def play(directory: Path, pair: Pair, seed: int) -> Outcome:
    """Transfer one pair with one seed."""
    base, minutes = prepare(directory, pair, seed)
    project = directory / pair.name / f"seed-{seed}"
    shutil.rmtree(project, ignore_errors=True)
    views = [flag for view in pair.views for flag in ("--target-view", view)]
    named = ("--source", pair.source, "--target", pair.target, *pair.init, *views)
    corrtool("init", project, *named)
    for part in SHARED:
        if (base / part).exists():
            shutil.copytree(base / part, project / part, dirs_exist_ok=True)
    began = time.monotonic()
    result = corrtool("transfer", "-p", project, "--seed", seed)
    minutes += (time.monotonic() - began) / 60
    means = {row["policy"]: row["mean_return"] for row in result["rows"]}
    learnt = result["learn_corr"]
    score = learnt.get("score")
    return Outcome(
        pair.name,
        seed,
        means["source"],
        means["random"],
        means.get("reuse"),
        means["transfer"],
        None if score is None else score["value"],
        learnt["corr"],
        round(minutes, 1),
    )


def prepare(directory: Path, pair: Pair, seed: int) -> tuple[Path, float]:
    """The project of a source with its agent and its F, and the minutes that these took.

    Those of Pong come with corrtool.
    """
    base = directory / pair.source_name / f"source-{seed}"
    record = base / "minutes.json"
    if not record.exists():
        shutil.rmtree(base, ignore_errors=True)
        pretrained = ["--pretrained"] if pair.source_name in PRETRAINED else []
        corrtool("init", base, "--source", pair.source, *pair.init, *pretrained)
        began = time.monotonic()
        if not pretrained:
            corrtool("train-dqn", "-p", base, "--seed", seed)
            corrtool("train-model", "-p", base, "--seed", seed)
        record.write_text(json.dumps((time.monotonic() - began) / 60))
    return base, json.loads(record.read_text())


def corrtool(command: str, *arguments: object) -> Any:
    """The JSON of a subcommand. Raises :class:`SystemExit` where it fails."""
    line = [sys.executable, "-m", "corrtool", command, *map(str, arguments), "--json", "--quiet"]
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(line)} ended with {done.returncode}")
    return json.loads(done.stdout)


def table(chosen: list[Pair], outcomes: list[Outcome]) -> list[str]:
    """The lines of a Markdown table, a row for each pair that was played."""
    lines = [
        "| pair | seeds | source | random | reuse | transfer | normalised | score | minutes |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for pair in chosen:
        played = [outcome for outcome in outcomes if outcome.pair == pair.name]
        if played:
            lines.append(_row(pair, played))
    return lines


def _row(pair: Pair, played: list[Outcome]) -> str:
    def mean(values: list[float | None]) -> str:
        numbers = [value for value in values if value is not None]
        return f"{np.mean(numbers):.2f}".rstrip("0").rstrip(".") if numbers else "–"

    normalised = [outcome.normalised for outcome in played]
    share = "–" if pair.control else f"**{np.mean(normalised):.2f}**"
    bounds = student_t_interval(normalised)
    interval = "" if bounds is None or pair.control else f" [{bounds[0]:.2f}, {bounds[1]:.2f}]"
    views = ", ".join(f"`{view}`" for view in pair.views) or f"`{pair.target}`"
    cells = [
        f"{pair.source_name}: {views}",
        str(len(played)),
        mean([outcome.source for outcome in played]),
        mean([outcome.random for outcome in played]),
        mean([outcome.reuse for outcome in played]),
        mean([outcome.transfer for outcome in played]),
        share + interval,
        mean([outcome.score for outcome in played]),
        mean([outcome.minutes for outcome in played]),
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
