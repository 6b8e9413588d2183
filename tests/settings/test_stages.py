"""The settings of the stages: which types, ranges and combinations make sense."""

import dataclasses
import json
from typing import Any

import pytest
from support.stage_settings import STAGES, resolved

from corrtool.errors import UsageError
from corrtool.settings.base import Settings, flag_name
from corrtool.settings.stages import (
    CollectSettings,
    EvaluateSettings,
    FinetuneSettings,
    LearnCorrSettings,
    TrainDqnSettings,
    TrainModelSettings,
)

SETTINGS = [(stage, field) for stage in STAGES for field in dataclasses.fields(stage)]


NAMES = [f"{stage.stage} {field.name}" for stage, field in SETTINGS]


def made(stage: type[Settings], **values: Any) -> Settings:
    """Settings of any values, also of those that their types forbid."""
    return stage(**values)


class TestTypes:
    @pytest.mark.parametrize(
        "stage, values, hint",
        [
            (TrainDqnSettings, {"lanes": True}, "whole number"),
            (TrainDqnSettings, {"lanes": 2.0}, "whole number"),
            (TrainDqnSettings, {"lanes": "2"}, "whole number"),
            (TrainDqnSettings, {"double_q": 1}, "true or false"),
            (TrainDqnSettings, {"double_q": "yes"}, "true or false"),
            (TrainDqnSettings, {"learning_rate": True}, "number"),
            (TrainDqnSettings, {"learning_rate": "1e-4"}, "number"),
            (TrainDqnSettings, {"stop_at_mean_return": "18"}, "number"),
            (LearnCorrSettings, {"gradient_steps": 1.5}, "whole number"),
            (LearnCorrSettings, {"gradient_steps": True}, "whole number"),
            (CollectSettings, {"policy": 3}, "text"),
            (CollectSettings, {"policy": ["random"]}, "text"),
        ],
    )
    def test_that_are_wrong_are_refused(
        self, stage: type[Settings], values: dict[str, Any], hint: str
    ) -> None:
        ((name, _),) = values.items()
        with pytest.raises(UsageError, match=f"{flag_name(name)} is") as raised:
            stage(**values)
        assert hint in raised.value.hint

    def test_a_whole_number_is_a_number(self) -> None:
        learnt = LearnCorrSettings(lambda_cyc=10)
        assert type(learnt.lambda_cyc) is float
        assert learnt == LearnCorrSettings(lambda_cyc=10.0)  # and has the same fingerprint
        assert json.dumps(learnt.to_json()) == json.dumps(
            LearnCorrSettings(lambda_cyc=10.0).to_json()
        )

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    @pytest.mark.parametrize("name", ["learning_rate", "gamma", "stop_at_mean_return"])
    def test_numbers_that_are_not_finite_are_refused(self, name: str, value: float) -> None:
        with pytest.raises(UsageError, match=f"{flag_name(name)} is"):
            made(TrainDqnSettings, **{name: value})

    @pytest.mark.parametrize("name", ["lanes", "learning_rate"])
    def test_numbers_without_end_are_refused(self, name: str) -> None:
        with pytest.raises(UsageError, match=flag_name(name)):
            made(TrainDqnSettings, **{name: 10**400})

    def test_only_some_settings_may_be_left_open(self) -> None:
        assert LearnCorrSettings(gradient_steps=None).gradient_steps is None
        with pytest.raises(UsageError, match="--lanes needs a value"):
            made(TrainDqnSettings, lanes=None)

    @pytest.mark.parametrize("value", ["hubert", "", 3, None, ["huber"]])
    def test_only_the_choices_can_be_chosen(self, value: object) -> None:
        with pytest.raises(UsageError, match="--loss"):
            made(TrainDqnSettings, loss=value)


class TestRanges:
    @pytest.mark.parametrize("stage, field", SETTINGS, ids=NAMES)
    def test_of_every_setting(self, stage: type[Settings], field: dataclasses.Field[Any]) -> None:
        """The default is inside; the limits themselves are as declared."""
        limits = field.metadata
        whole = type(field.default) is int or "int" in str(field.type)
        step = 1 if whole else 1e-6
        outside = [
            *([limits["minimum"] - step] if limits["minimum"] is not None else []),
            *([limits["maximum"] + step] if limits["maximum"] is not None else []),
            *([limits["above"]] if limits["above"] is not None else []),
        ]
        stage()
        for value in outside:
            with pytest.raises(UsageError, match=f"{flag_name(field.name)} is {value}"):
                stage(**{field.name: value})

    @pytest.mark.parametrize(
        "stage, values",
        [
            (
                TrainDqnSettings,
                {"gamma": 1.0, "epsilon_start": 1.0, "epsilon_end": 0.0, "max_gradient_norm": 0.0},
            ),
            (TrainDqnSettings, {"lanes": 1024, "memory_capacity": 10**7}),
            (
                LearnCorrSettings,
                {"lambda_cyc": 0, "lambda_q": 0, "lambda_m": 0, "pool_size": 0, "eval_games": 0},
            ),
            (LearnCorrSettings, {"blocks": 0, "constant_share": 1.0, "gradient_steps": 1}),
            (TrainModelSettings, {"validation_share": 0.9, "blocks": 5, "action_block": 5}),
            (EvaluateSettings, {"games": 1, "epsilon": 0.0}),
        ],
    )
    def test_their_ends_belong_to_them(self, stage: type[Settings], values: dict[str, Any]) -> None:
        settings = stage(**values)
        assert settings.to_json().items() >= values.items()

    def test_every_setting_says_what_it_is(self) -> None:
        for _, field in SETTINGS:
            assert field.metadata["help"]


class TestContradictions:
    def test_a_memory_too_small_for_its_lanes_and_steps(self) -> None:
        TrainDqnSettings(lanes=8, n_step=3, memory_capacity=40)
        with pytest.raises(UsageError, match="--memory-capacity is 39") as raised:
            TrainDqnSettings(lanes=8, n_step=3, memory_capacity=39)
        assert "at least 40" in raised.value.hint

    def test_no_replay_with_n_step_returns(self) -> None:
        with pytest.raises(UsageError, match=r"--no-replay .*--n-step is 3"):
            TrainDqnSettings(replay=False, n_step=3, env_steps_per_update=8)

    def test_room_for_the_longest_returns(self) -> None:
        with pytest.raises(UsageError, match="10-step returns need at least 96"):
            TrainDqnSettings(n_step=10, memory_capacity=95)
        TrainDqnSettings(n_step=10, memory_capacity=96)

    def test_no_replay_with_another_rhythm_of_learning(self) -> None:
        with pytest.raises(UsageError, match="--no-replay") as raised:
            TrainDqnSettings(replay=False, n_step=1, lanes=8, env_steps_per_update=4)
        assert "--env-steps-per-update equal to --lanes" in raised.value.hint

    def test_algorithm_1_is_allowed(self) -> None:
        TrainDqnSettings(
            replay=False,
            target_network=False,
            n_step=1,
            lanes=1,
            env_steps_per_update=1,
            memory_capacity=1,
        )

    def test_an_action_block_beyond_the_last(self) -> None:
        with pytest.raises(UsageError, match="--action-block is 6") as raised:
            TrainModelSettings(blocks=5, action_block=6)
        assert "only 5 blocks" in raised.value.hint

    @pytest.mark.parametrize("policy", ["", "q", "q:", "greedy", "random "])
    def test_a_policy_that_nobody_knows(self, policy: str) -> None:
        with pytest.raises(UsageError, match="--policy"):
            CollectSettings(policy=policy)
        assert CollectSettings(policy="q:mine").policy == "q:mine"

    def test_are_found_wherever_the_values_come_from(self) -> None:
        with pytest.raises(UsageError, match="--memory-capacity"):
            resolved(project={"memory_capacity": 30}, lanes=8)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        EvaluateSettings().games = 3  # type: ignore[misc]


def test_finetuning_differs_from_training_where_it_says_so() -> None:
    assert FinetuneSettings().task == "target"
    assert FinetuneSettings().learning_rate < TrainDqnSettings().learning_rate
    assert FinetuneSettings().epsilon_start == TrainDqnSettings().epsilon_end  # it can play already


def test_a_flag_is_a_name_with_dashes() -> None:
    assert flag_name("lambda_q") == "--lambda-q"
