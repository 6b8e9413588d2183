"""What each stage of ``transfer`` may take of a budget, as a dry run shows it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.commands import run_in_process

from corrtool.project.directory import Project
from corrtool.settings.budget import Budget
from corrtool.settings.common import CommonOptions
from corrtool.workflows.call import plain_calls
from corrtool.workflows.pipeline import Pipeline
from corrtool.workflows.time_shares import QUIET, TimeShares
from corrtool.workflows.transfer import transfer

TINY = ("--preset", "tiny", "--device", "cpu", "--quiet")
CUT = ("--max-minutes", "0.01")


@pytest.fixture
def lab(cartpole: Callable[..., Path]) -> Path:
    return cartpole("permute:2,3,0,1")


def dry_pipeline(lab: Path) -> Pipeline:
    calls = plain_calls(CommonOptions(preset="tiny", device="cpu", dry_run=True))
    return Pipeline(Project(lab), QUIET, calls, lambda *_: None)


def planned(lab: Path, minutes: float) -> dict[str, Any]:
    """The plan of each stage that learns or collects."""
    plan: Any = transfer(dry_pipeline(lab), from_q=None, games=None, budget=Budget(minutes))
    return {step["stage"]: step for step in plan["steps"] if step["stage"] != "evaluate"}


def made(lab: Path, *commands: tuple[str, ...]) -> None:
    for command in commands:
        assert run_in_process(*command, "-p", lab, *TINY) == 0, command


def test_the_limits_of_an_empty_project_add_up_to_the_budget(lab: Path) -> None:
    steps = planned(lab, 8.0)
    shares = [steps[stage]["minutes"] for stage in ("train-dqn", "train-model", "learn-corr")]
    assert shares == pytest.approx([4.8, 1.07, 1.92], abs=0.02)
    assert sum(shares) <= 8.0


def test_a_run_that_was_cut_short_goes_on_with_its_share_on_top(lab: Path) -> None:
    with (lab / "corrtool.toml").open("a") as toml:
        toml.write("\n[train-model]\ngradient-steps = 10000000\n")
    made(lab, ("train-dqn",), ("collect",), ("train-model", *CUT), ("learn-corr",))
    steps = planned(lab, 3.0)
    assert "train-dqn" not in steps
    model = steps["train-model"]
    assert model["begun"] and model["minutes"] == pytest.approx(1.0, abs=0.01)  # a third
    assert model["settings"]["max_minutes"] == pytest.approx(1.01, abs=0.01)
    corr = steps["learn-corr"]
    assert not corr["done"] and not corr["begun"] and "steps" not in corr
    assert corr["anew"] == ["model source-dqn"]
    assert corr["minutes"] == pytest.approx(1.8, abs=0.02)  # nine tenths of the rest
    assert model["minutes"] + corr["minutes"] <= 3.0


def test_what_later_stages_took_is_left_for_them(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(lab, ("train-dqn", "--env-steps", "10000000", *CUT), ("collect",), ("train-model",))
    shares = TimeShares(dry_pipeline(lab), Budget(3.0))
    given, options = {"task": "source", "env_steps": 10_000_000}, {"name": "source-dqn"}
    begun = shares.begun("train-dqn", given, **options)
    assert begun is not None and begun["done"] and begun["cut"]
    assert shares.more("train-dqn", given, begun, options) == {
        "max_minutes": pytest.approx(1.81, abs=0.01)
    }
    taken = 1.0
    monkeypatch.setattr("corrtool.workflows.time_shares._minutes_needed", lambda *_: taken)
    later = ("train-model", "learn-corr")
    limit = shares.more("train-dqn", given, begun, options, later)
    assert limit == {"max_minutes": pytest.approx(1.01, abs=0.01)}
    taken = 2.0
    # F that is made anew as well: nine tenths of an hour's third, were it not for what comes then.
    anew = shares.limit("train-model", later=("learn-corr",))
    assert anew == {"max_minutes": pytest.approx(1.0, abs=0.01)}
    monkeypatch.undo()
    assert shares.limit("train-model", later=("learn-corr",)) == anew  # which has not run yet
    monkeypatch.setattr("corrtool.workflows.time_shares._minutes_needed", lambda *_: taken)
    begun["settings"]["max_minutes"] = 5.0  # had it had so much, the least would not be worth it
    assert shares.more("train-dqn", given, begun, options, later) is None
