"""Who plays in `evaluate`, under which name, and when a video is made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.countdown import Countdown
from support.evaluation import CPU, SEED, Evaluation, Playing, artifact, third_action

from corrtool.errors import ArtifactError, UsageError
from corrtool.play.games import GameLimits
from corrtool.runs.context import StageContext
from corrtool.settings.stages import EvaluateSettings
from corrtool.stages import evaluate as stage
from corrtool.stages.evaluate import Job
from corrtool.stages.players import Player

Q, CORR = artifact("q", "agent"), artifact("corr", "upright")
FILM = Path("film.mp4")


@pytest.fixture
def evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Evaluation:
    return Evaluation(tmp_path, monkeypatch)


class TestPlan:
    def test_whole_games_are_played_of_the_task_that_names_the_evaluation(
        self, evaluation: Evaluation
    ) -> None:
        job = evaluation.plan()
        assert job.task == evaluation.context.project.task("target")
        assert job.task.preprocessing.terminal_on_life_loss
        assert job.played == job.task.with_full_games() != job.task
        assert job.request.tasks == {"target": job.task.to_json()}
        source = evaluation.plan(task="source")
        assert (source.task.id, list(source.request.tasks)) == ("CartPole-v1", ["source"])

    @pytest.mark.parametrize("probability", [0.0, 0.5])
    def test_sticky_actions_are_those_of_the_settings(
        self, evaluation: Evaluation, probability: float
    ) -> None:
        preprocessing = evaluation.plan(repeat_action_probability=probability).played.preprocessing
        assert preprocessing.repeat_action_probability == probability
        assert not preprocessing.terminal_on_life_loss

    def test_what_is_asked_for(self, evaluation: Evaluation) -> None:
        request = evaluation.plan(Playing(Q, CORR), name="mine").request
        assert (request.name, request.seed, request.produces) == ("mine", SEED, [])
        assert request.inputs == {"q": Q, "corr": CORR}
        assert (request.state_kind, request.options) == ("vector", {"no_corr": False})
        assert evaluation.plan(Playing(Q)).request.options == {"no_corr": True}

    @pytest.mark.parametrize(
        ("player", "who"),
        [
            (Playing(), "target-random"),
            (Playing(Q), "target-agent"),
            (Playing(Q, CORR), "target-agent-upright"),
            # 7 + 70 + 3 of 80
            (Playing(artifact("q", "q" * 70), CORR), "target-" + "q" * 70 + "-up"),
        ],
        ids=["random", "q", "corr", "long"],
    )
    def test_a_name_says_who_plays_and_is_told_apart_by_the_fingerprint(
        self, evaluation: Evaluation, player: Player, who: str
    ) -> None:
        request = evaluation.plan(player).request
        assert request.name == f"{who}-{request.fingerprint[:8]}"

    @pytest.mark.parametrize("named", [{"q": "agent"}, {"corr": "upright"}])
    def test_random_play_takes_no_player(
        self, evaluation: Evaluation, named: dict[str, str]
    ) -> None:
        players: Any = {"q": None, "corr": None, "no_corr": False} | named
        with pytest.raises(UsageError, match="without --q and --corr"):
            stage.plan(evaluation.context, EvaluateSettings(policy="random"), **players)

    def test_a_named_player_is_chosen_and_has_to_fit(
        self, evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        chosen, checked = list[Any](), list[Any]()

        def choose(*given: Any, **named: Any) -> Player:
            chosen.append((given, named))
            return Playing(Q)

        def check(*given: Any) -> None:
            checked.append(given)
            raise ArtifactError("it does not fit")

        monkeypatch.setattr(stage, "choose_player", choose)
        monkeypatch.setattr(stage, "check_player", check)
        context, named = evaluation.context, {"q": "agent", "corr": "upright", "no_corr": True}
        with pytest.raises(ArtifactError, match="does not fit"):
            stage.plan(context, EvaluateSettings(), q="agent", corr="upright", no_corr=True)
        assert chosen == [((context, context.project.task("target")), named)]
        assert checked == [(Playing(Q), Countdown.spec, 3)]


class TestVideo:
    @pytest.fixture
    def steps(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """What `evaluate` does, in its order."""
        steps: list[Any] = []

        def record(*given: Any, **named: Any) -> float:
            steps.append(("film", given, named))
            return 4.5

        def execute(_: StageContext, request: Any, work: Any) -> Any:
            assert work.func is stage.run and work.args[0].request is request
            steps.append(("play", request))
            return {"games": 1}

        monkeypatch.setattr(stage, "check_output", lambda *given: steps.append(("path", *given)))
        monkeypatch.setattr(stage, "check_game_video", lambda *g: steps.append(("task", *g)))
        monkeypatch.setattr(stage, "load_correspondence", lambda *given: given)
        monkeypatch.setattr(stage, "record_game", record)
        monkeypatch.setattr(StageContext, "execute", execute)
        return steps

    @pytest.fixture
    def job(self, evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch) -> Job:
        """What is planned for an agent without a correspondence, whoever then plays."""
        job = evaluation.plan(Playing(Q, CORR), epsilon=0.5, max_idle_frames=9)
        self.plan(monkeypatch, job)
        return job

    def plan(self, monkeypatch: pytest.MonkeyPatch, job: Job) -> None:
        def planned(*given: Any, **named: Any) -> Job:
            assert given[1] is job.settings
            assert named == {"q": "agent", "corr": "upright", "no_corr": True}
            return job

        monkeypatch.setattr(stage, "plan", planned)

    def evaluated(self, context: StageContext, job: Job, video: Path | None = None) -> Any:
        players: Any = {"q": "agent", "corr": "upright", "no_corr": True}
        return stage.evaluate(context, job.settings, **players, video=video)

    def test_is_checked_before_the_games_and_made_after_them(
        self, job: Job, steps: list[Any]
    ) -> None:
        result = self.evaluated(job.context, job, FILM)
        assert result == {"games": 1, "video": "film.mp4", "video_return": 4.5}
        path, task, play, (_, given, named) = steps
        assert path == ("path", FILM, "--video", job.context.project)
        assert task == ("task", FILM, job.played) and play == ("play", job.request)
        assert given == (FILM, job.played, third_action, (CORR, CPU))
        context = {"seed": SEED, "device": CPU, "console": job.context.console}
        assert named == {"epsilon": 0.5, "limits": GameLimits(9)} | context

    def test_without_a_correspondence_nothing_is_translated(
        self, job: Job, steps: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.plan(monkeypatch, replace(job, player=Playing(Q)))
        self.evaluated(job.context, job, FILM)
        assert steps[-1][1][2:] == (third_action, None)

    def test_none_is_made_unasked_or_in_a_dry_run(self, job: Job, steps: list[Any]) -> None:
        assert self.evaluated(job.context, job) == {"games": 1}
        assert [name for name, *_ in steps] == ["play"]
        steps.clear()
        dry = replace(job.context, dry_run=True)
        assert self.evaluated(dry, job, FILM) == {"games": 1}
        assert [name for name, *_ in steps] == ["path", "task", "play"]
