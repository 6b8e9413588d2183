"""What learn-corr does with the scores of its correspondence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.commands import run_in_process

from corrtool.correspondence import linear_starts
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.score import Scorer
from corrtool.project.artifacts import read_artifact
from corrtool.project.manifests import Manifest
from corrtool.q_learning.saved import RewardsLearnt
from corrtool.reporting.result_lines import learn_corr as lines_of
from corrtool.runs import loop
from corrtool.runs.metrics import read_metrics
from corrtool.runs.results import LearnCorrResult, Score
from corrtool.workflows.transfer_rows import make_notes

TINY = ("--preset", "tiny", "--device", "cpu", "--quiet")
LEARN = ("learn-corr", *TINY, "--gradient-steps", "30", "--eval-every", "10", "--name", "c")
ONE: Score = {
    "model_loss": 0.1, "source_model_loss": 0.1, "model_share": 1.0,
    "bellman_error": 0.5, "source_bellman_error": 0.5, "bellman_share": 1.0,
    "cycle_error": 0.0, "value": 1.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CartPole with its numbers in another order, ready for learn-corr."""
    lab = tmp_path_factory.mktemp("scores") / "lab"
    views = ("--source", "CartPole-v1", "--target-view", "permute:2,3,0,1")
    assert run_in_process("init", lab, *views, "--quiet") == 0
    for stage in ("train-dqn", "collect", "train-model"):
        assert run_in_process(stage, "-p", lab, *TINY) == 0
    return lab


@pytest.fixture
def lab(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "lab")


def learnt(lab: Path, capsys: pytest.CaptureFixture[str], *flags: str) -> Any:
    capsys.readouterr()
    assert run_in_process(*LEARN, "-p", lab, "--json", *flags) == 0
    return json.loads(capsys.readouterr().out)


def metrics_of(lab: Path, event: str, name: str = "c") -> list[dict[str, Any]]:
    lines = read_metrics(lab / "runs" / "learn-corr" / name / "metrics.jsonl")
    return [line for line in lines if line["event"] == event]


def weights(lab: Path, name: str) -> str:
    return read_artifact(lab, "corr", name).sha256


def scores_of(*values: float) -> Callable[..., Score]:
    """A scorer that finds these, one after the other."""
    left = iter(values)

    def score(*_: object) -> Score:
        return {**ONE, "value": next(left)}

    return score


class TestWhatIsScored:
    def test_every_play_test_has_a_score_and_the_best_ones_is_the_result(
        self, lab: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        result = learnt(lab, capsys, "--eval-games", "1")
        events = {line["gradient_steps"]: line for line in metrics_of(lab, "score")}
        assert list(events) == [line["gradient_steps"] for line in metrics_of(lab, "play_test")]
        assert list(events) == [10, 20, 30]
        assert result["score"].items() <= events[result["best_gradient_steps"]].items()
        assert 0 <= result["score"]["value"] <= 1 and result["score"]["bellman_share"] is not None
        assert result["metrics"]["score_value"] == result["score"]["value"]
        manifests = [read_artifact(lab, "corr", name).manifest for name in ("c", "c-last")]
        assert manifests[0]["summary"]["score"] == result["score"]
        assert manifests[1]["summary"]["score"].items() <= events[30].items()

    def test_the_start_that_a_search_found_is_scored(
        self, lab: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(linear_starts, "ROUNDS", ((3, 256, 0.03, 1.0),))
        assert run_in_process(*LEARN, "-p", lab, "--linear-starts", "4", "--eval-games", "0") == 0
        assert [line["gradient_steps"] for line in metrics_of(lab, "score")] == [0, 10, 20, 30]

    def test_without_f_there_is_none(self, lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
        result = learnt(lab, capsys, "--lambda-m", "0", "--eval-games", "1")
        assert "score" not in result and not metrics_of(lab, "score")

    def test_without_q_there_is_no_bellman_error(
        self, lab: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        score = learnt(lab, capsys, "--lambda-q", "0", "--eval-games", "0")["score"]
        assert score["bellman_share"] is None and score["value"] == score["model_share"]

    def test_learning_is_what_it_is_without_scores(
        self, lab: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert run_in_process(*LEARN, "-p", lab, "--eval-games", "1") == 0
        monkeypatch.setattr(Scorer, "score", scores_of(1.0, 1.0, 1.0))
        assert run_in_process(*LEARN, "-p", lab, "--eval-games", "1", "--name", "not") == 0
        assert (weights(lab, "c"), weights(lab, "c-last")) == (
            weights(lab, "not"),
            weights(lab, "not-last"),
        )


class TestTheBest:
    @pytest.mark.parametrize(
        ("values", "best"), [((0.3, 0.5, 0.4), 20), ((0.5, 0.1, 0.5), 30), ((0.9, 0.1, 0.2), 10)]
    )
    def test_without_games_the_score_chooses(
        self,
        lab: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        values: tuple[float, ...],
        best: int,
    ) -> None:
        monkeypatch.setattr(Scorer, "score", scores_of(*values))
        result = learnt(lab, capsys, "--eval-games", "0")
        assert (result["best_gradient_steps"], result["score"]["value"]) == (best, max(values))
        assert (weights(lab, "c") == weights(lab, "c-last")) is (best == 30)
        last = read_artifact(lab, "corr", "c-last").manifest["summary"]["score"]
        assert last["value"] == values[-1]

    def test_games_decide_where_there_are_any(
        self, lab: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Scorer, "score", scores_of(0.9, 0.2, 0.1))
        result = learnt(lab, capsys, "--eval-games", "1")
        returns = {t["gradient_steps"]: t["mean_return"] for t in metrics_of(lab, "play_test")}
        assert result["best_mean_return"] == max(returns.values())
        chosen = result["best_gradient_steps"]
        assert returns[chosen] == max(returns.values())
        assert result["score"]["value"] == {10: 0.9, 20: 0.2, 30: 0.1}[chosen]


@pytest.mark.parametrize(("games", "fails_at"), [("0", 2), ("1", 1), ("1", 3)])
def test_a_run_that_is_resumed_ends_with_the_scores_of_an_unbroken_one(
    lab: Path, monkeypatch: pytest.MonkeyPatch, games: str, fails_at: int
) -> None:
    """It fails at a score once, with a checkpoint of the step before, or of the play test."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", 1.0)
    command = (*LEARN, "-p", lab, "--eval-games", games)
    assert run_in_process(*command, "--name", "unbroken") == 0
    scored, calls = Scorer.score, list[int]()

    def fails_once(self: Scorer, correspondence: Correspondence, *more: Any) -> Score:
        calls.append(1)
        if len(calls) == fails_at:
            raise RuntimeError("out of memory")
        return scored(self, correspondence, *more)

    monkeypatch.setattr(Scorer, "score", fails_once)
    assert run_in_process(*command) == 1
    assert run_in_process(*command) == 0
    unbroken = metrics_of(lab, "score", "unbroken")
    assert [_timeless(e) for e in metrics_of(lab, "score")] == [_timeless(e) for e in unbroken]
    for name in ("", "-last"):
        ends = [read_artifact(lab, "corr", run + name) for run in ("c", "unbroken")]
        assert ends[0].sha256 == ends[1].sha256
        assert ends[0].manifest["summary"] == ends[1].manifest["summary"]


def _timeless(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in ("time", "seconds")}


class TestWhatIsSaid:
    @staticmethod
    def result(value: float, best: float | None, reuse: float | None) -> LearnCorrResult:
        return {
            "corr": "c",
            "sha256": "",
            "gradient_steps": 20,
            "best_mean_return": best,
            "best_gradient_steps": 10,
            "reuse_mean_return": reuse,
            "best_angle_degrees": None,
            "angle_degrees": None,
            "score": {**ONE, "value": value},
        }

    @pytest.mark.parametrize(
        ("value", "best", "reuse", "none_expected"),
        [
            (0.93, 7.0, 1.0, False),
            (0.93, 1.0, 1.0, False),  # as good as reuse, and a good score
            (0.89, 1.0, 1.0, True),
            (0.49, 7.0, 1.0, True),
            (0.49, None, None, True),
            (0.5, None, None, False),
        ],
    )
    def test_the_closing_lines(
        self, value: float, best: float | None, reuse: float | None, none_expected: bool
    ) -> None:
        lines = lines_of(self.result(value, best, reuse))
        assert lines[-1].startswith(f"score {value:.2f} of 1: ")
        assert any("no transfer expected" in line for line in lines) is none_expected
        beaten = "though its play test, 7.00, beat that of reuse, 1.00" in lines[-1]
        assert beaten is (value < 0.5 and best == 7.0)
        assert ("kept is that of step 10, of the best score" in lines[0]) is (best is None)

    def test_the_notes_of_transfer(self) -> None:
        rows: list[Any] = [
            {"policy": policy, "mean_return": mean, "returns": [mean]}
            for policy, mean in zip(
                ("source", "source_random", "random", "reuse", "transfer"),
                (9.0, 0.0, 0.0, 1.0, 2.0),
                strict=True,
            )
        ]
        assert make_notes(rows, self.result(0.95, 7.0, 1.0), [], None) == []
        note, explain = make_notes(rows, self.result(0.1, 7.0, 1.0), [], None)
        assert note == "no transfer expected: the score of the correspondence is 0.10 of 1"
        assert [explain] == make_notes(rows, self.result(0.5, 7.0, 1.0), [], None)
        assert "'corrtool explain'" in explain


@pytest.mark.parametrize(
    ("settings", "known"),
    [
        ({"gamma": 0.9, "clip_rewards": True}, RewardsLearnt(0.9, True)),
        ({"gamma": 1, "clip_rewards": False}, RewardsLearnt(1.0, False)),
        ({"gamma": "much", "clip_rewards": 1}, RewardsLearnt(0.99, False)),
        ({"gamma": 7.0}, RewardsLearnt(0.99, False)),
        (None, RewardsLearnt(0.99, False)),
    ],
)
def test_rewards_are_seen_as_the_manifest_of_q_says(settings: Any, known: RewardsLearnt) -> None:
    manifest: Manifest = {} if settings is None else {"settings": settings}
    artifact: Any = type("Artifact", (), {"manifest": manifest})
    assert RewardsLearnt.from_manifest(artifact) == known
