"""Who plays in a row of the main table, and how far: by hand, and of a real imported agent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from support.commands import run_in_process
from support.foreign_agents import write_sb3
from support.foreign_policies import Sb3ActorCritic, ppo_data

from corrtool.project.artifacts import Artifact
from corrtool.reporting.agents import Agents
from corrtool.reporting.baselines import (
    baseline_name,
    baseline_rows,
    correspondence_name,
    share_of_the_way,
)
from corrtool.reporting.cells import OWN_TASK, RANDOM_PLAY, REUSE, Cell
from corrtool.reporting.finished import Evaluation, FinishedRun
from corrtool.reporting.rows import Row, evaluation_rows
from corrtool.statistics import THE_WAY, normalised

TASK = {"id": "Made-up-v0", "kwargs": {}, "preprocessing": {}, "views": []}


def played(
    mean: float, q: str | None = "now", task: str = "target", seed: int = 0, **settings: Any
) -> Evaluation:
    """An evaluation of the agent ``a`` with this SHA-256, or of random play."""
    usual = {"policy": "random" if q is None else "q", "games": 30, "epsilon": 0.001}
    record: Any = {
        "settings": {"task": task, **usual, **settings},
        "tasks": {"source": TASK, "target": TASK},
        "result": {"returns": [mean] * 2, "mean_return": mean, "distinct_games": 1},
        "seed": seed,
        "created": "0",
        "fingerprint": f"{mean} {q} {task} {seed} {settings}",
        "parents": {} if q is None else {"q": {"kind": "q", "name": "a", "sha256": q}},
    }
    return FinishedRun("evaluate", "e", Path(), record)


def agents(now: str = "now", **manifest: Any) -> Agents:
    """A project whose agent ``a`` has this SHA-256."""
    artifact = Artifact("q", "a", Path(), cast(Any, {"sha256": now, **manifest}))
    return Agents({"a": artifact}, {"a": {now}})


def row_of(*evaluations: Evaluation) -> Row:
    return evaluation_rows([[run] for run in evaluations], [0] * len(evaluations), lambda i, e: "")[
        0
    ]


def share(row: Row, on_source: list[Evaluation], on_target: list[Evaluation]) -> float | None:
    return share_of_the_way(row, baseline_rows(on_source, on_target, agents(), "now"))


def test_the_way_from_random_play_to_the_agent() -> None:
    own, random = played(100.0, task="source"), played(20.0, q=None)
    assert share(row_of(played(60.0)), [own], [random]) == 0.5  # (60 − 20) / (100 − 20)
    assert share(row_of(played(40.0), played(70.0)), [own], [random]) == 0.4375  # of both seeds
    assert share(row_of(played(10.0)), [own], [random]) == -0.125
    assert share(row_of(played(60.0)), [played(20.0, task="source")], [random]) is None


def test_of_an_agent_that_is_not_clearly_better_than_random_play_no_share_is_told() -> None:
    """0.9 and 0.7 are 0.2 apart; of 0.8 and 1.0 the standard error is 0.1, of both means 0.14."""
    own, row = played(0.9, task="source"), row_of(played(0.4))
    cast(Any, own.result)["returns"] = [0.8, 1.0]
    random, source_random = played(0.7, q=None), played(0.7, q=None, task="source")
    cast(Any, source_random.result)["returns"] = [0.6, 0.8]
    assert share(row, [own, source_random], [random]) is None
    cast(Any, source_random.result)["returns"] = [0.7, 0.7]
    assert share(row, [own, source_random], [random]) == pytest.approx(-1.5)
    assert share(row, [own], [random]) == pytest.approx(-1.5)  # nobody has played the source


def test_each_seed_is_beside_the_baselines_of_that_seed() -> None:
    own, random = played(100.0, task="source"), [played(20.0, q=None), played(60.0, None, seed=1)]
    assert share(row_of(played(80.0)), [own], random) == 0.75
    assert share(row_of(played(80.0, seed=1)), [own], random) == 0.5
    assert share(row_of(played(80.0), played(80.0, seed=1)), [own], random) == 0.625
    assert share(row_of(played(70.0, seed=2)), [own], random) == 0.5  # beside the mean of both


def test_only_games_of_one_protocol_and_of_one_agent_are_compared() -> None:
    own, random, row = played(100.0, task="source"), played(20.0, q=None), row_of(played(60.0))
    assert share(row, [], [random]) is None is share(row, [own], [])
    assert share(row, [played(100.0, task="source", games=10)], [random]) is None
    assert share(row, [played(100.0, task="source", epsilon=0.5)], [random]) is None
    assert share(row, [own], [played(20.0, q=None, games=10)]) is None
    assert share(row, [played(100.0, q="other", task="source")], [random]) is None
    assert share(row_of(played(60.0, q="other")), [own], [random]) is None
    sticky = played(60.0, repeat_action_probability=0.25)
    assert share(row_of(sticky), [own], [random]) is None
    assert share(row_of(played(60.0, epsilon=0.5)), [own], [random]) is None


def test_an_agent_that_was_replaced_is_an_earlier_one() -> None:
    known = agents()
    assert known.called(("a", "now")) == "a" and known.called(("gone", "x")) == "gone"
    assert known.called(("a", "0123456789")) == "an earlier a (01234567)"
    assert known.called(("renamed", "now")) == "a" and not known.is_earlier(("a", "now"))
    two = Agents({}, {"gone": {"0123456789", "abcdefghij"}})
    assert two.called(("gone", "0123456789")) == "gone (01234567)"  # which is newer, nothing tells
    rows = baseline_rows([played(1.0), played(2.0, "before"), played(3.0, "old")], [], known, "now")
    assert [baseline_name(known, OWN_TASK, row) for row in rows[OWN_TASK]] == [
        OWN_TASK,
        f"{OWN_TASK}, with Q an earlier a (before)",
        f"{OWN_TASK}, with Q an earlier a (old)",
    ]
    rows = baseline_rows([played(1.0, "before")], [], known, "before")  # the project's own, then
    names = [baseline_name(known, OWN_TASK, row) for row in rows[OWN_TASK]]
    assert names == [f"{OWN_TASK}, with Q an earlier a (before)"]


def test_an_agent_that_was_imported_says_from_where() -> None:
    known = agents(
        stage="import", role="source", network={"architecture": "chain"},
        imported={"file": "ppo.zip", "sha256": "x"}, settings={"format": "sb3"},
    )  # fmt: skip
    row = row_of(played(1.0))
    assert (
        baseline_name(known, OWN_TASK, row)
        == "a (chain, imported from ppo.zip, sb3) on its own task"
    )
    assert baseline_name(known, REUSE, row) == "a reused without correspondence"
    assert baseline_name(known, RANDOM_PLAY, row_of(played(1.0, None))) == RANDOM_PLAY
    assert baseline_name(agents(), OWN_TASK, row) == OWN_TASK  # of train-dqn nothing changes


def test_a_row_names_its_correspondence_and_an_agent_that_is_no_longer_there() -> None:
    run: Any = SimpleNamespace(name="auto", seed=0, reference_to=lambda use: ("a", "now"))
    cell = Cell[Any]("linear", [run])
    assert correspondence_name(agents(), cell, row_of(played(1.0))) == "auto: linear"
    for now in (row_of(played(1.0)), row_of()):
        said = correspondence_name(agents("new"), cell, now)
        assert said == "auto: linear, with Q an earlier a (now)"


def ppo(path: Path, sign: float) -> Path:
    """A policy of CartPole that pushes to where the pole falls, or with -1 the other way."""
    policy = Sb3ActorCritic(2, 4)
    with torch.no_grad():
        policy.action_net.weight.copy_(torch.tensor([[0.0] * 4, [0.0, 0.0, sign, sign]]) * 10)
        policy.action_net.bias.zero_()
    return write_sb3(path, policy, ppo_data([4], 2))


def test_the_report_of_an_imported_agent_that_is_replaced(
    cartpole: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = cartpole("permute:2,3,0,1")
    good, bad = ppo(tmp_path / "good.zip", 1.0), ppo(tmp_path / "bad.zip", -1.0)

    def run(*words: object) -> Any:
        capsys.readouterr()
        assert run_in_process(*words, "-p", lab, "--json", "--quiet") == 0
        return json.loads(capsys.readouterr().out)

    def table(title: str) -> list[dict[str, str]]:
        tables = run("report")["tables"]
        found = next(table for table in tables if table["title"].startswith(title))
        return [dict(zip(found["columns"], row, strict=True)) for row in found["rows"]]

    tiny, imported = ("--preset", "tiny"), ("--from", "sb3", "--preprocessing", "same")
    run("import", "policy", good, *imported, "--name", "agent")
    for words in (
        ("collect", "--task", "source", *tiny), ("collect", *tiny),
        ("learn-corr", *tiny, "--lambda-m", 0, "--generator", "linear", "--q", "agent",
         "--name", "c"),
    ):  # fmt: skip
        run(*words)
    games = ("--games", 3)
    own = run("evaluate", "--task", "source", "--q", "agent", *games)["mean_return"]
    random = run("evaluate", "--policy", "random", *games)["mean_return"]
    through = run("evaluate", "--corr", "c", *games)["mean_return"]
    share = normalised(through, random, own)
    assert share is not None and own > 100
    rows = table("Zero-shot")
    assert "sticky actions 0.25" not in rows[0]
    agent = "agent (chain, imported from good.zip, sb3) on its own task"
    assert [row["who plays"] for row in rows[:2]] == [agent, RANDOM_PLAY]
    assert rows[2]["who plays"].startswith("c: linear, ")
    assert [row[THE_WAY] for row in rows] == ["–", "–", f"{share:.0%}"]
    imports = [row for row in table("Runs and what") if row["stage"].startswith("import")]
    assert [(row["name"], row["made from"]) for row in imports] == [
        ("agent", "good.zip, sb3; trained with the task's preprocessing")
    ]
    page = (lab / "report" / "report.html").read_text(encoding="utf-8")
    assert "class=stage>import: good.zip, sb3</text>" in page

    run("import", "policy", bad, *imported, "--name", "agent", "--overwrite")
    worse = run("evaluate", "--task", "source", "--q", "agent", *games)["mean_return"]
    assert worse < own
    rows = table("Zero-shot")
    shown = {row["who plays"]: row["fresh games"].split(" ")[0] for row in rows}
    earlier = next(
        name for name in shown if name.startswith(f"{OWN_TASK}, with Q an earlier agent")
    )
    assert shown[earlier] == f"{own:.1f}"
    assert shown["agent (chain, imported from bad.zip, sb3) on its own task"] == f"{worse:.1f}"
    assert rows[-1]["who plays"].startswith("c: linear, ")
    assert "with Q an earlier agent (" in rows[-1]["who plays"]
    assert rows[-1][THE_WAY] == f"{share:.0%}"  # of the agent that played, not of the present one
