"""How a score is compared with returns, by hand: benchmarks/calibration.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.commands import run_in_process

from benchmarks.calibration import (
    CHECKPOINTS,
    GRADIENT_STEPS,
    WAYS,
    Trial,
    best_formula,
    checkpoints,
    fit,
    ranks,
    right_degrees,
    spearman,
    states_kind,
    value,
    ways,
)
from corrtool.correspondence.description import GENERATORS
from corrtool.experiments.pairs import load_pairs
from corrtool.reporting.suite import Played
from corrtool.runs.results import Score
from corrtool.settings.resolve import resolve
from corrtool.settings.stages import LearnCorrSettings


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


def test_the_fit_of_a_source_does_not_see_it() -> None:
    """In both sources the share is the wrong way round, and the ratio is not."""
    trials = [
        Trial("a/x", 0, "1", 9, (0.1, 0.1), score_of(0.9, 0.08)),
        Trial("a/y", 0, "2", 9, (0.8, 1.0), score_of(0.8, 0.04)),
        Trial("b/x", 0, "1", 9, (0.3, 0.1), score_of(0.9, 0.16)),
        Trial("b/x", 0, "2", 9, (1.1, 0.9), score_of(0.7, 0.02)),
    ]
    assert best_formula(trials[2:])[1] > 0
    lines = fit(trials)
    assert lines[0].startswith("a: 2 trials, -1.00 by their scores, 1.00 by (")
    # By scores the ranks are 2.5, 1, 2.5, 0, by returns 0, 2, 1, 3.
    assert lines[2] == "all 4 by their scores: -0.949"
    # 0.1, 0.8, 0.3, 1.1 and 0.1, 1.0, 0.1, 0.9: ranks 0, 2, 1, 3 and 0.5, 3, 0.5, 2
    most = (2 * 0.7379 / 1.7379) ** 0.5
    assert lines[3] == (
        f"one half of the games by the other: 0.738; so no score can do more than {most:.3f}"
    )


def given(flags: tuple[str, ...]) -> dict[str, object]:
    """The settings that flags give."""
    numbers = {"angle_starts", "linear_starts", "signal_starts", "gradient_steps"}
    values = dict[str, object]()
    for flag, text in zip(flags[::2], flags[1::2], strict=True):
        name = flag.removeprefix("--").replace("-", "_")
        is_word = name in ("generator", "model_loss")
        values[name] = text if is_word else int(text) if name in numbers else float(text)
    return values


def test_a_checkpoint_is_a_trial_once_it_was_scored_and_played(tmp_path: Path) -> None:
    score = {**score_of(0.5, 0.08), "event": "score"}
    lines = [
        {"event": "play_test", "gradient_steps": 10, "returns": [-20.0, 20.0]},
        {**score, "gradient_steps": 10},
        {"event": "progress", "gradient_steps": 15},
        {"event": "play_test", "gradient_steps": 20, "returns": [0.0, 0.0]},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text, encoding="utf-8")
    means = {"source": 20.0, "random": -20.0, "ours": 20.0}
    outcome: Played = {"pair": "a", "seed": 3, "means": means, "score": 1.0}
    assert checkpoints(tmp_path, outcome, "mlp") == [
        Trial("a", 3, "mlp", 10, (0.0, 1.0), score_of(0.5, 0.08))
    ]


@pytest.mark.parametrize("kind", WAYS)
def test_each_way_is_of_a_generator_for_such_states(kind: str) -> None:
    for flags in ways(kind, ("rotate:90",)).values():
        settings = resolve(
            LearnCorrSettings, preset="default", state_kind=kind, project_values={},
            given={"recipe": "none", "action_map": "identity", "eval_games": 0, **given(flags)},
        )  # fmt: skip
        settings.check()
        assert GRADIENT_STEPS[kind] % CHECKPOINTS == 0
        assert settings.generator in GENERATORS["image" if kind == "grid" else kind]


@pytest.mark.parametrize(
    ("views", "degrees"),
    [(("rotate:90",), -90), (("invert", "rotate:-30"), 30), (("invert",), 0), (("flip:h",), None)],
)
def test_an_angle_is_off_by_the_pairs_own(views: tuple[str, ...], degrees: float | None) -> None:
    assert right_degrees(views) == degrees
    flags = ways("image", views)
    if degrees is None:
        assert not any("off" in name for name in flags)
        return
    assert flags["affine, 10° off"][-1] == f"{degrees + 10}"
    assert flags["affine, 25° off"][-1] == f"{degrees + 25}"


def test_the_kind_of_states_is_the_projects(tmp_path: Path) -> None:
    """As ``pairs`` makes the one that is heard, with the smallest of memories."""
    sound = next(pair for pair in load_pairs() if pair.source.name == "sound")
    lab = tmp_path / "lab"
    made = ("--source", sound.source.id, *sound.source.init, "--quiet")
    assert run_in_process("init", lab, *made) == 0
    collect = ("collect", "-p", lab, "--preset", "tiny", "--device", "cpu", "--records", 20)
    assert run_in_process(*collect, "--quiet") == 0
    assert states_kind(lab) == "signal"
