"""What the progress display says of speed."""

import time

import pytest

from corrtool.reporting.console import Console, ProgressBar


def test_the_rate_is_that_of_the_last_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    bar = ProgressBar(Console(quiet=True), "train-dqn q", 100_000, "env steps", 0, steady=True)
    for _ in range(100):  # warm-up: 1,000 a second
        now += 1
        bar.advance(1_000)
    assert bar.rate == pytest.approx(1_000)
    for _ in range(61):  # then learning: 10 a second
        now += 1
        bar.advance(10)
    assert bar.rate == pytest.approx(10)


def test_numbers_stay_beside_the_bar_until_new_ones_come(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Console().progress("learn-corr c", 10, "gradient steps")
    with bar:
        bar.note({"best return": -20.5})
        bar.advance(10, {"loss": 0.25})
    assert "best return -20.5  loss 0.25" in capsys.readouterr().err
