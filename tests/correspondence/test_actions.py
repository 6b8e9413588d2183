"""The action map m of eq. (13): what it is made of, and where a correspondence applies it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.discriminators import build_discriminator
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.objectives import GeneratorObjective
from corrtool.correspondence.play import TransferredQValues
from corrtool.correspondence.spatial_starts import Start
from corrtool.correspondence.start_search import model_loss_by_start
from corrtool.environment_model.network import ScaledModel
from corrtool.errors import UsageError
from corrtool.runtime.precision import Precision
from corrtool.settings.stages import LearnCorrSettings
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec

VECTORS, PICTURES = StateSpec("vector", (2,), 2), StateSpec("image", (1, 36, 36), 2)
FOUR_OF_THREE = ActionMap((2, 0, 1, 1), 3)
maps = st.integers(1, 9).flatmap(lambda n: st.lists(st.integers(0, n - 1), min_size=1, max_size=9)
                                 .map(lambda of: ActionMap(tuple(of), n)))  # fmt: skip
permutations = st.integers(1, 9).flatmap(lambda n: st.permutations(range(n)))


def correspondence(spec: StateSpec, action_map: ActionMap | None) -> Correspondence:
    """One whose G_T and G_S leave states as they are."""
    kind = "linear" if spec.kind == "vector" else "rotation"
    made = Correspondence(
        StateScaling(spec), StateScaling(spec), GeneratorDescription(kind), action_map
    )
    if kind == "linear":
        for generator in (made.target_to_source, made.source_to_target):
            for weights in generator.parameters():
                nn.init.eye_(weights) if weights.ndim == 2 else nn.init.zeros_(weights)
    return made.eval()


class BecomesTheAction(nn.Module):
    """An environment model: the whole next state is a tenth of the action."""

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        shape = (-1, *[1] * (states.ndim - 1))
        return states * 0 + actions.reshape(shape) / 10


class SumTimesAction(nn.Module):
    """A Q-function: the mean of the state, plus ten times the action, of three actions."""

    def forward(self, states: Tensor) -> Tensor:
        return states.flatten(1).mean(dim=1, keepdim=True) + torch.tensor([0.0, 10.0, 20.0])


class TestTheMap:
    def test_says_of_each_target_action_the_source_action(self) -> None:
        assert (FOUR_OF_THREE.target_count, FOUR_OF_THREE.source_count) == (4, 3)
        assert FOUR_OF_THREE.to_setting() == "[2, 0, 1, 1]"

    def test_the_identity_is_of_all_actions(self) -> None:
        assert ActionMap.identity(3) == ActionMap((0, 1, 2), 3)
        assert ActionMap.identity(3).is_identity
        assert ActionMap.identity(3).to_setting() == "identity"
        assert not ActionMap((0, 1), 3).is_identity  # the source has one more
        assert not ActionMap((1, 0), 2).is_identity

    def test_what_is_still_to_be_learnt_begins_with_actions_in_their_order(self) -> None:
        assert ActionMap.unknown(3, 7) == ActionMap((0, 1, 2, 0, 1, 2, 0), 3)
        assert ActionMap.unknown(3, 2) == ActionMap((0, 1), 3)

    @given(maps)
    def test_manifest_and_setting_give_it_back(self, action_map: ActionMap) -> None:
        told = json.loads(json.dumps(action_map.to_json()))
        assert ActionMap.from_json(told) == action_map
        if not action_map.is_identity:
            sizes = action_map.source_count, action_map.target_count
            assert ActionMap.parse(action_map.to_setting(), *sizes) == action_map

    @pytest.mark.parametrize(
        "told",
        [
            {},
            {"source_of": [0]},
            {"source_of": [1], "source_count": 1},
            {"source_of": [-1], "source_count": 1},
            {"source_of": [True], "source_count": 2},
            {"source_of": [0.0], "source_count": 2},
            {"source_of": 3, "source_count": 4},
            {"source_of": [0], "source_count": "1"},
            [0],
        ],
    )
    def test_a_manifest_that_describes_none_is_refused(self, told: Any) -> None:
        with pytest.raises((KeyError, TypeError, ValueError)):
            ActionMap.from_json(told)

    def test_a_file_is_read(self, tmp_path: Path) -> None:
        path = tmp_path / "map.json"
        path.write_text("[2, 0,\n 1, 1]\n")
        assert ActionMap.parse(str(path), 3, 4) == FOUR_OF_THREE
        assert ActionMap.parse(" [2,0,1,1]", 3, 4) == FOUR_OF_THREE
        path.write_text("[2, 0, 1, 1]", encoding="utf-8-sig")  # as some editors write it
        assert ActionMap.parse(str(path), 3, 4) == FOUR_OF_THREE

    def test_a_list_that_does_not_fit_is_named_and_said_what_to_do(self) -> None:
        with pytest.raises(UsageError, match=r"^the action map has 3 actions") as raised:
            ActionMap.parse("[2, 0, 1]", 3, 4)
        assert raised.value.hint == "list 4 source actions, one for each target action"

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ("[2, 0, 1]", "has 3 actions, and the target 4"),
            ("[3, 0, 1, 1]", "action 3 is none of the source's, which are 0 to 2"),
            ("[-1, 0, 1, 1]", "action -1 is none"),
            ("[0, 1, 2, 1.0]", "1.0 is not a whole number"),
            ("[0, 1, 2, true]", "True is not a whole number"),
            ('[0, 1, 2, "up"]', "'up' is not a whole number"),
            ("[]", "has 0 actions"),
            ('{"0": 1}', "is no JSON list"),
            ("2, 0, 1, 1", "is no JSON list"),
            ("", "is no JSON list"),
            ("[" * 100_000, "is no JSON list"),
        ],
    )
    def test_a_list_that_does_not_fit_is_refused(
        self, tmp_path: Path, content: str, said: str
    ) -> None:
        path = tmp_path / "map.json"
        path.write_text(content)
        with pytest.raises(UsageError, match=said) as raised:
            ActionMap.parse(str(path), 3, 4)
        assert "map.json" in raised.value.message and raised.value.hint

    @pytest.mark.parametrize("name", ["missing.json", ".", "latin.json", "a\0b"])
    def test_a_file_that_cannot_be_read_is_refused(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "latin.json").write_bytes(b"[1, 0] \xe9")
        with pytest.raises(UsageError, match="--action-map cannot read"):
            ActionMap.parse(str(tmp_path / name), 2, 2)


class TestACorrespondence:
    def test_maps_actions_and_values(self) -> None:
        made = correspondence(VECTORS, FOUR_OF_THREE)
        assert made.source_actions(torch.tensor([0, 1, 2, 3, 0])).tolist() == [2, 0, 1, 1, 2]
        values = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
        assert made.target_values(values).tolist() == [[3, 1, 2, 2], [6, 4, 5, 5]]

    @pytest.mark.parametrize("action_map", [None, ActionMap.identity(3)])
    def test_the_identity_touches_nothing(self, action_map: ActionMap | None) -> None:
        made = correspondence(VECTORS, action_map)
        actions, values = torch.tensor([2, 0]), torch.randn(2, 3)
        assert made.source_actions(actions) is actions and made.target_values(values) is values

    @settings(deadline=None, max_examples=30)
    @given(permutations, st.integers(0, 2**32 - 1))
    def test_a_permutation_and_then_its_inverse_are_the_identity(
        self, of: list[int], seed: int
    ) -> None:
        inverse = sorted(range(len(of)), key=of.__getitem__)
        there, back = (
            correspondence(VECTORS, ActionMap(tuple(each), len(of))) for each in (of, inverse)
        )
        actions = torch.arange(len(of))
        assert there.source_actions(back.source_actions(actions)).equal(actions)
        values = torch.randn(5, len(of), generator=torch.Generator().manual_seed(seed))
        assert back.target_values(there.target_values(values)).equal(values)

    @pytest.mark.parametrize("action_map", [None, ActionMap.identity(3), FOUR_OF_THREE])
    def test_its_manifest_gives_the_map_back(self, action_map: ActionMap | None) -> None:
        made = correspondence(VECTORS, action_map)
        described = json.loads(json.dumps(made.describe()))
        assert ("action_map" in described) == (action_map is not None)  # those of before have none
        with torch.device("meta"):  # as an artifact is loaded
            again = Correspondence.from_description(described)
        again.load_state_dict(made.state_dict(), assign=True)
        assert again.action_map == action_map
        actions = torch.tensor([2, 1])
        assert again.source_actions(actions).equal(made.source_actions(actions))

    def test_the_map_is_none_of_its_weights(self) -> None:
        assert (
            correspondence(VECTORS, FOUR_OF_THREE).state_dict().keys()
            == correspondence(VECTORS, None).state_dict().keys()
        )

    def test_the_map_can_be_replaced(self) -> None:
        made = correspondence(VECTORS, None)
        for action_map, expected in (
            (FOUR_OF_THREE, [2, 0]),
            (ActionMap((1, 1), 2), [1, 1]),
            (ActionMap.identity(2), [0, 1]),
        ):
            made.action_map = action_map
            assert made.action_map == action_map
            assert made.source_actions(torch.tensor([0, 1])).tolist() == expected


@pytest.mark.parametrize("spec", [VECTORS, PICTURES], ids=["vectors", "pictures"])
class TestWhereItIsApplied:
    @pytest.mark.parametrize(("action_map", "loss"), [(FOUR_OF_THREE, 0.1), (None, 0.15)])
    def test_the_model_loss_is_of_the_source_action(
        self, spec: StateSpec, action_map: ActionMap | None, loss: float
    ) -> None:
        """F makes 0.2, 0, 0.1, 0.1 of the actions 0 to 3; without a map 0, 0.1, 0.2 and 0.3."""
        made = correspondence(spec, action_map)
        objective = GeneratorObjective(
            made, build_discriminator(spec, 2), build_discriminator(spec, 2), None,
            ScaledModel(BecomesTheAction(), made.source_scaling),
            LearnCorrSettings(lambda_cyc=0, lambda_q=0), Precision(torch.float32, CPU),
        )  # fmt: skip
        raw = states_of_zero(spec, 4)
        _, terms, *_ = objective(raw, raw, torch.arange(4), raw)
        assert terms["model"].item() == pytest.approx(loss, abs=5e-3)  # no grey level is 0

    def test_q_values_are_those_of_the_source_actions(self, spec: StateSpec) -> None:
        made, raw = correspondence(spec, FOUR_OF_THREE), states_of_zero(spec, 2)
        mean = 0.0 if spec.kind == "vector" else 127 / 255
        q_values = TransferredQValues(SumTimesAction(), made)
        expected = torch.tensor([[20.0, 0.0, 10.0, 10.0]] * 2) + mean
        torch.testing.assert_close(q_values(raw), expected, atol=1e-4, rtol=0)
        of_target = TransferredQValues(SumTimesAction(), made, "target")
        expected = torch.tensor([[0.0, 10.0, 20.0]] * 2) + mean
        torch.testing.assert_close(of_target(raw), expected, atol=1e-4, rtol=0)


class MovesByTheAction(nn.Module):
    """An exact environment model: everything moves down by so many pixels."""

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        moved = [
            torch.roll(state, int(action), dims=1)
            for state, action in zip(states, actions, strict=True)
        ]
        return torch.stack(moved)


def test_the_search_for_a_start_sees_source_actions() -> None:
    spec = StateSpec("image", (1, 32, 32), 1)
    generator = torch.Generator().manual_seed(0)
    raw = torch.randint(0, 256, (4, 1, 32, 32), dtype=torch.uint8, generator=generator)
    following = MovesByTheAction()(raw, torch.tensor([2, 0, 1, 1]))
    losses = []
    for action_map in (FOUR_OF_THREE, ActionMap((0, 1, 2, 2), 3)):
        made = correspondence(spec, action_map)
        model = ScaledModel(MovesByTheAction(), made.source_scaling)
        losses += model_loss_by_start(made, model, raw, torch.arange(4), following, [Start(0.0)])
    assert losses[0] == pytest.approx(0, abs=1e-5) and losses[1] > 0.1
    starts = [Start(0.0, action_map=FOUR_OF_THREE)]  # which comes before that so far
    assert model_loss_by_start(made, model, raw, torch.arange(4), following, starts)[0] < 1e-5


CPU = torch.device("cpu")


def states_of_zero(spec: StateSpec, batch: int) -> Tensor:
    """Raw states that are 0 in the range of the generators, or nearly."""
    if spec.kind == "vector":
        return torch.zeros(batch, *spec.state_shape)
    return torch.full((batch, *spec.state_shape), 127, dtype=torch.uint8)
