"""What is given must do something."""

import dataclasses
from typing import Any

import pytest
from support.stage_settings import STAGES, resolved

from corrtool.errors import UsageError
from corrtool.settings.base import PRESETS, Settings
from corrtool.settings.resolve import resolve
from corrtool.settings.stages import (
    CollectSettings,
    EvaluateSettings,
    FinetuneSettings,
    LearnCorrSettings,
    TrainDqnSettings,
    TrainModelSettings,
)


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
            (
                LearnCorrSettings,
                "image",
                {"eval_games": 0, "lambda_m": 0.0, "eval_every": 10},
                "--eval-every",
            ),
            (LearnCorrSettings, "image", {"generator": "rotation", "tone": True}, "--tone"),
            (LearnCorrSettings, "image", {"linear_starts": 8}, "--linear-starts"),
            (LearnCorrSettings, "vector", {"linear_starts": 8, "lambda_m": 0}, "--linear-starts"),
            (LearnCorrSettings, "image", {"signal_starts": 8}, "--signal-starts"),
            (LearnCorrSettings, "signal", {"generator": "gain-shift", "filters": 8}, "--filters"),
            (LearnCorrSettings, "signal", {"skips": False}, "--skips"),
            (LearnCorrSettings, "signal", {"norm": "batch"}, "--norm"),
            (TrainModelSettings, "signal", {"action_block": 1}, "--action-block"),
            (TrainDqnSettings, "signal", {"width": 64}, "--width"),
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
            (LearnCorrSettings, "image", {"eval_games": 0, "eval_every": 10}),
            (LearnCorrSettings, "vector", {"generator": "mlp", "filters": 8}),
            (LearnCorrSettings, "vector", {"generator": "mlp", "linear_starts": 8}),
            (LearnCorrSettings, "vector", {"action_map": "learned"}),
            (LearnCorrSettings, "signal", {"signal_starts": 8}),  # of the recipes
            (LearnCorrSettings, "signal", {"generator": "gain-shift", "signal_starts": 8}),
            (LearnCorrSettings, "signal", {"generator": "gain-shift", "signal_starts": 1}),
            (LearnCorrSettings, "signal", {"signal_starts": 1}),
            (LearnCorrSettings, "signal", {"generator": "resnet", "framewise": False}),
            (TrainModelSettings, "signal", {"prediction": "state"}),
            (
                LearnCorrSettings,
                "image",
                {"generator": "affine-resnet", "spatial_learning_rate": 0.1, "filters": 8},
            ),
            (LearnCorrSettings, "grid", {"generator": "affine", "tone": False}),
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
            resolve(
                LearnCorrSettings,
                preset="default",
                state_kind="image",
                project_values=project,
                environment=environment,
                given=given,
            )

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
