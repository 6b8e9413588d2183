"""What the progress display says of speed."""

import time

import pytest

from corrtool.runtime.console import Console, ProgressBar


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


def test_numbers_stay_beside_the_bar_until_new_ones_come(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bar = Console().progress("learn-corr c", 10, "gradient steps")
    with bar:
        bar.note({"best return": -20.5})
        bar.advance(10, {"loss": 0.25})
    assert "best return -20.5  loss 0.25" in capsys.readouterr().err


def shown(bar: ProgressBar) -> list[str]:
    return bar._numbers_shown()


def test_numbers_of_a_play_test_go_when_it_has_ended() -> None:
    bar = Console(quiet=True).progress("learn-corr c", 10, "gradient steps")
    bar.note({"reuse": -21.0})
    bar.advance(1, {"loss": 0.25, "epoch": 1})
    bar.show(0, {"play test": "under way"})
    assert shown(bar) == ["reuse -21", "play test under way"]
    bar.note({"best return": -20.5, "reuse": -21.0})
    assert shown(bar) == ["best return -20.5", "reuse -21", "loss 0.25", "epoch 1"]
    bar.advance(1)
    bar.advance(1, {"loss": 0.5})
    assert shown(bar) == ["best return -20.5", "reuse -21", "loss 0.5"]


class Clock:
    """What time.monotonic says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.mark.parametrize(
    ("call_seconds", "first_line"), [(0.5, 10.0), (3.0, 9.0), (4.0, 8.0), (12.0, 12.0)]
)
def test_a_plain_line_comes_before_ten_seconds_of_silence(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    call_seconds: float,
    first_line: float,
) -> None:
    """Where the next call would come too late, the one before it prints."""
    clock = Clock(monkeypatch)
    console = Console()
    console.say("begun")
    bar, began = console.progress("learn-corr c", 100, "gradient steps"), clock.now
    capsys.readouterr()
    while not (line := capsys.readouterr().err):
        clock.now += call_seconds
        bar.advance(1)
    assert "learn-corr c: " in line
    assert clock.now - began == first_line - (call_seconds if call_seconds == 0.5 else 0)


@pytest.mark.parametrize(
    ("limit", "shown"), [(None, "0:18 left"), (20.0, "0:18 left"), (5.0, "0:05 left")]
)
def test_no_more_time_is_left_than_a_limit_leaves(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    limit: float | None,
    shown: str,
) -> None:
    clock = Clock(monkeypatch)
    bar = Console().progress("learn-corr c", 20, "gradient steps", seconds_left=lambda: limit)
    for _ in range(2):
        clock.now += 1.0
        bar.advance(1)
    bar.__exit__()
    assert shown in capsys.readouterr().err


def test_silence_before_the_bar_counts_up_to_a_half(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    console = Console()
    console.say("begun")
    clock.now += 60.0  # opening many environments
    bar = console.progress("collect m", 100, "records")
    capsys.readouterr()
    for second in range(1, 6):
        clock.now += 1.0
        bar.advance(1)
        assert bool(capsys.readouterr().err) is (second == 4)  # 5 + 4 + the next 1


@pytest.mark.parametrize(("seconds", "said"), [(4.9, False), (5.0, True)])
def test_a_bar_that_begins_after_a_silence_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, seconds: float, said: bool
) -> None:
    clock = Clock(monkeypatch)
    Console().say("begun")
    clock.now += seconds
    capsys.readouterr()
    with Console().progress("evaluate e", 32, "games"):
        assert ("evaluate e: 0/32 games" in capsys.readouterr().err) is said


@pytest.mark.parametrize(("seconds", "lines"), [(1.0, 0), (9.0, 2)])
def test_of_what_is_done_at_once_nothing_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, seconds: float, lines: int
) -> None:
    clock = Clock(monkeypatch)
    Console().say("begun")
    capsys.readouterr()
    with Console().transient_progress("reading memory m", 2, "rows") as bar:
        clock.now += seconds
        bar.advance(1)
        bar.advance(1)
    assert capsys.readouterr().err.count("reading memory m") == lines


NUMBERS = {"games": 155, "ε": 0.3274, "gradient steps": 2802}


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (50, "20,000/40,000  0:50 left  best play test 254.2"),
        (80, "20,000/40,000  0:50 left  best play test 254.2  mean return 119.8  games 155"),
        (
            100,
            "train-dqn d  20,000/40,000  400.0/s  0:50 left  best play test 254.2  "
            "mean return 119.8  games 155",
        ),
        (
            160,
            "train-dqn d  ━━━━━━━━━━━━  20,000/40,000  env steps  400.0/s  0:50 left  "
            "best play test 254.2  mean return 119.8  games 155  ε 0.3274  gradient steps 2,802",
        ),
    ],
)
def test_what_matters_least_goes_first_where_the_terminal_is_narrow(
    monkeypatch: pytest.MonkeyPatch, width: int, line: str
) -> None:
    clock = Clock(monkeypatch)
    bar = Console(quiet=True).progress("train-dqn d", 40_000, "env steps")
    bar._terminal.width = width
    bar.note({"best play test": 254.2})
    clock.now += 50.0
    bar.advance(20_000, {"mean return": 119.8} | NUMBERS)
    assert bar._line().plain.removeprefix(f"{bar._spinner.render(clock.now)}  ") == line
    assert len(bar._line().plain) < width
