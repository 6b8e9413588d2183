"""A limit for several stages: how it is written, and what each of them gets of it."""

from __future__ import annotations

import time

import pytest

from corrtool.errors import UsageError
from corrtool.settings.budget import LEAST_MINUTES, Budget, minutes_of


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("90s", 1.5), ("20m", 20.0), ("2h", 120.0), ("1.5h", 90.0), (".5m", 0.5), (" 3m ", 3.0)],
)
def test_a_time_is_a_number_and_its_unit(text: str, minutes: float) -> None:
    assert minutes_of(text) == pytest.approx(minutes)


@pytest.mark.parametrize(
    "text", ["", "20", "m", "20 m", "-1m", "0s", "1e3s", "20x", "1h30m", "nanh", "9" * 400 + "h"]
)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--budget"):
        minutes_of(text)


def test_the_shares_are_of_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    budget = Budget(100.0, began=now)
    assert budget.share("train-dqn") == 60.0
    now += 60 * 60.0
    assert budget.share("train-model") == 13.33  # a third of 40
    now += 60 * 10.0
    assert budget.share("learn-corr") == 27.0  # nine tenths of 30
    assert budget.used_minutes == pytest.approx(70.0)


def test_a_stage_learns_a_little_where_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    budget = Budget(1.0, began=now)
    now += 3600.0
    assert budget.share("learn-corr") == LEAST_MINUTES


def test_there_is_no_limit_without_a_budget_nor_for_what_learns_nothing() -> None:
    assert Budget(None).share("learn-corr") is None
    assert Budget(1.0).share("collect") is None


def test_what_is_planned_and_what_is_reserved_is_not_shared_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    budget = Budget(10.0, began=0.0)
    assert budget.share("train-dqn") == 6.0
    assert budget.share("train-dqn", reserved=3.0) == 6.0  # 4 are left without it
    assert budget.share("train-dqn", reserved=7.5) == 2.5
    assert budget.share("train-dqn", reserved=11.0) == LEAST_MINUTES
    shares = []
    for stage in ("train-dqn", "train-model", "learn-corr"):
        shares.append(budget.share(stage) or 0.0)
        budget.plan(shares[-1])
    assert shares == [6.0, 1.33, 2.4] and sum(shares) <= 10.0
