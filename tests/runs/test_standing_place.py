"""A run whose successor was killed before a checkpoint: it stands as if that never began."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.commands import one_line_error, run_in_process

from corrtool.files.sealed import seal_json
from corrtool.project.artifacts import read_artifact
from corrtool.project.directory import Project
from corrtool.runs.records import read_record, standing_place
from corrtool.settings.budget import Budget
from corrtool.settings.common import CommonOptions
from corrtool.workflows.call import plain_calls
from corrtool.workflows.pipeline import Pipeline
from corrtool.workflows.time_shares import QUIET
from corrtool.workflows.transfer_learning import Learner

TINY = ("--preset", "tiny", "--device", "cpu", "--quiet")
ENDLESS = ("train-dqn", "--env-steps", "10000000", "--max-minutes")


def killed_before_a_checkpoint(place: Path, **changes: Any) -> None:
    """Leave what a run leaves that replaces another one, and is killed as it begins."""
    aside = place.with_name(f".{place.name}.replaced")
    place.rename(aside)
    place.mkdir()
    running = {"state": "running", "overwrites": True, "artifacts": [], **changes}
    (place / "run.json").write_bytes(seal_json({**read_record(aside)} | running))


def parents_now(lab: Path, place: Path) -> dict[str, Any]:
    """What the run there would have read if it had begun now."""
    read = read_record(place)["parents"]
    return {
        use: read_artifact(lab, parent["kind"], parent["name"]).reference()
        for use, parent in read.items()
    }


def learner(lab: Path) -> Learner:
    calls = plain_calls(CommonOptions(preset="tiny", device="cpu"))
    return Learner(Pipeline(Project(lab), QUIET, calls, lambda *_: None), Budget(None))


@pytest.fixture
def outdated(cartpole: Callable[..., Path]) -> Path:
    """A project whose agent has gone on since all else was made from it."""
    lab = cartpole("permute:2,3,0,1")
    for command in (
        (*ENDLESS, "0.01"),
        ("collect",),
        ("train-model",),
        ("learn-corr",),
        (*ENDLESS, "0.02"),
    ):
        assert run_in_process(*command, "-p", lab, *TINY) == 0
    return lab


def test_what_is_to_be_made_anew_is_also_after_that(outdated: Path) -> None:
    begin = {
        "train-model": {"memory": "source-dqn"},
        "learn-corr": {"q": "source-dqn"},
    }
    for stage, inputs in begin.items():
        (place,) = (outdated / "runs" / stage).glob("[a-z]*")
        before, now = read_record(place)["parents"], parents_now(outdated, place)
        assert now != before
        killed_before_a_checkpoint(place, parents=now)
        assert standing_place(place) != place
        made = learner(outdated).run(stage, {}, **inputs)
        assert made["name"] == place.name
        assert read_record(place)["parents"] == now and standing_place(place) == place
        assert read_record(place)["state"] == "finished"
    assert run_in_process("verify", "-p", outdated, "--quiet") == 0


def test_a_run_that_was_cut_short_goes_on_after_that(cartpole: Callable[..., Path]) -> None:
    lab = cartpole()
    assert run_in_process(*ENDLESS, "0.01", "-p", lab, *TINY) == 0
    place = lab / "runs" / "train-dqn" / "source-dqn"
    before = read_artifact(lab, "q", "source-dqn").sha256  # which may still be the best
    settings = read_record(place)["settings"] | {"max_minutes": 0.02}
    killed_before_a_checkpoint(place, settings=settings)
    assert run_in_process(*ENDLESS, "0.02", "-p", lab, *TINY) == 0
    assert before in read_artifact(lab, "q", "source-dqn").manifest["continues"]


def test_another_run_of_the_name_is_refused_as_before(
    cartpole: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    lab = cartpole()
    assert run_in_process("collect", "-p", lab, *TINY) == 0
    killed_before_a_checkpoint(lab / "runs" / "collect" / "target-random", seed=1)
    capsys.readouterr()
    collect = ("collect", "--name", "target-random", "-p", lab, *TINY)
    assert run_in_process(*collect, "--seed", "1") == 2
    assert "another --name, or --overwrite it" in one_line_error(capsys)
    assert run_in_process(*collect) == 0  # what is there is what this asks for
    assert read_record(lab / "runs" / "collect" / "target-random")["state"] == "finished"
