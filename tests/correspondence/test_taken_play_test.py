"""Which of the play tests of a run is taken."""

from __future__ import annotations

import pytest

from corrtool.correspondence.play_tests import PlayTestResults

START = [17.0, 14.0, 23.0, 17.0, 23.0]  # Breakout turned by 90°: a mean of 18.8, a score of 0.970
LUCKY = [6.0, 51.0, 6.0, 51.0, 6.0]  # 24.0 on average, and 11.0 its standard error


def taken(returns: list[float], score: float | None) -> PlayTestResults:
    return PlayTestResults(
        best_mean_return=sum(returns) / len(returns), best_returns=returns, best_score=score
    )


@pytest.mark.parametrize(
    ("best", "score", "enough", "is_better"),
    [
        (0.970, 0.958, 0.9, False),  # luck
        (0.970, 0.970, 0.9, False),
        (0.970, 0.971, 0.9, True),  # the score sees a gain as well
        (0.890, 0.850, 0.9, True),  # what is not good enough yet goes by games alone
        (0.970, 0.958, None, True),  # as in the paper
        (None, None, 0.9, True),
        (0.970, None, 0.9, True),
    ],
)
def test_luck_alone_replaces_none_that_is_good_enough(
    best: float | None, score: float | None, enough: float | None, is_better: bool
) -> None:
    assert taken(START, best).is_better(LUCKY, score, enough) is is_better


def test_what_plays_clearly_better_is_taken_and_what_plays_worse_is_not() -> None:
    clear = [game + 5.2 for game in START]  # their standard errors are 1.77: two of both are 5.0
    assert taken(START, 0.97).is_better(clear, 0.958, 0.9)
    assert not taken(clear, 0.91).is_better(START, 1.0, 0.9)


def test_of_equals_the_later_one_is_taken() -> None:
    assert taken(START, None).is_better(START, None, None)
    # Their sum, divided by five, is another number than their mean, in the last bit.
    uneven = [-28.3, -22.5, 10.2, 8.8, 6.9]
    assert taken(uneven, None).is_better(uneven, None, None)
    assert PlayTestResults().is_better(START, None, 0.9)
    older = PlayTestResults(best_mean_return=18.8)  # of a checkpoint without its games
    assert older.is_better(LUCKY, 0.1, 0.9) and not older.is_better([1.0], 0.9, 0.9)
