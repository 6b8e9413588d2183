"""What came of a suite: shares, tables and the figure, by hand."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from corrtool.reporting import suite, suite_steps
from corrtool.reporting.figures import encode
from corrtool.reporting.suite import (
    PairResult,
    Played,
    below_reuse,
    read_numbers,
    read_played,
    summaries,
    without_players,
)
from corrtool.reporting.suite_figure import suite_figure
from corrtool.reporting.suite_steps import steps_to
from corrtool.reporting.suite_tables import (
    controls_table,
    methods_table,
    pairs_table,
    returns_table,
)


def played(seed: int, score: float | None = 0.9, **means: float) -> Played:
    return {"pair": "p", "seed": seed, "means": means, "score": score}


EASY = PairResult(
    "easy",
    "`flip:h`",
    False,
    [
        played(0, source=10.0, random=0.0, ours=10.0, reuse=1.0, gan=2.0),
        played(1, source=20.0, random=0.0, ours=18.0, reuse=2.0, gan=2.0, paper=5.0),
    ],
)
HARD = PairResult("hard", "`mode=1`", False, [played(0, source=4.0, random=-4.0, ours=0.0)])
NO_AGENT = PairResult("none", "", False, [played(0, source=1.0, random=1.0, ours=3.0)])
CONTROL = PairResult("other", "`X-v0`", True, [played(0, 0.03, source=9.0, random=1.0, ours=2.0)])
ALL = [EASY, HARD, NO_AGENT, CONTROL]


def test_shares_of_the_way() -> None:
    assert EASY.shares("ours") == pytest.approx([1.0, 0.9])
    assert EASY.shares("gan") == pytest.approx([0.2, 0.1])
    assert HARD.shares("ours") == [0.5] and HARD.shares("gan") == []
    assert NO_AGENT.shares("ours") == []  # nothing to come to
    assert EASY.mean("ours") == 14.0 and HARD.mean("gan") is None


def test_methods_are_compared_on_the_pairs_of_both() -> None:
    ours, gan = summaries(ALL, ("ours", "gan", "scratch"))
    assert (ours["method"], ours["pairs"], ours["games_of_seeds"]) == ("ours", 2, 3)
    assert ours["interquartile_mean"] == pytest.approx((0.95 + 0.5) / 2)
    assert ours["enough"] == 1 and ours["ours_better"] is None
    assert ours["ci95"] == pytest.approx([(0.9 + 0.5) / 2, (1.0 + 0.5) / 2])
    assert gan["pairs"] == 1 and gan["interquartile_mean"] == pytest.approx(0.15)
    assert gan["ours_better"] == 1.0


def test_tables() -> None:
    table = pairs_table(ALL, ("ours", "gan", "paper"))
    assert [row[0] for row in table.rows] == ["easy", "hard", "none"]
    easy, hard, none = (dict(zip(table.columns, row, strict=True)) for row in table.rows)
    assert easy["ours"].startswith("0.95 [0.31, 1.59]") and easy["reuse"].startswith("0.10")
    assert (hard["ours"], hard["gan"], hard["source"], hard["seeds"]) == ("0.50", "–", "4.0", "1")
    assert easy["paper"] == "0.25, n = 1"
    assert none["ours"] == "–" and easy["score"] == "0.90"
    assert returns_table(ALL, ("ours",)).rows[1] == ["hard", "4.0", "-4.0", "–", "0.0"]
    (control,) = controls_table(ALL).rows
    assert control == ["other", "`X-v0`", "1", "1.0", "2.0", "0.03"]
    rows = methods_table(summaries(ALL, ("ours", "gan"))).rows
    assert rows[1] == ["gan", "1", "2", "0.15 [0.10, 0.20]", "0 of 1", "1.00"]


def test_steps_are_compared_where_the_task_is_the_same() -> None:
    soon, late = played(0, source=1.0, random=0.0, ours=1.0), played(1, source=1.0, ours=1.0)
    soon["steps"] = {"target": 10_000, "source": 100_000}
    late["steps"] = {"target": 10_000, "source": 20_000}
    unknown = played(2, source=1.0, random=0.0, ours=0.5)
    for same, shown in ((True, "0.30, n = 2"), (False, "–")):
        pair = PairResult("p", "", False, [soon, late, unknown], same)
        table = pairs_table([pair], ("ours",))
        assert dict(zip(table.columns, table.rows[0], strict=True))["steps"] == shown
    assert pairs_table([EASY], ("ours",)).rows[0][-2] == "–"


def test_steps_of_a_correspondence_and_of_its_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first play test with enough counts; a training game, or another event, does not."""
    parents = {"target_memory": {"name": "random"}, "q": {"name": "agent"}}
    runs = {"learn-corr": {"parents": parents}, "train-dqn": {}}
    lines = [
        {"event": "play_test", "env_steps": 100, "mean_return": 7.9},
        {"event": "game", "env_steps": 150, "return": 9.0},
        {"event": "play_test", "env_steps": 200, "mean_return": 8.0},
        {"event": "play_test", "env_steps": 300, "mean_return": 9.0},
    ]
    monkeypatch.setattr(
        suite_steps, "finished_run",
        lambda path: (path, runs[path.parent.name]) if path.parent.name in runs else None,
    )  # fmt: skip
    monkeypatch.setattr(suite_steps, "read_metrics", lambda path: lines)
    memory = SimpleNamespace(manifest={"records": 50})
    monkeypatch.setattr(suite_steps, "read_artifact", lambda root, kind, name: memory)
    assert steps_to(8.0, tmp_path, "c") == {"target": 50, "source": 200}
    assert steps_to(9.5, tmp_path, "c") is None
    assert steps_to(7.0, tmp_path, "c") is None  # at its first test already: since when, who knows
    del runs["train-dqn"]  # an agent from elsewhere
    assert steps_to(8.0, tmp_path, "c") is None


@pytest.mark.parametrize(("ours", "told"), [(7.5, False), (8.0, True)])
def test_steps_are_told_where_ours_comes_nearly_all_of_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ours: float, told: bool
) -> None:
    """From -0.4 to 8 it is 0.95 of the way at 7.58."""
    games: list[Any] = [
        {"policy": "q", "task": "source", "q": "q", "corr": None, "returns": [8.0, 8.0]},
        {"policy": "random", "task": "target", "q": None, "corr": None, "returns": [-0.4, -0.4]},
        {"policy": "q", "task": "target", "q": "q", "corr": "c", "returns": [ours, ours]},
    ]
    asked: list[float] = []

    def steps(enough: float, root: Path, corr: str) -> Any:
        asked.append(enough)
        return {"target": 1, "source": 2}

    ours_of = [one | {"settings": {}, "mean_return": sum(one["returns"]) / 2} for one in games]
    (tmp_path / "corrtool.toml").touch()
    monkeypatch.setattr(suite, "Project", lambda root: root)
    monkeypatch.setattr(suite, "evaluations", lambda project: ours_of)
    monkeypatch.setattr(suite, "steps_to", steps)
    found = read_played(tmp_path, "p", 0)
    assert found is not None and ("steps" in found) is told
    assert asked == pytest.approx([-0.4 + 0.95 * 8.4] if told else [])
    path = tmp_path / "suite.json"
    path.write_text(json.dumps({"preset": "tiny", "played": [found]}))
    assert read_numbers(path) == ("tiny", [found])


def test_a_pair_that_is_worse_than_without_a_correspondence_is_named() -> None:
    worse = PairResult("worse", "", False, [played(0, source=1.0, random=0.0, ours=0.5, reuse=0.6)])
    near = PairResult("near", "", False, [played(0, source=1.0, random=0.0, ours=0.5, reuse=0.54)])
    assert below_reuse([*ALL, worse, near]) == ["worse"]


def test_the_figure_is_drawn_of_much_and_of_nothing() -> None:
    for results in (ALL, []):
        assert encode(suite_figure(results, ("ours", "gan")), "png").startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("agent", "learnt"), [([1.0, 3.0], True), ([0.0, 3.0], False), ([0.0, 0.0], False)]
)
def test_of_an_agent_that_hardly_beats_random_play_there_is_no_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agent: list[float], learnt: bool
) -> None:
    """Random play on the agent's own task has 0 in each game, two standard errors are 2 and 3."""
    games: list[Any] = [
        {"policy": "q", "task": "source", "q": "q", "corr": None, "returns": agent},
        {"policy": "random", "task": "source", "q": None, "corr": None, "returns": [0.0, 0.0]},
        {"policy": "random", "task": "target", "q": None, "corr": None, "returns": [-9.0, 9.0]},
        {"policy": "q", "task": "target", "q": "q", "corr": None, "returns": [1.0, 1.0]},
    ]
    told = [one | {"settings": {}, "mean_return": sum(one["returns"]) / 2} for one in games]
    (tmp_path / "corrtool.toml").touch()
    monkeypatch.setattr(suite, "Project", lambda root: root)
    monkeypatch.setattr(suite, "evaluations", lambda project: told)
    played = read_played(tmp_path, "p", 0)
    assert played is not None and played.get("no_agent", False) is not learnt
    assert played["means"]["random"] == played["means"]["source_random"] == 0.0
    assert PairResult("p", "flip", False, [played]).shares("reuse") == (
        [1.0 / (sum(agent) / 2)] if learnt else []
    )


def test_a_seed_that_two_machines_played_in_part_counts_once() -> None:
    elsewhere = played(0, source=4.0, random=0.0, paper=2.0)
    pair = PairResult("p", "", False, [played(0, source=10.0, random=0.0, ours=5.0), elsewhere])
    assert pair.seeds == 1 and pair.shares("ours") == [0.5] and pair.shares("paper") == [0.5]
    (row,) = pairs_table([pair], ("ours", "paper")).rows
    assert row[2] == "1" and not any("n = " in cell for cell in row)


def test_others_are_left_with_the_agent_and_random_play_of_their_machine() -> None:
    known = played(0, source=4.0, random=0.0, source_random=1.0, ours=4.0, paper=2.0)
    known["steps"] = {"target": 1, "source": 2}
    rest = without_players(known, {"source", "random", "ours"})
    assert rest is not None and rest["means"] == {
        "source": 4.0, "random": 0.0, "source_random": 1.0, "paper": 2.0
    }  # fmt: skip
    assert rest["score"] is None and "steps" not in rest  # those of ours
    kept = without_players(known, {"paper"})
    assert kept is not None and kept["score"] == 0.9 and kept["steps"] == known["steps"]
    assert without_players(known, {"ours", "paper"}) is None
