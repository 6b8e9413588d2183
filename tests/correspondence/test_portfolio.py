"""Which recipe of several learns, by scores that are given: no network is learnt."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from corrtool.correspondence import portfolio as module
from corrtool.correspondence.portfolio import Candidate, Portfolio
from corrtool.correspondence.spatial_starts import Start
from corrtool.runtime.ranks import Ranks
from corrtool.settings.recipes import ACTIONS_LEARNED
from corrtool.settings.stages import LearnCorrSettings

CPU = torch.device("cpu")


@dataclass
class Training:
    """One that only counts; a score is asked for by its recipe and the steps it has done."""

    context: Any
    settings: LearnCorrSettings
    knowledge: Any
    generator: Any
    action_map: Any
    recipe: str = ""
    recipe_scores: dict[str, float] = field(default_factory=dict)
    untried: list[str] = field(default_factory=list)
    search_cut: bool = False
    total: int = 1_000
    started: bool = False
    exact: bool = False
    start: Start | None = None
    has_q_loss: bool = False
    gradient_steps: int = 0
    done: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.correspondence = SimpleNamespace(
            of=self,
            eval=lambda: self.done.append("eval"),
            train=lambda: self.done.append("train"),
        )

    def find_start(self, finder: Any) -> None:
        self.done.append("start")
        self.started = "started" in finder.run.request.name
        self.exact = "exactly" in finder.run.request.name
        self.start = Start(7.0 * len(self.recipe)) if self.started else None

    @property
    def actions_due(self) -> bool:
        return self.gradient_steps in (0, 2)

    def find_actions(self) -> dict[str, Any]:
        self.done.append("actions")
        return {"event": "action_matrix", "of": self.recipe}

    def other_actions_fit(self) -> bool:
        return "wrong" in self.recipe

    def step(self) -> None:
        self.gradient_steps += 1
        self.done.append("step")


@dataclass(frozen=True)
class FirstAgrees(Ranks):
    """Ranks that note what the first of them tells the others."""

    told: list[Any] = field(default_factory=list)

    def broadcast(self, value: Any, device: torch.device) -> Any:
        self.told.append((value, device))
        return value


class Setting:
    """Candidates by name with the scores that they get, and what happens meanwhile."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, scores: dict[str, float], *, name: str = "c",
        seconds: float = 0.0, **values: Any,
    ) -> None:  # fmt: skip
        self.said: list[str] = []
        self.logged: list[Any] = []
        self.bars: list[Any] = []
        self.made: list[Training] = []
        self.scorers: list[Any] = []
        self.ranks, self._scores = FirstAgrees(), scores
        monkeypatch.setattr(module, "CorrespondenceTraining", self._training)
        monkeypatch.setattr(module, "Scorer", self._scorer)
        monkeypatch.setattr(module, "scored_transitions", lambda knowledge: 17)
        monkeypatch.setattr(module, "numpy_generator", lambda *given: given)
        context: Any = SimpleNamespace(
            console=SimpleNamespace(progress=self._progress, say=self.said.append),
            ranks=self.ranks, device=CPU, seed=5,
        )  # fmt: skip
        usual: dict[str, Any] = {"recipe_trial_steps": 3, "recipe_enough": 0.9, "recipe": "auto"}
        settings = LearnCorrSettings(**usual | values)
        run: Any = SimpleNamespace(
            request=SimpleNamespace(name=name, settings=settings),
            directory=Path("nowhere"),
            metrics=SimpleNamespace(write=lambda *line: self.logged.append(line)),
            seconds=seconds,
        )
        knowledge: Any = SimpleNamespace(source_q=None)
        generator: Any = "a generator"
        action_map: Any = "the map of actions"
        finding = replace(settings, action_map="learned")
        candidates = [
            Candidate(n, finding if ACTIONS_LEARNED in n else settings, generator, action_map)
            for n in scores
        ]
        self.portfolio = Portfolio(context, run, knowledge, tuple(candidates))

    def _training(self, *given: Any) -> Training:
        self.made.append(Training(*given))
        return self.made[-1]

    def _scorer(self, *given: Any) -> Any:
        self.scorers.append(given)
        return SimpleNamespace(
            score=lambda correspondence: {"value": self._scores[correspondence.of.recipe]}
        )

    def _progress(self, title: str, total: int, unit: str, *, seconds_left: Any) -> Any:
        bar = nullcontext(SimpleNamespace(advance=lambda count: self.bars[-1].append(count)))
        self.bars.append([title, total, unit])
        return bar

    def steps(self) -> list[int]:
        return [training.gradient_steps for training in self.made]


class TestBest:
    @pytest.mark.parametrize(
        ("scores", "chosen"),
        [
            ({"first": 0.5, "second": 0.5}, "first"),
            ({"first": 0.5, "second": 0.52}, "first"),  # no more than 0.02 better
            ({"first": 0.5, "second": 0.53}, "second"),
            ({"first": 0.5, "second": 0.6, "third": 0.61}, "second"),
            ({"first": 0.1, "second": 0.8, "third": 0.4}, "second"),
        ],
    )
    def test_a_later_one_has_to_be_clearly_better(
        self, monkeypatch: pytest.MonkeyPatch, scores: dict[str, float], chosen: str
    ) -> None:
        setting = Setting(monkeypatch, scores)
        best: Any = setting.portfolio.best()
        assert (best.recipe, best.recipe_scores, best.gradient_steps) == (chosen, scores, 3)
        assert (
            best.action_map == "the map of actions"
            and best.knowledge == setting.portfolio.knowledge
        )
        lines = [line for line in setting.logged if line[1]["event"] == "recipe"]
        assert lines == [(0, {"event": "recipe", "chosen": chosen, "scores": scores})]
        (said,) = setting.said
        told = ", ".join(f"{name} {score:.2f}" for name, score in scores.items())
        assert said == f"learn-corr: recipe {chosen} (scores: {told})"

    @pytest.mark.parametrize("has_q_loss", [False, True])
    def test_what_was_asked_of_the_q_loss_and_changed_nothing_is_told(
        self, monkeypatch: pytest.MonkeyPatch, has_q_loss: bool
    ) -> None:
        setting = Setting(monkeypatch, {"first": 0.9, "second": 0.1}, q_loss="value")
        chosen: Any = setting.portfolio.best()
        setting.said.clear()
        chosen.has_q_loss = has_q_loss
        setting.portfolio._say(chosen)
        told = "learn-corr: --q-loss value changed nothing, for this recipe has no L_Q"
        assert (told in setting.said) is not has_q_loss

    def test_the_first_that_is_enough_ends_the_trials(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        setting = Setting(monkeypatch, {"first": 0.2, "second": 0.9, "third": 1.0})
        best: Any = setting.portfolio.best()
        assert best.recipe == "second" and best.recipe_scores == {"first": 0.2, "second": 0.9}
        assert best.untried == []
        assert setting.steps() == [3, 3]

    @pytest.mark.parametrize(
        ("scores", "tried", "chosen"),
        [
            ({"right": 0.9, "right, actions learned": 1.0}, 1, "right"),
            ({"wrong": 0.9, "wrong, actions learned": 0.93}, 2, "wrong, actions learned"),
            ({"wrong": 0.9, "resnet": 0.93}, 1, "wrong"),  # nothing is left that would find them
            ({"wrong, actions learned": 0.9, "resnet": 0.93}, 1, "wrong, actions learned"),
        ],
    )
    def test_enough_is_not_enough_where_other_actions_fit_better(
        self, monkeypatch: pytest.MonkeyPatch, scores: dict[str, float], tried: int, chosen: str
    ) -> None:
        setting = Setting(monkeypatch, scores)
        assert (setting.portfolio.best().recipe, len(setting.made)) == (chosen, tried)

    def test_one_that_is_started_where_it_is_enough_is_not_tried(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        setting = Setting(monkeypatch, {"first": 0.9, "second": 1.0}, name="started")
        best: Any = setting.portfolio.best()
        assert best.recipe == "first" and setting.steps() == [0] and not setting.bars
        assert best.done == ["start", "actions", "eval", "train"]

    def test_one_that_is_started_where_it_is_not_enough_is_tried(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        setting = Setting(monkeypatch, {"first": 0.8, "second": 0.1}, name="started")
        assert setting.portfolio.best().recipe == "first" and setting.steps() == [3, 3]

    def test_one_that_is_started_exactly_is_not_tried_however_low_its_score(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        setting = Setting(monkeypatch, {"first": 0.5, "second": 0.4}, name="started exactly")
        assert setting.portfolio.best().recipe == "first" and setting.steps() == [0, 0]

    def test_a_single_one_is_neither_tried_nor_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        setting = Setting(monkeypatch, {"only": 0.1})
        best: Any = setting.portfolio.best()
        assert best is setting.made[0] and best.done == ["start", "actions"]
        assert [line["event"] for _, line in setting.logged] == ["action_matrix"]
        assert not (setting.said or setting.scorers or best.recipe_scores)


class TestStart:
    """What is logged of where learning begins, since the report tells it."""

    @pytest.mark.parametrize(
        ("scores", "degrees"), [({"a": 0.8, "bb": 0.1}, 7.0), ({"a": 0.1, "bb": 0.8}, 14.0),
                                ({"a": 0.1}, 7.0)],
    )  # fmt: skip
    def test_is_that_of_the_one_that_was_chosen(
        self, monkeypatch: pytest.MonkeyPatch, scores: dict[str, float], degrees: float
    ) -> None:
        setting = Setting(monkeypatch, scores, name="started")
        setting.portfolio.best()
        lines = [line for line in setting.logged if line[1]["event"] == "start"]
        assert lines == [(0, {"event": "start", **Start(degrees).state()})]

    def test_is_none_where_others_may_have_searched(self, monkeypatch: pytest.MonkeyPatch) -> None:
        setting = Setting(monkeypatch, {"first": 0.1, "second": 0.2})
        setting.portfolio.best()
        assert setting.logged[-1] == (0, {"event": "start", "kind": "none"})


class TestTrial:
    def test_actions_are_found_when_they_are_due(self, monkeypatch: pytest.MonkeyPatch) -> None:
        setting = Setting(monkeypatch, {"first": 0.1, "second": 0.1})
        best: Any = setting.portfolio.best()
        scored = ["eval", "train"]
        assert best.done == ["start", "actions", "step", "step", "actions", "step", *scored]
        steps = [step for step, line in setting.logged if line["event"] == "action_matrix"]
        assert steps == [0, 2, 0, 2]

    def test_no_trial_is_longer_than_the_training(self, monkeypatch: pytest.MonkeyPatch) -> None:
        setting = Setting(monkeypatch, {"first": 0.1, "second": 0.2}, recipe_trial_steps=2_000)
        setting.portfolio.best()
        assert setting.steps() == [1_000] * 2
        setting = Setting(monkeypatch, {"first": 0.1, "second": 0.2}, name="n")
        setting.portfolio.best()
        title = "learn-corr n: trying "
        assert setting.bars == [
            [title + name, 3, "gradient steps", 1, 1, 1] for name in ("first", "second")
        ]

    def test_all_are_scored_on_the_same_transitions(self, monkeypatch: pytest.MonkeyPatch) -> None:
        setting = Setting(monkeypatch, {"first": 0.1, "second": 0.2})
        setting.portfolio.best()
        assert setting.scorers == [
            (setting.portfolio.knowledge, (5, "learn-corr recipe score"), 17)
        ]

    def test_the_first_ranks_score_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        setting = Setting(monkeypatch, {"first": 0.25, "second": 1 / 3})
        scores = setting.portfolio.best().recipe_scores
        assert setting.ranks.told == [(250_000, CPU), (333_333, CPU)]
        assert scores == {"first": 0.25, "second": 0.333333}

    @pytest.mark.parametrize(
        ("seconds", "minutes", "over"),
        [(119.9, 2.0, False), (120.0, 2.0, True), (1e9, None, False), (29.0, 0.5, False),
         (30.0, 0.5, True)],
    )  # fmt: skip
    def test_out_of_time_one_is_taken_as_it_is(
        self, monkeypatch: pytest.MonkeyPatch, seconds: float, minutes: float | None, over: bool
    ) -> None:
        setting = Setting(
            monkeypatch, {"first": 0.1, "second": 0.8}, seconds=seconds, max_minutes=minutes
        )
        best = setting.portfolio.best()
        assert setting.steps() == ([0] if over else [3, 3])
        assert best.recipe == ("first" if over else "second")
        asked = [told for told in setting.ranks.told if told == (int(over), CPU)]
        assert bool(asked) is (minutes is not None)  # all ranks stop together
        assert best.untried == (["second"] if over else [])

    def test_no_further_one_is_looked_at_once_three_quarters_of_the_time_are_over(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Two minutes: the first trial may take until 45 s, the second until 67.5 s, of 90 s."""
        setting = Setting(
            monkeypatch,
            {"first": 0.1, "second": 0.1, "third": 0.1},
            max_minutes=2.0,
            recipe_trial_steps=100,
        )
        run: Any = setting.portfolio.run

        def step(training: Training) -> None:
            training.gradient_steps += 1
            run.seconds += 1.0

        def find_start(training: Training, finder: Any) -> None:
            run.seconds += 30.0 if training.recipe == "third" else 0.0

        monkeypatch.setattr(Training, "step", step)
        monkeypatch.setattr(Training, "find_start", find_start)
        assert setting.portfolio.best().untried == []
        assert setting.steps() == [45, 23, 0]  # the third's search took the rest
        run.seconds, run.request.settings = 0.0, LearnCorrSettings(max_minutes=0.5)
        monkeypatch.setattr(
            Training, "find_start", lambda training, _: setattr(run, "seconds", run.seconds + 23)
        )
        setting.made.clear()
        best = setting.portfolio.best()
        assert best.untried == ["second", "third"] and setting.steps() == [0]

    def test_none_is_left_out_where_the_last_one_was_enough(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scores = {"first": 0.95, "second": 0.1}
        setting = Setting(monkeypatch, scores, seconds=60.0, max_minutes=1.0)
        assert setting.portfolio.best().untried == []

    @pytest.mark.parametrize(
        ("second", "cut", "told"),
        [(0.95, "first", False), (0.95, "second", True), (0.2, "first", True)],
    )
    def test_a_search_that_was_cut_short_is_told_of_its_start_and_where_none_was_enough(
        self, monkeypatch: pytest.MonkeyPatch, second: float, cut: str, told: bool
    ) -> None:
        setting = Setting(monkeypatch, {"first": 0.1, "second": second})

        def find_start(training: Training, finder: Any) -> None:
            training.start = Start(7.0)
            if training.recipe == cut:
                finder.found.add(training.recipe, training.start, cut=True)

        monkeypatch.setattr(Training, "find_start", find_start)
        assert setting.portfolio.best().search_cut is told


class TestCheckpoint:
    def test_goes_on_with_its_own_recipe(self, monkeypatch: pytest.MonkeyPatch) -> None:
        portfolio = Setting(monkeypatch, {"first": 0.1, "second": 0.2}).portfolio
        assert portfolio.training_of({"recipe": "second"}).recipe == "second"
        assert portfolio.training_of({}).recipe == "first"  # of an older version

    def test_of_an_unknown_recipe_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        portfolio = Setting(monkeypatch, {"first": 0.1}).portfolio
        with pytest.raises(KeyError):
            portfolio.training_of({"recipe": "third"})
        with pytest.raises(TypeError):
            portfolio.training_of({"recipe": ["first"]})
