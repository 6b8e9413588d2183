"""Settings: where they come from, and which make no sense."""

import dataclasses
import json
import tomllib
from importlib import resources
from typing import Any

import pytest

from corrtool.errors import UsageError
from corrtool.settings.base import PRESETS, SYNONYMS, Settings, flag_name
from corrtool.settings.resolve import load_preset, resolve
from corrtool.settings.stages import (
    STAGE_SETTINGS,
    CollectSettings,
    EvaluateSettings,
    FinetuneSettings,
    LearnCorrSettings,
    TrainDqnSettings,
    TrainModelSettings,
)

STAGES = list(STAGE_SETTINGS.values())
SETTINGS = [(stage, field) for stage in STAGES for field in dataclasses.fields(stage)]
NAMES = [f"{stage.stage} {field.name}" for stage, field in SETTINGS]


def resolved(
    stage: type[Settings] = TrainDqnSettings,
    preset: str = "default",
    kind: str = "image",
    **values: Any,
) -> Any:
    project = values.pop("project", {})
    return resolve(stage, preset=preset, state_kind=kind, project_values=project, given=values)


class TestPrecedence:
    def test_default_preset_project_given(self) -> None:
        # train-dqn --env-steps-per-update: 8 by default, and the preset 'paper' says 1.
        assert TrainDqnSettings().env_steps_per_update == 8
        assert resolved(preset="paper").env_steps_per_update == 1
        assert (
            resolved(preset="paper", project={"env_steps_per_update": 2}).env_steps_per_update == 2
        )
        assert (
            resolved(
                preset="paper", project={"env_steps_per_update": 2}, env_steps_per_update=3
            ).env_steps_per_update
            == 3
        )

    def test_a_preset_may_say_something_for_one_kind_of_state(self) -> None:
        image, vector = (
            resolved(preset="paper", kind="image"),
            resolved(preset="paper", kind="vector"),
        )
        assert (image.init, vector.init) == ("normal", "default")
        assert image.learning_rate == vector.learning_rate == 1e-4  # from the part for both

    def test_the_part_for_one_kind_of_state_goes_before_the_part_for_both(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        table = {"collect": {"lanes": 2, "records": 20, "vector": {"lanes": 3}}}
        monkeypatch.setattr("corrtool.settings.resolve.load_preset", lambda name: table)
        assert resolved(CollectSettings, kind="image") == CollectSettings(lanes=2, records=20)
        assert resolved(CollectSettings, kind="vector") == CollectSettings(lanes=3, records=20)
        assert resolved(CollectSettings, kind="vector", project={"lanes": 4}).lanes == 4

    def test_what_is_not_given_does_not_count(self) -> None:
        assert resolved(project={"lanes": 2}, lanes=None).lanes == 2

    def test_false_and_zero_are_given(self) -> None:
        learnt = resolved(project={"double_q": True}, double_q=False, max_gradient_norm=0.0)
        assert (learnt.double_q, learnt.max_gradient_norm) == (False, 0.0)

    def test_names_may_be_written_as_on_the_command_line(self) -> None:
        assert resolved(LearnCorrSettings, project={"lambda-cyc": 10}).lambda_cyc == 10.0

    def test_another_stages_section_does_not_matter(self) -> None:
        assert resolved(EvaluateSettings, preset="paper") == EvaluateSettings()


class TestPresets:
    @pytest.mark.parametrize("kind", ["image", "grid", "vector"])
    @pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.stage)
    @pytest.mark.parametrize("preset", PRESETS)
    def test_every_preset_fits_every_stage(
        self, preset: str, stage: type[Settings], kind: str
    ) -> None:
        assert isinstance(resolved(stage, preset, kind), stage)

    @pytest.mark.parametrize("preset", PRESETS)
    def test_have_sections_for_stages_and_kinds_of_state_only(self, preset: str) -> None:
        table = load_preset(preset)
        assert set(table) <= set(STAGE_SETTINGS)
        for section in table.values():
            assert {name for name, value in section.items() if isinstance(value, dict)} <= {
                "image",
                "grid",
                "vector",
            }

    def test_the_packaged_files_are_those_that_can_be_chosen(self) -> None:
        names = {
            file.name
            for file in resources.files("corrtool.presets").iterdir()
            if file.name.endswith(".toml")
        }
        assert names == {f"{name}.toml" for name in PRESETS if name not in SYNONYMS}
        for name in names:
            tomllib.loads(
                resources.files("corrtool.presets").joinpath(name).read_text(encoding="utf-8")
            )

    def test_the_papers_numbers(self) -> None:
        q = resolved(TrainDqnSettings, "paper")
        assert (q.optimizer, q.learning_rate, q.batch_size, q.loss) == (
            "rmsprop",
            1e-4,
            32,
            "huber",
        )
        assert (q.gamma, q.memory_capacity, q.target_sync_every) == (0.99, 10_000, 1_000)
        assert (q.epsilon_start, q.epsilon_end, q.n_step, q.double_q) == (0.9, 0.05, 1, False)
        assert (q.epsilon_start - q.epsilon_end) / q.epsilon_env_steps == pytest.approx(1e-5)
        model = resolved(TrainModelSettings, "paper")
        assert (model.learning_rate, model.batch_size, model.epochs, model.loss) == (
            1e-3,
            16,
            50,
            "mse",
        )
        assert (model.filters, model.blocks, model.action_block) == (64, 9, 5)
        corr = resolved(LearnCorrSettings, "paper")
        assert (corr.learning_rate, corr.batch_size, corr.epochs, corr.pool_size) == (
            2e-4,
            1,
            4,
            50,
        )
        assert (corr.filters, corr.blocks, corr.eval_every, corr.eval_games) == (64, 9, 1_000, 5)
        assert resolved(CollectSettings, "paper").records == 10_000

    def test_whoever_says_epochs_means_epochs(self) -> None:
        assert resolved(LearnCorrSettings, "paper").gradient_steps is None
        assert resolved(LearnCorrSettings, "tiny", project={"epochs": 2}).gradient_steps is None
        assert resolved(LearnCorrSettings, "paper", gradient_steps=7).gradient_steps == 7
        assert (
            resolved(
                LearnCorrSettings, "tiny", project={"epochs": 2, "gradient_steps": 7}
            ).gradient_steps
            == 7
        )

    def test_the_default_correspondence_is_sized_for_two_cores(self) -> None:
        image, vector = resolved(LearnCorrSettings), resolved(LearnCorrSettings, kind="vector")
        assert (image.gradient_steps, image.eval_every, image.filters, image.blocks) == (
            1_500,
            250,
            8,
            3,
        )
        assert (vector.gradient_steps, vector.discriminator_filters, vector.constant_share) == (
            5_000,
            64,
            0.0,
        )
        assert load_preset("small") == load_preset("default")

    def test_an_unknown_preset_is_refused(self) -> None:
        with pytest.raises(UsageError, match="no preset 'huge'") as raised:
            resolved(preset="huge")
        assert all(name in raised.value.hint for name in PRESETS)
        with pytest.raises(UsageError):
            load_preset("../presets/paper")


class TestUnknownNames:
    @pytest.mark.parametrize("name", ["lamda_q", "stage", "lambda q", ""])
    def test_in_the_project_are_refused(self, name: str) -> None:
        with pytest.raises(UsageError, match=r"\[learn-corr\] has no setting"):
            resolved(LearnCorrSettings, project={name: 1})

    def test_in_a_preset_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            "corrtool.settings.resolve.load_preset",
            lambda name: {"collect": {"vector": {"lane": 3}}},
        )
        assert resolved(CollectSettings, kind="image") == CollectSettings()
        with pytest.raises(UsageError, match=r"\[collect\] has no setting 'lane'"):
            resolved(CollectSettings, kind="vector")

    @pytest.mark.parametrize("values", [{"vectr": {"lanes": 2}}, {"lanes": {"vector": 2}}])
    def test_of_tables_in_the_project_are_refused_rather_than_ignored(self, values: dict) -> None:
        with pytest.raises(UsageError, match=next(iter(values))):
            resolved(project=values)

    def test_a_projects_part_for_one_kind_of_state_counts_or_is_refused(self) -> None:
        try:
            lanes = resolved(kind="vector", project={"vector": {"lanes": 5}}).lanes
        except UsageError:
            return
        assert lanes == 5


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
        self, stage: type[Settings], values: dict, hint: str
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
            TrainDqnSettings(**{name: value})

    @pytest.mark.parametrize("name", ["lanes", "learning_rate"])
    def test_numbers_without_end_are_refused(self, name: str) -> None:
        with pytest.raises(UsageError, match=flag_name(name)):
            TrainDqnSettings(**{name: 10**400})

    def test_only_some_settings_may_be_left_open(self) -> None:
        assert LearnCorrSettings(gradient_steps=None).gradient_steps is None
        with pytest.raises(UsageError, match="--lanes needs a value"):
            TrainDqnSettings(lanes=None)

    @pytest.mark.parametrize("value", ["hubert", "", 3, None, ["huber"]])
    def test_only_the_choices_can_be_chosen(self, value: object) -> None:
        with pytest.raises(UsageError, match="--loss"):
            TrainDqnSettings(loss=value)


class TestRanges:
    @pytest.mark.parametrize("stage, field", SETTINGS, ids=NAMES)
    def test_of_every_setting(self, stage: type[Settings], field: dataclasses.Field) -> None:
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
    def test_their_ends_belong_to_them(self, stage: type[Settings], values: dict) -> None:
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
        EvaluateSettings().games = 3


def test_finetuning_differs_from_training_where_it_says_so() -> None:
    assert FinetuneSettings().task == "target"
    assert FinetuneSettings().learning_rate < TrainDqnSettings().learning_rate
    assert FinetuneSettings().epsilon_start == TrainDqnSettings().epsilon_end  # it can play already


def test_a_flag_is_a_name_with_dashes() -> None:
    assert flag_name("lambda_q") == "--lambda-q"


class TestWithoutEffect:
    """What is given must do something."""

    @pytest.mark.parametrize(
        ("stage", "kind", "given", "flag"),
        [
            (CollectSettings, "image", {"epsilon": 0.2}, "--epsilon"),
            (EvaluateSettings, "image", {"policy": "random", "epsilon": 0.2}, "--epsilon"),
            (TrainDqnSettings, "image", {"width": 64}, "--width"),
            (FinetuneSettings, "image", {"eval_games": 3}, "--eval-games"),
            (
                TrainDqnSettings,
                "image",
                {"target_network": False, "target_sync_every": 3},
                "--target-sync-every",
            ),
            (
                TrainDqnSettings,
                "image",
                {"optimizer": "sgd", "optimizer_epsilon": 1.0},
                "--optimizer-epsilon",
            ),
            (LearnCorrSettings, "vector", {"norm": "batch"}, "--norm"),
            (TrainModelSettings, "vector", {"prediction": "state"}, "--prediction"),
            (TrainModelSettings, "image", {"epochs": 3, "gradient_steps": 10}, "--epochs"),
            (LearnCorrSettings, "image", {"generator": "rotation", "filters": 8}, "--filters"),
            (LearnCorrSettings, "vector", {"generator": "linear", "blocks": 2}, "--blocks"),
            (LearnCorrSettings, "vector", {"generator": "mlp", "framewise": True}, "--framewise"),
            (LearnCorrSettings, "image", {"spatial_learning_rate": 0.1}, "--spatial-learning-rate"),
            (LearnCorrSettings, "image", {"eval_games": 0, "eval_every": 10}, "--eval-every"),
        ],
    )
    def test_is_refused_by_name(
        self, stage: type[Settings], kind: str, given: dict[str, Any], flag: str
    ) -> None:
        with pytest.raises(UsageError, match=f"^{flag} has no effect: "):
            resolved(stage, kind=kind, **given)

    @pytest.mark.parametrize(
        ("stage", "kind", "given"),
        [
            (CollectSettings, "image", {"policy": "q:pong", "epsilon": 0.2}),
            (TrainDqnSettings, "vector", {"width": 64}),
            (TrainDqnSettings, "image", {"eval_every": 5_000, "eval_games": 3}),
            (LearnCorrSettings, "image", {"filters": 8, "blocks": 2, "skips": False}),
            (LearnCorrSettings, "vector", {"generator": "mlp", "filters": 8}),
            (
                LearnCorrSettings,
                "image",
                {"generator": "affine-resnet", "spatial_learning_rate": 0.1, "filters": 8},
            ),
            (
                LearnCorrSettings,
                "image",
                {"lambda_m": 0.0, "model_loss": "relative"},
            ),  # a sweep over λ has a 0 in it
        ],
    )
    def test_is_not_said_of_what_does_something(
        self, stage: type[Settings], kind: str, given: dict[str, Any]
    ) -> None:
        settings = resolved(stage, kind=kind, **given)
        assert {name: getattr(settings, name) for name in given} == given

    def test_a_bad_value_is_blamed_on_where_it_was_said(self) -> None:
        def settings(
            project: dict[str, Any], environment: dict[str, Any], given: dict[str, Any]
        ) -> None:
            layers = {"project_values": project, "environment": environment, "given": given}
            resolve(LearnCorrSettings, preset="default", state_kind="image", **layers)

        for layers, where in [
            (({"batch-size": 0}, {}, {}), r"\[learn-corr\] batch-size in corrtool.toml is 0"),
            (({}, {"batch_size": 0}, {}), "CORRTOOL_LEARN_CORR_BATCH_SIZE is 0"),
            (({}, {}, {"batch_size": 0}), "--batch-size is 0"),
        ]:
            with pytest.raises(UsageError, match=where):
                settings(*layers)

    def test_finetuning_has_one_epsilon_at_a_time(self) -> None:
        def settings(from_scratch: bool, **given: float) -> FinetuneSettings:
            options = {"from_scratch": from_scratch}
            return resolve(
                FinetuneSettings,
                preset="default",
                state_kind="image",
                project_values={},
                given=given,
                options=options,
            )

        assert settings(True, scratch_epsilon_start=0.5).scratch_epsilon_start == 0.5
        assert settings(False, epsilon_start=0.5).epsilon_start == 0.5
        with pytest.raises(
            UsageError, match="--scratch-epsilon-start has no effect: it is for --from-scratch"
        ):
            settings(False, scratch_epsilon_start=0.5)
        with pytest.raises(
            UsageError,
            match="--epsilon-start has no effect: --from-scratch goes by --scratch-epsilon-",
        ):
            settings(True, epsilon_start=0.5)

    @pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.stage)
    @pytest.mark.parametrize("preset", PRESETS)
    @pytest.mark.parametrize("kind", ["image", "vector"])
    def test_names_settings(self, stage: type[Settings], preset: str, kind: str) -> None:
        names = {field.name for field in dataclasses.fields(stage)}
        assert set(resolved(stage, preset=preset, kind=kind).without_effect(kind, {})) <= names

    @pytest.mark.parametrize("stage", [TrainModelSettings, LearnCorrSettings])
    def test_epochs_come_before_the_gradient_steps_of_a_preset(self, stage: type[Settings]) -> None:
        assert resolved(stage, preset="tiny").gradient_steps
        assert resolved(stage, preset="tiny", epochs=2).gradient_steps is None
        assert resolved(stage, project={"gradient_steps": 9}, epochs=2).gradient_steps is None
