"""What ``transfer`` shows to people: the plan of a dry run, and its table in a narrow terminal."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.lanes import task

from corrtool.cli.transfer import _next, _plan_lines, _table
from corrtool.runtime.console import Console


def step(stage: str, name: str | None, **more: Any) -> Any:
    plan = {"stage": stage, "name": name, "done": False, "begun": False}
    return plan | {"inputs": {}, "missing": [], "settings": {}} | more


def test_a_plan_says_what_happens_to_each_stage_and_with_what() -> None:
    plays = {"policy": "q", "task": "target"}
    steps = [
        step("train-dqn", "source-dqn", done=True, cut=True),
        step("collect", "target-random", done=True),
        step(
            "train-model",
            "source-dqn",
            begun=True,
            steps=1380,
            settings={"max_minutes": 6.5},
            inputs={"source_memory": "memory source-dqn", "random_memory": "memory r"},
        ),
        step("collect", "more", begun=True),
        step("learn-corr", None, missing=["no memory"]),
        step("evaluate", "t", settings=plays, inputs={"q": "q source-dqn", "corr": "corr auto"}),
        step("evaluate", "r", settings=plays | {"policy": "random"}),
        step("learn-corr", "auto", anew=["model m"], minutes=1.5, settings={"max_minutes": 2.0}),
        step("learn-corr", "auto", anew=[]),
        step("evaluate", "s", settings=plays, anew=["corr auto"]),
    ]
    assert _plan_lines({"dry_run": True, "steps": steps}) == [
        "1. train-dqn source-dqn: done, cut short by its time limit",
        "2. collect target-random: done",
        "3. train-model source-dqn: goes on from step 1,380, in 6.5 minutes at most",
        "   with memory source-dqn, memory r",
        "4. collect more: goes on where it was interrupted",
        "5. learn-corr: to do",
        "   with what the stages before it make",
        "6. evaluate the agent on the target through the correspondence: to do",
        "   with q source-dqn, corr auto",
        "7. evaluate random play on the target: to do",
        "8. learn-corr auto: learnt anew, since model m will be another, in 1.5 minutes at most",
        "9. learn-corr auto: learnt anew",
        "10. evaluate the agent on the target through the correspondence: played anew, since corr "
        "auto will be another",
    ]


def row(policy: str, mean: float) -> dict[str, Any]:
    returns = [mean + 1.7 * k - 24.65 for k in range(30)]
    return {"policy": policy, "returns": returns, "mean_return": mean, "ci95": [mean, mean]}


def test_numbers_stay_whole_in_80_columns_and_what_was_cut_short_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    project: Any = SimpleNamespace(task=lambda role: f"ALE/Breakout-v5, the {role}")
    rows = [row("source", 219.3), row("source_random", -2.1), row("random", -1.2)]
    share = {"normalised": 0.82, "normalised_ci95": [0.743, 0.91]}
    result: Any = {
        "rows": [*rows, row("reuse", 3.4), row("transfer", 180.1) | share],
        "games": 30,
        "source_agent": "source-dqn",
        "learn_corr": {"corr": "auto-mapped-seed12"},
        "minutes": 12.3,
        "cut": ["train-dqn", "train-model"],
    }
    Console().result(result, _table(project, result))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    shown = "\n".join(lines)
    assert all(
        shown.count(f"{mean}, 95% [") == 1 for mean in ("219.3", "-2.1", "-1.2", "3.4", "180.1")
    )
    assert sum("95% [" in line and line.count("]") == 1 for line in lines) == 5
    assert "82%" in shown and "[74%, 91%]" in shown
    assert "(training cut short)" in shown and "(cut short: train-model)" in shown
    assert "learn-corr" not in shown


def test_the_next_step_names_the_directory_unless_it_is_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project: Any = SimpleNamespace(root=tmp_path, task=lambda role: task())
    rows = [row("source", 219.3), row("source_random", -2.1), row("random", -1.2)]
    rows.append(row("transfer", 180.1) | {"normalised": 0.82})
    result: Any = {"learn_corr": {}, "rows": rows}
    assert _next(project, result).startswith(f"next: cd {tmp_path} && corrtool report")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CORRTOOL_TRUST", "support")
    assert _next(project, result).startswith("next: corrtool report, corrtool finetune, or")
    # A policy, which DQN does not go on from.
    result["learn_corr"] = {"agent_values": "critic", "corr": "auto"}
    assert _next(project, result) == "next: corrtool report, or corrtool evaluate --video game.mp4"
    # No film where the environment draws no pictures.
    project.task = lambda role: task("support.undrawn:Undrawn-v0")
    assert _next(project, result) == "next: corrtool report"
    del result["learn_corr"]["agent_values"]
    assert _next(project, result) == "next: corrtool report, or corrtool finetune"
    rows[-1]["normalised"] = 0.08
    assert _next(project, result) == "next: corrtool explain auto"
    rows[-1]["normalised"], result["learn_corr"]["score"] = 0.9, {"value": 0.1}
    assert _next(project, result) == "next: corrtool explain auto"
    rows[0], result["source_agent"] = row("source", -2.1), "agent"
    monkeypatch.setattr("corrtool.project.artifacts.read_artifact", lambda root, kind, name: name)
    for longer in ("corrtool train-dqn --name agent --extend --env-steps 800", None):
        monkeypatch.setattr(
            "corrtool.workflows.explain.trained_longer", lambda *_, said=longer: said
        )
        assert _next(project, result) == f"next: {longer or 'corrtool train-dqn'}"
