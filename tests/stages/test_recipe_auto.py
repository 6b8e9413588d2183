"""``learn-corr --recipe auto``: which recipe learns, said and kept, killed or not."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from support.commands import run_in_process, run_interrupted

from corrtool.correspondence import linear_rotations, linear_starts, starts
from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.linear_start import LinearStart
from corrtool.correspondence.linear_starts import LinearStartSearch
from corrtool.correspondence.portfolio import Portfolio
from corrtool.correspondence.score import Scorer
from corrtool.project.artifacts import read_artifact
from corrtool.project.weights import load_weights
from corrtool.runs.loop import Loop
from corrtool.runs.metrics import read_metrics
from corrtool.runs.records import STARTS
from corrtool.runs.results import Score

TINY = ("--preset", "tiny", "--device", "cpu", "--quiet")
AUTO = ("--recipe", "auto", "--action-map", "auto", "--linear-starts", 4, "--eval-games", 0)
TRIED = ["linear", "linear, actions learned", "mlp", "mlp, actions learned"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lab = tmp_path_factory.mktemp("recipes") / "cartpole"
    assert run_in_process("init", lab, "--source", "CartPole-v1", "--quiet") == 0
    for stage in ("train-dqn", "collect", "train-model"):
        assert run_in_process(stage, "-p", lab, *TINY) == 0
    return lab


@pytest.fixture
def lab(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for searches in (linear_starts, linear_rotations):
        monkeypatch.setattr(searches, "ROUNDS", ((5, 64, 0.03, 1.0),))
    monkeypatch.setattr(linear_rotations, "SWEEPS", (0.1,))
    return shutil.copytree(made, tmp_path / "lab")


def without_exact_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no start ends learning at once."""
    monkeypatch.setattr(linear_starts, "SNAPPED_COORDINATES", 0)
    monkeypatch.setattr(linear_rotations, "ROTATED_COORDINATES", 0)


def logged(lab: Path, name: str) -> list[dict[str, Any]]:
    """The metrics of a run."""
    return read_metrics(lab / "runs" / "learn-corr" / name / "metrics.jsonl")


def test_all_are_tried_where_none_explains_enough(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = (*AUTO, "--recipe-trial-steps", 3, "--recipe-enough", 1)
    assert run_in_process("learn-corr", "-p", lab, *TINY, *flags, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    scores = result["recipe_scores"]
    assert result["corr"] == "auto" and result["recipe"] in scores
    assert list(scores) == TRIED or max(scores.values()) == 1
    made = read_artifact(lab, "corr", "auto").manifest
    assert made["network"]["generator"]["kind"] == result["generator"]
    assert made["summary"]["recipe"] == result["recipe"]


def test_a_trial_counts_as_learning_and_the_first_that_is_enough_ends_them(lab: Path) -> None:
    flags = (*AUTO, "--recipe-trial-steps", 3, "--recipe-enough", 0, "--gradient-steps", 5)
    assert run_in_process("learn-corr", "-p", lab, *TINY, *flags) == 0
    (told,) = [line for line in logged(lab, "auto") if line["event"] == "recipe"]
    assert told["chosen"] == "linear" and list(told["scores"]) == ["linear"]


@pytest.mark.parametrize("games", [0, 2])
def test_an_exact_map_has_nothing_to_learn(
    lab: Path, games: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is tested, scored and kept as it is, however low its score; --recipe none learns on."""

    def exact(self: LinearStartSearch, count: int) -> LinearStart:
        weight = torch.diag(torch.tensor([1.0, -1.0, 1.0, -1.0]))
        identity = ActionMap.identity(2)
        return LinearStart(
            weight, torch.zeros(4), identity, 0.5, signed_permutation=True, exact=True
        )

    monkeypatch.setattr(LinearStartSearch, "best", exact)
    monkeypatch.setattr(starts, "best_symmetry", lambda search, start, differences: (start, 0))
    flags = (
        "--recipe",
        "auto",
        "--linear-starts",
        4,
        "--eval-games",
        games,
        "--recipe-patience",
        1,
    )
    assert run_in_process("learn-corr", "-p", lab, *TINY, *flags, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["gradient_steps"], result["settled"], result["recipe"]) == (0, True, "linear")
    assert 0 <= result["score"]["value"] <= 1
    for name in ("auto", "auto-last"):
        weights = load_weights(read_artifact(lab, "corr", name))
        kept = weights["target_to_source.layer.weight"]
        assert torch.equal(kept, torch.diag(torch.tensor([1.0, -1.0, 1.0, -1.0])))
    for command in (("evaluate", "--corr", "auto"), ("explain", "auto"), ("report",), ("status",)):
        quiet = TINY if command[0] == "evaluate" else ("--quiet",)
        assert run_in_process(command[0], "-p", lab, *quiet, *command[1:]) == 0
    learns = (*flags[2:6], "--recipe", "none", "--gradient-steps", 3, "--name", "learns")
    assert run_in_process("learn-corr", "-p", lab, *TINY, *learns, "--json") == 0


def test_a_killed_run_goes_on_with_its_recipe(lab: Path) -> None:
    flags = (*AUTO, "--recipe-trial-steps", 3, "--recipe-enough", 1, "--gradient-steps", 300)
    command = ("learn-corr", *TINY, *flags, "--name", "killed")
    assert run_interrupted(lab, *command, logged=True, seconds=0.3) == 143
    for name in ("killed", "unbroken"):
        assert run_in_process("learn-corr", "-p", lab, *TINY, *flags, "--name", name) == 0
    killed, unbroken = (read_artifact(lab, "corr", name) for name in ("killed", "unbroken"))
    assert killed.sha256 == unbroken.sha256
    assert killed.manifest["summary"] == unbroken.manifest["summary"]


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """One for each search that was made: whether it found the actions too."""
    made, best = list[bool](), LinearStartSearch.best

    def counted(self: LinearStartSearch, count: int) -> LinearStart:
        made.append(self._find_actions)
        return best(self, count)

    monkeypatch.setattr(LinearStartSearch, "best", counted)
    return made


ALL = (*AUTO, "--recipe-trial-steps", 3, "--recipe-enough", 1, "--gradient-steps", 5)


def test_recipes_that_search_alike_search_once(lab: Path, searches: list[bool]) -> None:
    assert run_in_process("learn-corr", "-p", lab, *TINY, *ALL) == 0
    assert searches == [False, True]  # with the identity, and with the map of actions open
    assert not (lab / "runs" / "learn-corr" / "auto" / STARTS).exists()


def test_what_a_killed_run_has_searched_is_not_searched_again(
    lab: Path, searches: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_in_process("learn-corr", "-p", lab, *TINY, *ALL, "--name", "unbroken") == 0
    searches.clear()
    with monkeypatch.context() as patch:
        patch.setattr(Portfolio, "_tried", lambda *_: 1 / 0)
        assert run_in_process("learn-corr", "-p", lab, *TINY, *ALL, "--name", "killed") == 1
    assert run_in_process("learn-corr", "-p", lab, *TINY, *ALL, "--name", "killed") == 0
    assert searches == [False, True]
    killed, unbroken = (read_artifact(lab, "corr", name) for name in ("killed", "unbroken"))
    assert killed.sha256 == unbroken.sha256
    # The first search's own line is lost with the kill; where learning began is told all the same.
    events = [line["event"] for line in logged(lab, "killed")]
    assert events.count("linear_search") == events.count("start") == 1
    starts = [
        next(line for line in logged(lab, name) if line["event"] == "start")
        for name in ("killed", "unbroken")
    ]
    assert starts[0] == starts[1] and starts[0]["kind"] == "linear"


def test_a_search_ends_when_the_time_is_over(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_starts, "ROUNDS", ((10**9, 64, 0.03, 1.0),))
    flags = (*AUTO, "--max-minutes", 0.1, "--name", "short")
    began = time.monotonic()
    assert run_in_process("learn-corr", "-p", lab, *TINY, *flags) == 0
    assert time.monotonic() - began < 30
    summary = read_artifact(lab, "corr", "short").manifest["summary"]
    assert list(summary["recipe_scores"])[:2] == TRIED[:2]  # the map of the actions has its turn


def test_what_the_recipe_decided_is_recorded(lab: Path) -> None:
    flags = (*AUTO, "--recipe-enough", 0, "--gradient-steps", 3)
    assert run_in_process("learn-corr", "-p", lab, *TINY, *flags) == 0
    decided = read_artifact(lab, "corr", "auto").manifest["summary"]["recipe_settings"]
    assert decided == {
        "generator": "linear", "lambda_cyc": 0.0, "lambda_q": 0.0, "lambda_m": 100.0,
        "action_map": "identity",
    }  # fmt: skip
    assert run_in_process("report", "-p", lab, "--quiet") == 0
    page = (lab / "report" / "report.html").read_text(encoding="utf-8")
    assert "lambda-cyc=1.0" in page and "The recipe linear decided:" in page
    assert "generator=linear" in page


def test_a_map_that_no_search_looks_for_is_said_to_be_the_identity(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loud = ("--preset", "tiny", "--device", "cpu", "--gradient-steps", 1, "--eval-games", 0)
    for flags, said in (
        (("--action-map", "auto", "--lambda-m", 0), True),
        (("--action-map", "auto", "--linear-starts", 4), False),
        (("--lambda-m", 0), False),
    ):
        name = f"m{len(flags)}{said}"
        assert run_in_process("learn-corr", "-p", lab, *loud, *flags, "--name", name) == 0
        assert ("--action-map auto is the identity here" in capsys.readouterr().err) is said


def test_a_flag_that_a_recipe_decides_has_no_effect_beside_it(made: Path) -> None:
    asked = ("learn-corr", "-p", made, *TINY, "--recipe", "auto", "--generator", "mlp")
    assert run_in_process(*asked, "--dry-run") == 2


def test_one_whose_time_is_over_and_that_is_settled_at_once(
    lab: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The terms of the last step are told as the time is over, and nothing came since."""
    same = Scorer.score
    monkeypatch.setattr(Scorer, "score", lambda self, *given: {**same(self, *given), "value": 0.9})
    without_exact_maps(monkeypatch)
    monkeypatch.setattr(Loop, "out_of_time", lambda self: self.done == 29)
    flags = (*AUTO, "--recipe-patience", 1, "--gradient-steps", 500, "--json")
    assert run_in_process("learn-corr", "-p", lab, *TINY, *flags) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["gradient_steps"] == 30 and result["score"]["value"] == 0.9


@pytest.mark.parametrize("recipe", ["auto", "none"])
def test_learning_ends_early_where_the_score_rises_no_more_but_only_of_a_recipe(
    lab: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, recipe: str
) -> None:
    """Every score is the same, so after the first, at the start, two more are no better."""
    same = Scorer.score

    def first(self: Scorer, *arguments: Any) -> Score:
        return {**same(self, *arguments), "value": 0.9}

    monkeypatch.setattr(Scorer, "score", first)
    without_exact_maps(monkeypatch)
    flags = ("--linear-starts", 4, "--gradient-steps", 50, "--eval-every", 10, "--eval-games", 0)
    patience = ("--recipe-patience", 2) if recipe == "auto" else ()
    assert (
        run_in_process(
            "learn-corr", "-p", lab, *TINY, *flags, "--recipe", recipe, *patience, "--json"
        )
        == 0
    )
    result = json.loads(capsys.readouterr().out)
    assert result["gradient_steps"] == (20 if recipe == "auto" else 50)
    assert "cut" not in result
