"""A run that its time limit cut short goes on where it ended, once it has more time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.commands import files_of, run_in_process, run_interrupted

from corrtool.project.artifacts import read_artifact
from corrtool.runs.limits import TimeLimit
from corrtool.runs.metrics import read_metrics

TINY = ("--preset", "tiny", "--device", "cpu")
# Each stage, its length, and after how many steps or questions of its loop the clock is over.
STAGES = {
    "train-dqn": ("--env-steps", "600"),
    "train-model": ("--gradient-steps", "60"),
    "learn-corr": ("--gradient-steps", "60", "--eval-games", "0"),
    "finetune": ("--env-steps", "400"),
}
LIMITED = ("--max-minutes", "30")


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lab = tmp_path_factory.mktemp("going-on") / "lab"
    views = ("--target-view", "permute:2,3,0,1")
    assert run_in_process("init", lab, "--source", "CartPole-v1", *views, "--quiet") == 0
    for stage in ("train-dqn", "collect", "train-model", "learn-corr"):
        assert run_in_process(stage, "-p", lab, *TINY, "--quiet") == 0
    return lab


@pytest.fixture
def lab(_made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(_made, tmp_path / "lab")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """What sets after how many questions a limit is over; None for the real clock."""

    def set_to(questions: int | None) -> None:
        left = [questions]

        def over(limit: TimeLimit) -> bool:
            if limit.seconds_left() is None or left[0] is None:
                return False
            left[0] -= 1
            return left[0] < 0

        monkeypatch.setattr(TimeLimit, "over", over)

    return set_to


def asked(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    capsys.readouterr()
    assert run_in_process(*arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


def steps_of(result: Any) -> int:
    return int(result["env_steps" if "env_steps" in result else "gradient_steps"])


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("more", [("--max-minutes", "60"), ()])
def test_a_run_goes_on_with_more_time_and_takes_the_place_of_the_shorter_one(
    lab: Path,
    stage: str,
    more: tuple[str, ...],
    clock: Callable[[int | None], None],
    capfd: pytest.CaptureFixture[str],
) -> None:
    flags = (stage, "-p", lab, *TINY, *STAGES[stage], "--name", "x")
    clock(20)
    cut = asked(capfd, *flags, *LIMITED)
    assert cut["cut"] is True
    run = lab / "runs" / stage / "x"
    assert (run / "checkpoint.safetensors").exists()
    assert asked(capfd, *flags, *LIMITED, "--dry-run")["done"]
    assert run_in_process("verify", "-p", lab) == 0
    lines = len(read_metrics(run / "metrics.jsonl"))

    clock(None)
    plan = asked(capfd, *flags, *more, "--dry-run")
    assert (plan["done"], plan["begun"], plan["cut"]) == (False, True, True)
    assert plan["steps"] == steps_of(cut)
    assert run_in_process(*flags, *more) == 0
    assert f"resuming at {steps_of(cut):,} of" in capfd.readouterr().err
    through = asked(capfd, *flags, *more)  # done already
    assert "cut" not in through and steps_of(through) > steps_of(cut)
    assert not run.with_name(".x.replaced").exists()
    assert not (run / "checkpoint.safetensors").exists() and not (run / "journal").exists()
    assert len(read_metrics(run / "metrics.jsonl")) >= lines
    for made in cut["artifacts"]:
        artifact = read_artifact(lab, made["kind"], made["name"])
        assert made["sha256"] in artifact.manifest["continues"]
    assert run_in_process("verify", "-p", lab) == 0
    assert run_in_process(*flags, *LIMITED) == 2  # that one is no more
    assert "max-minutes was" in capfd.readouterr().err


@pytest.mark.parametrize("stage", ["train-model", "learn-corr"])
def test_it_ends_bitwise_where_a_run_without_a_limit_does(
    lab: Path, stage: str, clock: Callable[[int | None], None]
) -> None:
    flags = (stage, "-p", lab, *TINY, "--quiet", *STAGES[stage], "--name")
    assert run_in_process(*flags, "unbroken") == 0
    for questions, limit in ((10, ("30",)), (15, ("60",)), (None, ())):
        clock(questions)
        assert run_in_process(*flags, "x", *(("--max-minutes", *limit) if limit else ())) == 0
    kind, end = ("model", "") if stage == "train-model" else ("corr", "-last")
    x, unbroken = (read_artifact(lab, kind, f"{name}{end}") for name in ("x", "unbroken"))
    assert x.sha256 == unbroken.sha256
    assert len(x.manifest["continues"]) == (2 if kind == "model" else 4)


def test_it_can_be_interrupted_and_the_shorter_one_stays_until_it_ends(
    lab: Path, clock: Callable[[int | None], None], capfd: pytest.CaptureFixture[str]
) -> None:
    flags = ("train-model", *TINY, "--quiet", "--gradient-steps", "100000", "--name", "x")
    clock(20)
    assert run_in_process(*flags, *LIMITED, "-p", lab) == 0
    run, cut = lab / "runs" / "train-model" / "x", read_artifact(lab, "model", "x")
    before = files_of(run)
    clock(None)
    assert run_interrupted(lab, *flags, seconds=0.2) == 143
    assert files_of(run.with_name(".x.replaced")) == before
    assert read_artifact(lab, "model", "x").sha256 == cut.sha256
    plan = asked(capfd, *flags, "-p", lab, "--dry-run")
    assert plan["begun"] and "cut" not in plan and plan["steps"] > 20
    capfd.readouterr()
    assert run_in_process(*flags, *LIMITED, "-p", lab) == 2
    assert "is being replaced by an interrupted run" in capfd.readouterr().err
    assert run_interrupted(lab, *flags, seconds=0.2) == 143  # and again
    assert run_in_process("verify", "-p", lab) == 0


def test_what_fails_before_it_has_begun_leaves_the_shorter_one(
    lab: Path, clock: Callable[[int | None], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from corrtool.runs import run as module

    flags = ("train-model", "-p", lab, *TINY, "--quiet", "--gradient-steps", "60", "--name", "x")
    clock(20)
    assert run_in_process(*flags, *LIMITED) == 0
    before = files_of(lab)
    clock(None)
    with monkeypatch.context() as patch:
        patch.setattr(module, "read_checkpoint", lambda _: 1 / 0)
        assert run_in_process(*flags) == 1
    assert files_of(lab) == before
    (lab / "runs" / "train-model" / "x" / "checkpoint.safetensors").unlink()
    assert run_in_process(*flags) == 2  # as of an older version, which kept none


def test_other_settings_with_more_time_are_another_run(
    lab: Path, clock: Callable[[int | None], None], capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("train-model", "-p", lab, *TINY, "--quiet", "--gradient-steps", "60", "--name", "x")
    clock(20)
    assert run_in_process(*flags, *LIMITED) == 0
    capsys.readouterr()
    assert run_in_process(*flags, "--learning-rate", "0.1") == 2
    assert "learning-rate was" in capsys.readouterr().err
    assert run_in_process(*flags, "--overwrite") == 0  # begins anew
    assert "continues" not in read_artifact(lab, "model", "x").manifest


@pytest.mark.parametrize(
    "stage",
    [
        ("train-model", "--gradient-steps", "5", "--name", "x"),
        ("train-dqn", "--env-steps", "200", "--name", "x"),
        ("learn-corr", "--gradient-steps", "5", "--name", "x"),
    ],
)
def test_a_limit_that_was_not_needed_makes_no_other_run(
    lab: Path, capsys: pytest.CaptureFixture[str], stage: tuple[str, ...]
) -> None:
    flags = (*stage, "-p", lab, *TINY)
    assert run_in_process(*flags, "--max-minutes", 30) == 0
    before = files_of(lab)
    for more in ((), ("--max-minutes", 40)):
        capsys.readouterr()
        assert run_in_process(*flags, *more) == 0
        assert "is done already" in "".join(capsys.readouterr())
    assert files_of(lab) == before
    assert run_in_process(*flags, "--max-minutes", 20) == 2  # it may have needed that
    assert "max-minutes was 30.0, now 20.0" in capsys.readouterr().err
    assert run_in_process(*flags, "--seed", 1) == 2
    assert "seed was 0, now 1" in capsys.readouterr().err
