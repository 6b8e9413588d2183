"""How a score is compared with returns, by hand: benchmarks/calibration.py."""

from __future__ import annotations

import pytest

from benchmarks.calibration import Trial, best_formula, fit, ranks, spearman, value
from corrtool.runs.results import Score


def score_of(model_share: float, loss: float, bellman_share: float | None = None) -> Score:
    return {
        "model_loss": loss,
        "source_model_loss": 0.02,
        "model_share": model_share,
        "bellman_error": None,
        "source_bellman_error": None,
        "bellman_share": bellman_share,
        "cycle_error": 0.0,
        "value": model_share,
    }


def test_equal_values_share_the_mean_of_their_ranks() -> None:
    assert ranks([3.0, 1.0, 3.0, 2.0]).tolist() == [2.5, 0.0, 2.5, 1.0]


@pytest.mark.parametrize(
    ("second", "expected"),
    [([10.0, 20.0, 90.0], 1.0), ([3.0, 2.0, 1.0], -1.0), ([1.0, 3.0, 2.0], 0.5), ([1.0] * 3, 0.0)],
)
def test_spearman_looks_at_the_order_alone(second: list[float], expected: float) -> None:
    assert spearman([1.0, 2.0, 3.0], second) == pytest.approx(expected)


def test_a_formula_is_a_product_of_powers() -> None:
    score = score_of(0.5, 0.08, 0.25)
    assert value(score, (1.0, 0.0, 0.5)) == pytest.approx(0.25)
    assert value(score, (0.0, 1.0, 0.0)) == pytest.approx(0.25)
    assert value(score_of(0.0, 0.08), (0.0, 1.0, 0.0)) == 0.0
    assert value(score_of(1.0, 0.01), (0.0, 1.0, 0.0)) == 1.0


def test_the_fit_of_a_pair_does_not_see_it() -> None:
    """In both pairs the share is the wrong way round, and the ratio is not."""
    trials = [
        Trial("a", 0, "1", 0.1, score_of(0.9, 0.08)),
        Trial("a", 0, "2", 0.9, score_of(0.8, 0.04)),
        Trial("b", 0, "1", 0.2, score_of(0.9, 0.16)),
        Trial("b", 0, "2", 1.0, score_of(0.7, 0.02)),
    ]
    assert best_formula(trials[2:])[1] > 0
    lines = fit(trials)
    assert lines[0].startswith("a: 2 trials") and lines[0].endswith("in it 1.00")
    assert lines[2].startswith("all, each pair by the others")
