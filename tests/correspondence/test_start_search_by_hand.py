"""What the search for a start compares, with losses that are given: no picture, no network."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from corrtool.correspondence import start_search as module
from corrtool.correspondence.action_matrix import ActionMatrix
from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.spatial_starts import Start
from corrtool.correspondence.start_search import StartSearch
from corrtool.correspondence.tones import Tone

CPU = torch.device("cpu")
FIRST, FINAL, TURNED, COARSE = 16, 64, 512, 32  # transitions
PLAIN, INVERTED, PALE = (Tone.plain((0,), gain) for gain in (1.0, -1.0, 0.5))
SWAPPED = ActionMap((1, 0), 2)
Loss = Callable[[Start, int], float]


class Comparisons:
    """Losses by start and number of transitions, and which rows each was compared on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, loss: Loss, records: int = 1_000) -> None:
        self.loss, self.rows = loss, dict[Start, list[list[int]]]()
        self.advanced, self.set = list[int](), list[Start]()
        self.target: Any = SimpleNamespace(
            dynamics_rows=lambda: np.arange(records),
            states=torch.from_numpy,
            actions=lambda rows: torch.from_numpy(rows % 2),
            next_rows=lambda rows: rows + 1,
            device=CPU,
        )
        scaling = SimpleNamespace(raw_to_model=lambda states: states, spec="spec")
        self.correspondence: Any = SimpleNamespace(
            target_scaling=scaling, source_scaling=scaling, action_map=None
        )
        self.model: Any = SimpleNamespace(actions=2)
        monkeypatch.setattr(module, "model_loss_by_start", self._losses)
        monkeypatch.setattr(Start, "layers", lambda start, _: _Layer(start))
        monkeypatch.setattr(module, "batch_matrix", self._matrix)
        monkeypatch.setattr(Start, "set", lambda start, _: self.set.append(start))

    def search(self, starts: list[Start], **more: Any) -> StartSearch:
        random = np.random.default_rng(0)
        given = self.correspondence, self.model, self.target, starts, random
        return StartSearch(*given, self.advanced.append, **more)

    def _losses(self, *given: Any) -> list[float]:
        _, model, here, actions, following, (start,) = given
        assert model is self.model and torch.equal(following, here + 1)
        assert torch.equal(actions, here % 2)
        self.rows.setdefault(start, []).append(here.tolist())
        return [self.loss(start, len(here))]

    def _matrix(self, *given: Any) -> ActionMatrix:
        """Actions exchanged have the loss of the start, as they are twice that."""
        model, spec, (start, rows), following, actions, count = given
        assert (spec, model) == ("spec", self.model) and following[0] is start
        assert torch.equal(following[1], rows + 1) and torch.equal(actions, rows % 2)
        self.rows.setdefault(start, []).append(rows.tolist())
        loss, taken = self.loss(start, len(rows)), actions.numpy()
        errors = np.where(np.eye(2)[taken] > 0, 2 * loss, loss)
        return ActionMatrix(errors, np.ones(len(rows)), taken, count)


class _Layer:
    """One that leaves states as they are, but with its start."""

    def __init__(self, start: Start) -> None:
        self._start = start

    def to(self, device: torch.device) -> _Layer:
        assert device == CPU
        return self

    def __call__(self, states: torch.Tensor) -> tuple[Start, torch.Tensor]:
        return self._start, states


def angles(count: int, mirrored: bool = False) -> list[Start]:
    """0°, 1°, …"""
    return [Start(float(degrees), mirrored) for degrees in range(count)]


def test_the_best_of_the_finalists_on_other_transitions_wins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At first the larger angles are better, on more transitions 14°."""
    made = Comparisons(
        monkeypatch, lambda start, n: 20 - start.degrees if n == FIRST else abs(start.degrees - 14)
    )
    search = made.search(angles(20))
    assert search.length == 20 * FIRST + 8 * FINAL
    best, found = search.run()
    assert best == Start(14.0) and made.set == [best]
    finalists = [Start(float(degrees)) for degrees in range(19, 11, -1)]
    assert found == {
        "angles_degrees": [float(degrees) for degrees in range(20)],
        "mirrored": [False] * 20,
        "model_losses": [20.0 - degrees for degrees in range(20)],
        "finalist_angles_degrees": [start.degrees for start in finalists],
        "finalist_model_losses": [5.0, 4.0, 3.0, 2.0, 1.0, 0.0, 1.0, 2.0],
        "turned_angles_degrees": [],
        "turned_model_losses": [],
        "start_degrees": 14.0,
        "start_mirrored": False,
    }
    assert sum(made.advanced) == search.length and made.advanced[-1] == 0
    first, final = made.rows[best]
    assert (len(first), len(final), len({*first, *final})) == (FIRST, FINAL, FIRST + FINAL)
    assert all(made.rows[start] == [first, final] for start in finalists)


def test_few_transitions_are_compared_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Comparisons(monkeypatch, lambda start, n: start.degrees, records=10)
    search = made.search(angles(3) + angles(1, mirrored=True))
    assert search.length == 4 * 10 + 4 * 10 + 2 * 3 * 10
    search.run()
    assert all(sorted(rows) == list(range(10)) for of in made.rows.values() for rows in of)
    assert sum(made.advanced) == search.length


def test_the_best_of_each_hand_is_turned_on_more_transitions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 2° and 3° and of 0° and 1° mirrored the latter are better; then 4° is the best."""

    def loss(start: Start, n: int) -> float:
        if n < TURNED:
            return 5 - start.degrees + start.mirrored
        return abs(start.degrees - 4) + 2 * start.mirrored

    made = Comparisons(monkeypatch, loss)
    monkeypatch.setattr(module, "BATCH", 2_000)
    search = made.search([*angles(4)[2:], *angles(2, mirrored=True)])
    assert search.length == 4 * FIRST + 4 * FINAL + 6 * TURNED
    best, found = search.run()
    assert best == Start(4.0) and found["start_mirrored"] is False
    turned = dict(zip(found["turned_angles_degrees"], found["turned_model_losses"], strict=True))
    assert sorted(found["turned_angles_degrees"]) == [0.0, 1.0, 2.0, 2.0, 3.0, 4.0]
    assert turned[4.0] == 0.0 and turned[0.0] == 6.0
    assert sum(made.advanced) == search.length


class TestCoarseStarts:
    @pytest.mark.parametrize(
        ("count", "kept"), [(1, [0]), (3, [0, 1, 2]), (8, [0, 2, 4, 6]), (9, [0, 2, 4, 6])]
    )
    def test_are_a_few_angles_of_each_hand_with_each_tone(
        self, monkeypatch: pytest.MonkeyPatch, count: int, kept: list[int]
    ) -> None:
        made = Comparisons(monkeypatch, lambda start, n: 1.0)
        starts = [*angles(count), *angles(count, mirrored=True)]
        found = made.search(starts, tones=(PLAIN, INVERTED))._coarse_starts()
        assert found == [
            Start(float(degrees), mirrored, tone)
            for tone in (PLAIN, INVERTED) for mirrored in (False, True) for degrees in kept
        ]  # fmt: skip

    def test_are_none_where_only_angles_are_open(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = Comparisons(monkeypatch, lambda start, n: 1.0)
        assert made.search(angles(4))._coarse_starts() == []
        assert made.search(angles(4), tones=(PALE,))._coarse_starts() == []
        assert made.search(angles(4), find_actions=True)._coarse_starts() == angles(4)


class TestTones:
    def test_a_single_tone_goes_with_every_start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = Comparisons(monkeypatch, lambda start, n: start.degrees)
        best, found = made.search(angles(2), tones=(PALE,)).run()
        assert best == Start(0.0, tone=PALE) and "tones" not in found
        assert {start.tone for start in made.rows} == {PALE}

    @pytest.mark.parametrize(("second", "kept"), [(5.5, 2), (5.75, 1)])
    def test_the_second_is_kept_where_it_is_near(
        self, monkeypatch: pytest.MonkeyPatch, second: float, kept: int
    ) -> None:
        """A tone has the loss of its best angle, which is 1°: one less."""
        monkeypatch.setattr(module, "NEAR", 1.1)
        of_tone = {PLAIN: 9.0, INVERTED: 5.0, PALE: second}

        def loss(start: Start, n: int) -> float:
            assert start.tone is not None
            return of_tone[start.tone] + (start.degrees != 1.0)

        made = Comparisons(monkeypatch, loss)
        search = made.search(angles(3), tones=(PLAIN, PALE, INVERTED))
        best, found = search.run()
        assert best == Start(1.0, tone=INVERTED)
        assert found["tones"] == [str(tone) for tone in (PLAIN, PALE, INVERTED)]
        assert found["tone_model_losses"] == [9.0, second, 5.0]
        assert found["start_tone"] == INVERTED.to_json() and found["start_action_map"] is None
        assert len(found["model_losses"]) == 3 * kept
        assert search.length == 9 * COARSE + 6 * FIRST + 6 * FINAL
        assert sum(made.advanced) == search.length

    def test_two_that_are_as_good_are_both_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = Comparisons(monkeypatch, lambda start, n: 5.0 + start.degrees)
        best, found = made.search(angles(3), tones=(PALE, INVERTED)).run()
        assert best == Start(0.0, tone=PALE) and len(found["model_losses"]) == 6


class TestActions:
    def test_are_found_at_a_few_angles_and_once_more_for_the_finalists(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = Comparisons(monkeypatch, lambda start, n: 1 + abs(start.degrees - 5))
        search = made.search(angles(8), find_actions=True)
        best, found = search.run()
        assert best == Start(5.0, action_map=SWAPPED) and made.set == [best]
        assert found["start_action_map"] == [1, 0] and found["start_tone"] is None
        assert found["tone_model_losses"] == [] and min(
            found["finalist_model_losses"]
        ) == pytest.approx(1)
        assert [len(rows) for rows in made.rows[Start(4.0)]] == [COARSE]
        swapped = [len(rows) for rows in made.rows[best]]
        assert swapped == [FIRST, FINAL]  # with the map that was found first, to begin with
        assert search.length == 4 * COARSE * 2 + 8 * FIRST + 8 * FINAL * 2
        assert sum(made.advanced) == search.length and made.advanced[-1] == 0

    def test_are_as_many_as_the_map_so_far_has(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = Comparisons(monkeypatch, lambda start, n: 1.0)
        made.correspondence.action_map = ActionMap((0, 1, 1), 2)
        best, _ = made.search(angles(1), find_actions=True).run()
        assert best.action_map is not None and best.action_map.target_count == 3

    def test_are_found_in_batches(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "BATCH", 10)
        made = Comparisons(monkeypatch, lambda start, n: 1.0)
        made.search(angles(1), find_actions=True).run()
        assert [len(rows) for rows in made.rows[Start(0.0)]] == [8] * 4
        assert [len(rows) for rows in made.rows[Start(0.0, action_map=SWAPPED)]] == [
            8, 8, *[10], *[9] * 6,
        ]  # fmt: skip
