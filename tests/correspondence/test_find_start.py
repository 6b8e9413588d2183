"""Which correspondences begin at a start that is searched for, and what the search is given."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from corrtool.correspondence import starts as module
from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.found_starts import AnyStart, FoundStarts
from corrtool.correspondence.knowledge import Knowledge
from corrtool.correspondence.linear_rotations import LENGTH as ROTATIONS
from corrtool.correspondence.linear_start import LinearStart
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.spatial_starts import Start
from corrtool.correspondence.start_search import ANGLE_STARTS
from corrtool.correspondence.starts import StartFinder, agree_on_actions
from corrtool.correspondence.tones import Tone
from corrtool.environment_model.network import ScaledModel
from corrtool.memory import MemoryRows, ReplayMemory
from corrtool.memory.rows import FIELDS
from corrtool.q_learning.saved import RewardsLearnt
from corrtool.runtime.ranks import Ranks
from corrtool.settings.stages import LearnCorrSettings
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec

CPU = torch.device("cpu")
NUMBERS = StateSpec("vector", (2,))
PICTURES, COLOURS = StateSpec("image", (1, 36, 36)), StateSpec("image", (3, 36, 36))
SWAPPED = ActionMap((1, 0), 2)


def memory(spec: StateSpec) -> ReplayMemory:
    """Two transitions of one episode, the actions 1 and 0; every number of frame k is k."""
    fields: dict[str, np.ndarray] = {name: np.zeros(3, dtype) for name, dtype in FIELDS.items()}
    fields["valid"][:2], fields["episode_steps"][:], fields["actions"][0] = True, np.arange(3), 1
    shape, dtype = spec.frame_shape, np.float32 if spec.kind == "vector" else np.uint8
    frames = np.broadcast_to(np.arange(3).reshape(3, *[1] * len(shape)), (3, *shape)).astype(dtype)
    return ReplayMemory.from_rows(MemoryRows(spec, 1, frames, fields), CPU)


@dataclass(frozen=True)
class Noting(Ranks):
    """Ranks that note whose weights they share, and of which the first has other actions."""

    shared: list[nn.Module] = field(default_factory=list)

    def broadcast_weights(self, network: nn.Module) -> None:
        self.shared.append(network)

    def broadcast(self, value: Any, device: torch.device) -> Any:
        assert device == CPU
        return 1 - value


def is_over() -> bool:
    """Whether the time is over."""
    return False


class Searches:
    """What a `StartFinder` asks of both searches, which find what is given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ranks: Ranks) -> None:
        self.asked: list[Any] = []
        self.bars: list[Any] = []
        self.logged: list[Any] = []
        self.said: list[str] = []
        self.rotated: list[Any] = []
        self.advance: Callable[[int], None] = lambda count: None
        console = SimpleNamespace(say=self.said.append, progress=self._progress)
        self.context: Any = SimpleNamespace(
            console=console, seed=3, ranks=ranks, device=torch.device("cpu")
        )
        self.run: Any = SimpleNamespace(
            request=SimpleNamespace(name="c"),
            metrics=SimpleNamespace(write=lambda *line: self.logged.append(line)),
        )
        Spatial.searches = Linear.searches = self
        monkeypatch.setattr(module, "StartSearch", Spatial)
        monkeypatch.setattr(module, "LinearStartSearch", Linear)
        # Of these ranks the first has found no signed permutation, so all look for a rotation.
        monkeypatch.setattr(module, "best_rotation", self._rotated)
        monkeypatch.setattr(module, "numpy_generator", lambda *given: given)
        monkeypatch.setattr(module, "learn_rewards", lambda *given: None)

    def _progress(self, *given: Any, seconds_left: Any) -> Any:
        assert seconds_left() is None
        self.bars.append(given)
        return nullcontext(SimpleNamespace(advance=self.advance))

    def _rotated(self, search: Any, start: LinearStart, count: int) -> LinearStart:
        self.rotated.append((search, count))
        return start


@dataclass
class Spatial:
    """In place of the search for an angle."""

    correspondence: Any
    model: Any
    target: Any
    starts: Any
    random: Any
    advance: Any = None
    tones: Any = None
    find_actions: Any = None
    over: Any = None
    but_not: Any = None
    length = 17
    searches: ClassVar[Any]

    def run(self) -> Any:
        assert self.advance is Spatial.searches.advance and self.over is is_over
        Spatial.searches.asked.append(self)
        return Start(90.0), {"start_degrees": 90.0}


class Linear:
    """In place of the search for a map."""

    length = 19
    searches: ClassVar[Any]

    def __init__(self, *given: Any, find_actions: bool, over: Any) -> None:
        self.given, self.find_actions, self.count = given, find_actions, 0
        assert given[6] is Linear.searches.advance and over is is_over

    def best(self, count: int) -> LinearStart:
        self.count = count
        Linear.searches.asked.append(self)
        weight, bias = torch.tensor([[0.0, 2.0], [-1.0, 0.0]]), torch.tensor([0.5, 0.25])
        return LinearStart(weight, bias, SWAPPED, 0.125, signed_permutation=True)


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> Searches:
    return Searches(monkeypatch, Noting())


class TwoActions(nn.Module):
    """In place of F, which is not asked."""

    actions = 2


def found(
    searches: Searches,
    kind: str,
    source: StateSpec = PICTURES,
    target: StateSpec = PICTURES,
    tone: Any = "none",
    actions: ActionMap | None = None,
    without_model: bool = False,
    q: nn.Module | None = None,
    **values: Any,
) -> tuple[AnyStart | None, Correspondence]:
    """The start that a `StartFinder` finds for a correspondence of this kind, and that one."""
    torch.manual_seed(0)
    description = GeneratorDescription(kind, filters=4, blocks=2, tone=tone)
    scalings = StateScaling(source), StateScaling(target)
    correspondence = Correspondence(*scalings, description, actions)
    model = None if without_model else ScaledModel(TwoActions(), StateScaling(source))
    memories = memory(source), memory(target)
    knowledge = Knowledge(*memories, q, model, RewardsLearnt(gamma=0.0))
    settings = LearnCorrSettings(**{"generator": kind, **values})
    half: Any = SimpleNamespace(over=is_over, seconds_left=lambda: None)
    limit: Any = SimpleNamespace(part=lambda share: half if share == 0.5 else None)
    starts = FoundStarts(searches.run, kept=False)
    finder = StartFinder(searches.context, searches.run, knowledge, limit, starts)
    start = finder.find(settings, correspondence)
    return start, correspondence


class TestNone:
    @pytest.mark.parametrize(
        ("kind", "given"),
        [
            ("affine", {"without_model": True}),
            ("affine", {"lambda_m": 0.0}),
            ("resnet", {}),
            ("affine", {"angle_starts": 1}),
            ("resnet-rotation", {"target": COLOURS}),
            ("linear", {"source": NUMBERS, "target": NUMBERS}),
            ("linear", {"source": NUMBERS, "target": NUMBERS, "lambda_m": 0.0,
                        "linear_starts": 4}),
        ],
    )  # fmt: skip
    def test_nothing_is_searched_for_where_nothing_can_tell_starts_apart(
        self, searches: Searches, kind: str, given: dict[str, Any]
    ) -> None:
        assert found(searches, kind, **given)[0] is None
        assert not (searches.asked or searches.logged or searches.said)
        assert not searches.context.ranks.shared


class TestSpatial:
    @pytest.mark.parametrize(("angles", "count"), [(None, ANGLE_STARTS), (2, 2)])
    def test_an_angle_is_searched_for(
        self, searches: Searches, angles: int | None, count: int
    ) -> None:
        start, correspondence = found(searches, "rotation", angle_starts=angles, angle_init=30.0)
        (search,) = searches.asked
        assert start == Start(90.0) and search.correspondence is correspondence
        assert [start.degrees for start in search.starts][:1] == [30.0]
        assert len(search.starts) == count
        assert search.random == (3, "learn-corr start")
        assert (search.tones, search.find_actions) == ((), False)
        assert isinstance(search.model, ScaledModel) and search.target.spec == PICTURES
        assert searches.bars == [(f"learn-corr c: the best of {count} starts", 17, "transitions")]
        assert searches.logged == [(0, {"event": "spatial_search", "start_degrees": 90.0})]
        assert searches.said == ["learn-corr: starting at 90.0°"]
        assert searches.context.ranks.shared == [correspondence]

    def test_a_single_angle_is_searched_at_where_actions_are_open(self, searches: Searches) -> None:
        settings: dict[str, Any] = {"angle_starts": 1, "action_map": "learned"}
        assert found(searches, "rotation", **settings)[0]
        assert len(searches.asked[0].starts) == 1 and searches.asked[0].find_actions is True
        assert searches.asked[0].but_not is None

    @pytest.mark.parametrize(("count", "searched"), [(1, False), (2, True)])
    def test_a_single_angle_is_searched_at_where_there_are_tones(
        self, searches: Searches, monkeypatch: pytest.MonkeyPatch, count: int, searched: bool
    ) -> None:
        tones = tuple(Tone.plain((0,), gain) for gain in (1.0, -1.0))[:count]
        asked: list[Any] = []

        def candidates(*given: Any) -> list[Tone]:
            asked.append(given)
            return list(tones)

        features = SimpleNamespace(of_memory=lambda *given: given)
        monkeypatch.setattr(module, "ChannelFeatures", features)
        monkeypatch.setattr(module, "candidate_tones", candidates)
        start, _ = found(searches, "affine", tone="before", angle_starts=1)
        assert start == (Start(90.0) if searched else None)
        ((source, source_random), (target, target_random)) = asked[0]
        assert source_random == target_random == (3, "learn-corr tones")
        assert isinstance(source, ReplayMemory) and source is not target
        if searched:
            assert searches.asked[0].tones == tones
            assert searches.bars[0][0] == "learn-corr c: the best of 1 starts and 2 tones"

    def test_a_tone_makes_up_for_another_number_of_channels(
        self, searches: Searches, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "numpy_generator", lambda *_: np.random.default_rng(0))
        assert found(searches, "affine", target=COLOURS, tone="before")[0]


class TestLinear:
    @pytest.mark.parametrize("kind", ["linear", "mlp"])
    @pytest.mark.parametrize("action_map", [None, SWAPPED])
    def test_a_map_is_searched_for_and_set(
        self, searches: Searches, kind: str, action_map: ActionMap | None
    ) -> None:
        vectors: dict[str, Any] = {"source": NUMBERS, "target": NUMBERS, "actions": action_map}
        start, correspondence = found(searches, kind, **vectors, linear_starts=2)
        (search,) = searches.asked
        assert isinstance(start, LinearStart) and start.loss == 0.125
        assert (search.count, search.find_actions) == (2, False)
        assert searches.rotated == [(search, 2)]
        model, source, transitions, scaling, actions, random, _ = search.given
        assert isinstance(model, ScaledModel) and random == (3, "learn-corr start")
        assert scaling is correspondence.target_scaling
        assert actions == (action_map or ActionMap.identity(2))
        assert source.tolist() == [[0.0, 0.0], [1.0, 1.0]]
        assert transitions.states.tolist() == [[0.0, 0.0], [1.0, 1.0]]
        assert transitions.next_states.tolist() == [[1.0, 1.0], [2.0, 2.0]]
        assert transitions.actions.tolist() == [1, 0]
        states = torch.tensor([[1.0, 2.0]])
        translated = correspondence.target_to_source(states)
        assert translated.tolist() == [[4.5, -0.75]]
        torch.testing.assert_close(correspondence.source_to_target(translated), states)
        assert correspondence.action_map == SWAPPED
        assert searches.bars == [
            ("learn-corr c: the best of 2 maps", 19 + ROTATIONS, "gradient steps")
        ]
        ((step, line),) = searches.logged
        assert (step, line["event"], line["loss"]) == (0, "linear_search", 0.125)
        (said,) = searches.said
        assert said.startswith("learn-corr: starting at a signed permutation")

    def test_actions_are_searched_for_where_they_are_open(self, searches: Searches) -> None:
        vectors: dict[str, Any] = {"source": NUMBERS, "target": NUMBERS}
        open_: dict[str, Any] = {"linear_starts": 4, "action_map": "learned"}
        assert found(searches, "linear", **vectors, **open_)[0]
        assert searches.asked[0].find_actions is True

    def test_rewards_tell_which_symmetry_it_is_where_there_is_a_q_function(
        self, searches: Searches, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Q(s, a) is the a-th of both coordinates, and without discount nothing else counts."""
        asked = list[Any]()

        def other(search: Any, start: LinearStart, differences: Any) -> tuple[LinearStart, int]:
            mirrored = replace(start, weight=-start.weight, loss=0.5)
            asked.append((search, differences(start).tolist(), differences(mirrored).tolist()))
            return mirrored, 7

        monkeypatch.setattr(module, "best_symmetry", other)
        vectors: dict[str, Any] = {"source": NUMBERS, "target": NUMBERS, "q": nn.Identity()}
        start, correspondence = found(searches, "linear", **vectors, linear_starts=4)
        assert isinstance(start, LinearStart) and start.loss == 0.5
        # The states 0 and 1 become (0.5, 0.25) and (2.5, -0.75), and target action 1 is 0.
        ((search, differences, mirrored),) = asked
        assert search is searches.asked[0]
        assert differences == [-0.5, 0.75] and mirrored == [-0.5, -1.25]
        assert correspondence.target_to_source(torch.ones(1, 2)).tolist() == [[-1.5, 1.25]]
        ((_, line),) = searches.logged
        assert (line["symmetries"], line["loss"]) == (7, 0.5)

    def test_other_ranks_begin_where_the_first_does(self, monkeypatch: pytest.MonkeyPatch) -> None:
        searches = Searches(monkeypatch, Noting(count=2))
        vectors: dict[str, Any] = {"source": NUMBERS, "target": NUMBERS}
        _, correspondence = found(searches, "linear", **vectors, linear_starts=4)
        assert searches.context.ranks.shared == [correspondence]
        assert correspondence.action_map == ActionMap((0, 1), 2)  # the first rank's


class TestAgreement:
    @pytest.mark.parametrize(
        ("count", "own", "agreed"),
        [(1, SWAPPED, (1, 0)), (2, SWAPPED, (0, 1)), (2, None, None), (1, None, None)],
    )
    def test_on_the_first_ranks_actions(
        self, count: int, own: ActionMap | None, agreed: tuple[int, ...] | None
    ) -> None:
        scalings = StateScaling(NUMBERS), StateScaling(NUMBERS)
        correspondence = Correspondence(*scalings, GeneratorDescription("linear"), own)
        agree_on_actions(Noting(count=count), correspondence)
        found = correspondence.action_map
        assert (None if found is None else found.source_of) == agreed


def test_a_search_that_was_cut_short_is_said_to_be_and_not_made_again(
    searches: Searches, monkeypatch: pytest.MonkeyPatch
) -> None:
    finder = StartFinder.__new__(StartFinder)
    found = FoundStarts(searches.run, kept=False)
    for name, value in (("context", searches.context), ("run", searches.run), ("found", found)):
        object.__setattr__(finder, name, value)
    whole: Any = SimpleNamespace(over=lambda: False)
    cut: Any = SimpleNamespace(over=lambda: True)
    assert finder._told("some", Start(5.0), {}, whole) == found.get("some") == Start(5.0)
    assert searches.said == []
    assert finder._told("others", Start(7.0), {}, cut) == found.get("others") == Start(7.0)
    (said,) = searches.said
    assert "ended early" in said
