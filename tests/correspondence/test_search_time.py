"""A search for a start whose time is over before all starts were compared."""

from __future__ import annotations

import numpy as np
import pytest
from support.falling_ball import LargeBallFalls, ball_falls_turned

from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.generators import rotation_angle_degrees
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.spatial_starts import Start, candidate_starts
from corrtool.correspondence.start_search import StartSearch
from corrtool.environment_model.network import ScaledModel
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec


@pytest.mark.parametrize(
    ("comparisons", "best"),
    [(0, 0.0), (3, 60.0), (12, -90.0), (14, -90.0)],
)
def test_a_search_whose_time_is_over_ends_with_the_best_start_so_far(
    monkeypatch: pytest.MonkeyPatch, comparisons: int, best: float
) -> None:
    """Of 12 angles the answer is the tenth; after them come 8 finalists, and nothing is turned."""
    monkeypatch.setattr(
        "corrtool.correspondence.start_search.model_loss_by_start",
        lambda *given: [
            0.1 if start.degrees == -90 else 1 - start.degrees / 360 for start in given[-1]
        ],
    )
    scaling = StateScaling(StateSpec("image", (1, 84, 84), 1))
    correspondence = Correspondence(
        scaling, StateScaling(scaling.spec), GeneratorDescription("rotation")
    )
    starts = candidate_starts(correspondence, 0.0, 12)
    asked = list[int]()

    def over() -> bool:
        asked.append(1)
        return len(asked) > comparisons

    search = StartSearch(
        correspondence,
        ScaledModel(LargeBallFalls(), scaling),
        ball_falls_turned(85.0, 4, scaling),
        starts,
        np.random.default_rng(0),
        over=over,
    )
    start, found = search.run()
    assert start.degrees == pytest.approx(best)
    assert rotation_angle_degrees(correspondence.target_to_source) == pytest.approx(best, abs=1e-3)
    losses = found["model_losses"] + found["finalist_model_losses"]
    assert [loss is not None for loss in losses] == [k < comparisons for k in range(20)]
    assert found["turned_model_losses"] == []


def test_hands_that_are_not_all_compared_are_not_turned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "corrtool.correspondence.start_search.model_loss_by_start",
        lambda *given: [abs(start.degrees) / 360 + start.mirrored / 9 for start in given[-1]],
    )
    scaling = StateScaling(StateSpec("image", (1, 84, 84), 1))
    correspondence = Correspondence(
        scaling, StateScaling(scaling.spec), GeneratorDescription("affine")
    )
    asked = list[int]()

    def over() -> bool:
        asked.append(1)
        return len(asked) > 4 + 4 + 5  # two angles of both hands, and all but one of those turned

    search = StartSearch(
        correspondence,
        ScaledModel(LargeBallFalls(), scaling),
        ball_falls_turned(85.0, 4, scaling),
        candidate_starts(correspondence, 0.0, 2),
        np.random.default_rng(0),
        over=over,
    )
    start, found = search.run()
    assert start == Start(0.0) and found["turned_angles_degrees"] == []
