"""Of symmetries that scores cannot tell apart games choose."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.portfolio import Portfolio
from corrtool.correspondence.symmetries import RANDOM, SymmetryTest, may_be_another
from corrtool.layers import AffineLayer
from corrtool.settings.stages import LearnCorrSettings

SAME, OTHER = ActionMap.identity(2), ActionMap((1, 0), 2)
RANDOM_RETURN = -2.0
SPREAD = 0.3  # of three games: a standard error of √(0.06) / √2 = 0.1732


def training(
    recipe: str, *, mirrored: bool = False, actions: ActionMap | None = SAME, finds: bool = False
) -> Any:
    return SimpleNamespace(
        recipe=recipe,
        correspondence=SimpleNamespace(
            action_map=actions, target_to_source=AffineLayer(90.0, mirrored)
        ),
        finds_actions=finds,
    )


@dataclass(frozen=True)
class Played(SymmetryTest):
    """Returns by recipe instead of games, and which were asked for."""

    returns: dict[str, float] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def _play(self, who: str, again: bool, training: Any) -> list[float]:
        name = f"{who} again" if again else who
        self.asked.append(name)
        returns = {**self.returns, RANDOM: RANDOM_RETURN}
        mean = returns.get(name, returns[who])
        return [mean - SPREAD, mean, mean + SPREAD]


def games_of(
    returns: dict[str, float],
    *,
    games: int = 5,
    over: bool = False,
) -> Any:
    context: Any = SimpleNamespace(
        ranks=SimpleNamespace(first=True, broadcast=lambda value, device: value), device="cpu"
    )
    knowledge: Any = SimpleNamespace(source_q="Q")
    run: Any = None
    settings = LearnCorrSettings(eval_games=games)
    limit: Any = SimpleNamespace(over=lambda: over)
    return Played(context, run, settings, knowledge, limit, returns=returns)


def test_a_mirror_image_and_found_actions_may_be_another() -> None:
    assert not may_be_another(training("upright"))
    assert may_be_another(training("mirrored", mirrored=True))
    assert may_be_another(training("others", actions=OTHER, finds=True))
    assert not may_be_another(training("the same", actions=SAME, finds=True))
    assert not may_be_another(training("none", actions=None))
    assert not may_be_another(training("given", actions=OTHER))


def test_it_fails_where_it_plays_no_better_than_at_random() -> None:
    # Two standard errors of the difference are 2 · √2 · 0.1732 = 0.49.
    for mean, fails in ((-2.0, True), (-1.52, True), (-1.5, False), (-5.0, True)):
        assert games_of({"a": mean}).fails(training("a", mirrored=True)) is fails


def test_returns_on_a_small_scale_are_no_ties() -> None:
    small: Any = games_of({})
    small.returns["a"] = 4e-4
    object.__setattr__(
        small, "_play", lambda who, again, training: [small.returns.get(who, 0.0)] * 3
    )
    assert not small.fails(training("a", mirrored=True))


def test_what_is_no_symmetry_and_what_cannot_play_is_not_played() -> None:
    played = games_of({})
    assert not played.fails(training("a")) and not played.asked
    assert not games_of({}, games=0).fails(training("a", mirrored=True))
    assert not games_of({}, over=True).fails(training("a", mirrored=True))


def test_of_rivals_the_one_that_plays_best_is_taken_and_each_plays_once() -> None:
    played = games_of({"mirrored": -3.0, "turned": 20.0})
    rivals = [training("mirrored", mirrored=True), training("turned", actions=OTHER, finds=True)]
    assert played.best(rivals) is rivals[1]
    assert played.best(rivals) is rivals[1] and not played.fails(rivals[1])
    assert played.asked == ["turned", "mirrored", RANDOM]
    equal = games_of({"mirrored": 1.0, "turned": 1.0})
    assert equal.best(rivals) is rivals[0]


def test_a_later_one_that_plays_has_to_win_twice() -> None:
    rivals = [training("first", mirrored=True), training("second", actions=OTHER, finds=True)]
    # Space Invaders' waves: of two right maps one was lucky once.
    lucky = games_of({"first": 20.0, "second": 72.6, "first again": 52.0, "second again": 52.4})
    assert lucky.best(rivals) is rivals[0]
    assert lucky.asked == ["second", "first", RANDOM, "second again", "first again"]
    better = games_of({"first": 20.0, "second": 72.6, "second again": 20.5})
    assert better.best(rivals) is rivals[1]  # 0.49 are two standard errors
    worse = games_of({"first": 72.6, "second": 20.0})
    assert worse.best(rivals) is rivals[0] and len(worse.asked) == 2
    assert better.told() == (
        "second 72.6, first 20.0, random play -2.0, second again 20.5, first again 20.0"
    )


def test_rivals_that_are_no_symmetries_are_left_to_their_scores() -> None:
    played, rivals = games_of({}), [training("affine"), training("affine-resnet")]
    assert played.best(rivals) is rivals[0] and not played.asked


@pytest.mark.parametrize(
    ("returns", "scores", "chosen"),
    [
        ({"mirrored": -3.0, "turned": 20.0}, {"mirrored": 0.88, "turned": 0.885}, "turned"),
        ({"mirrored": 20.0, "turned": -3.0}, {"mirrored": 0.88, "turned": 0.885}, "mirrored"),
        # Far apart by score: the better one has to play, else all others do.
        ({"mirrored": -3.0, "turned": 20.0}, {"mirrored": 0.88, "turned": 0.5}, "turned"),
        ({"mirrored": 1.0, "turned": 20.0}, {"mirrored": 0.88, "turned": 0.5}, "mirrored"),
        # Nothing plays: the first of those whose scores are alike.
        ({"mirrored": -3.0, "turned": -3.0}, {"mirrored": 0.88, "turned": 0.885}, "mirrored"),
        ({"mirrored": -3.0, "turned": -3.0}, {"mirrored": 0.5, "turned": 0.885}, "turned"),
        # One that is no symmetry, and explains nothing, has to play better.
        (
            {"mirrored": -2.0, "turned": -3.0, "resnet": -2.0},
            {"mirrored": 0.98, "turned": 0.5, "resnet": 0.03},
            "mirrored",
        ),
        # None plays better than random play: then games tell nothing, and the score does.
        (
            {"mirrored": -3.0, "turned": -2.5, "resnet": -2.9},
            {"mirrored": 0.885, "turned": 0.6, "resnet": 0.03},
            "mirrored",
        ),
    ],
)
def test_a_portfolio_takes_what_plays(
    returns: dict[str, float], scores: dict[str, float], chosen: str
) -> None:
    tried = [
        training("mirrored", mirrored=True),
        training("turned", actions=OTHER, finds=True),
        training("resnet"),
    ][: len(scores)]
    portfolio: Any = SimpleNamespace(_symmetry=games_of(returns))
    assert Portfolio._best_of(portfolio, tried, scores).recipe == chosen
