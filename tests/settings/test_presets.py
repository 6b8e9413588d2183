"""Presets: they fit every stage, and those of the paper hold its numbers."""

import tomllib
from importlib import resources

import pytest
from support.stage_settings import STAGES, resolved

from corrtool.errors import UsageError
from corrtool.settings.base import PRESETS, SYNONYMS, Settings
from corrtool.settings.resolve import load_preset
from corrtool.settings.stages import (
    STAGE_SETTINGS,
    CollectSettings,
    LearnCorrSettings,
    TrainDqnSettings,
    TrainModelSettings,
)


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
                "signal",
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

    def test_the_paper_searches_for_no_start(self) -> None:
        assert resolved(LearnCorrSettings, "paper").angle_starts == 1
        assert resolved(LearnCorrSettings, "paper", kind="vector").linear_starts == 1
        assert resolved(LearnCorrSettings, "paper", kind="signal").signal_starts == 1
        # It counts for nothing there, but stands in the fingerprint of every run.
        for kind in ("image", "grid", "vector"):
            assert resolved(LearnCorrSettings, "paper", kind=kind).signal_starts == 96

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
            1_000,
            64,
            0.0,
        )
        assert (vector.linear_starts, vector.loss_weights) == (64, {"gan": 1.0, "model": 100.0})
        assert load_preset("small") == load_preset("default")

    def test_an_unknown_preset_is_refused(self) -> None:
        with pytest.raises(UsageError, match="no preset 'huge'") as raised:
            resolved(preset="huge")
        assert all(name in raised.value.hint for name in PRESETS)
        with pytest.raises(UsageError):
            load_preset("../presets/paper")
