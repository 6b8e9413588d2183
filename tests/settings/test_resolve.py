"""Where settings come from, and which names they have there."""

from typing import Any

import pytest
from support.stage_settings import resolved

from corrtool.errors import UsageError
from corrtool.settings.stages import (
    CollectSettings,
    EvaluateSettings,
    LearnCorrSettings,
    TrainDqnSettings,
)


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
    def test_of_tables_in_the_project_are_refused_rather_than_ignored(
        self, values: dict[str, Any]
    ) -> None:
        with pytest.raises(UsageError, match=next(iter(values))):
            resolved(project=values)

    def test_a_projects_part_for_one_kind_of_state_counts_or_is_refused(self) -> None:
        try:
            lanes = resolved(kind="vector", project={"vector": {"lanes": 5}}).lanes
        except UsageError:
            return
        assert lanes == 5
