"""Scores of correspondences, computed by hand and of correspondences that are known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from corrtool.correspondence import score as scoring
from corrtool.correspondence import temporal_differences
from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.generators import LinearGenerator
from corrtool.correspondence.knowledge import Knowledge
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.score import (
    Scorer,
    error_share,
    explained_share,
    score_correspondence,
    score_numbers,
    score_value,
)
from corrtool.correspondence.spatial_starts import Start, set_start
from corrtool.correspondence.temporal_differences import target_differences
from corrtool.environment_model.network import ScaledModel
from corrtool.memory import ReplayMemory
from corrtool.memory.rows import FIELDS, MemoryRows
from corrtool.memory.samples import even_sample
from corrtool.q_learning.chain import Chain, Layer
from corrtool.q_learning.policy import PolicyNetwork
from corrtool.q_learning.saved import RewardsLearnt
from corrtool.runs.results import Score
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec

NUMBER = StateSpec("vector", (1,))
PAIR = StateSpec("vector", (2,))
LINEAR = GeneratorDescription("linear")


class Step(nn.Module):
    """F: everything moves on by ``step``, whatever the action."""

    def __init__(self, step: float) -> None:
        super().__init__()
        self.step = step

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        return states + self.step


class FirstSteps(nn.Module):
    """F: of two coordinates the first moves on by 1."""

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        return states + torch.tensor([1.0, 0.0])


class OnceAndTwice(nn.Module):
    """Q of two actions: the state and its double."""

    def forward(self, states: Tensor) -> Tensor:
        return torch.cat([states, 2 * states], dim=1)


def memory(
    frames: Any, actions: Any = 0, rewards: Any = 0.0, spec: StateSpec = NUMBER
) -> ReplayMemory:
    """One episode under way, of which the last frame is only a next state."""
    frames = np.asarray(frames)
    fields: dict[str, np.ndarray] = {
        name: np.zeros(len(frames), dtype) for name, dtype in FIELDS.items()
    }
    fields["valid"][:-1] = True
    fields["episode_steps"][:] = np.arange(len(frames))
    fields["actions"][:], fields["rewards"][:] = actions, rewards
    return ReplayMemory.from_rows(MemoryRows(spec, 1, frames, fields), torch.device("cpu"))


def numbers(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[:, None]


def set_linear(generator: nn.Module, weight: Any, bias: Any = 0.0) -> None:
    assert isinstance(generator, LinearGenerator)
    with torch.no_grad():
        generator.layer.weight.copy_(torch.as_tensor(weight))
        generator.layer.bias.fill_(bias)


def linear(to_source: float, to_target: float = 1.0) -> Correspondence:
    """G_T and G_S multiply by a number; two target actions are those of the source swapped."""
    scalings = StateScaling(NUMBER), StateScaling(NUMBER)
    correspondence = Correspondence(*scalings, LINEAR, ActionMap((1, 0), 2))
    set_linear(correspondence.target_to_source, [[to_source]])
    set_linear(correspondence.source_to_target, [[to_target]])
    return correspondence


def same_pair(second: float = 1.0) -> Correspondence:
    """Of two coordinates, of which G_T multiplies the second."""
    same = Correspondence(StateScaling(PAIR), StateScaling(PAIR), LINEAR, ActionMap((1, 0), 2))
    set_linear(same.target_to_source, torch.diag(torch.tensor([1.0, second])))
    set_linear(same.source_to_target, torch.eye(2))
    return same


def known(
    source: ReplayMemory, target: ReplayMemory, step: float, q: nn.Module | None = None, **more: Any
) -> Knowledge:
    return Knowledge(source, target, q, ScaledModel(Step(step), StateScaling(NUMBER)), **more)


def scored(correspondence: Correspondence, knowledge: Knowledge, n: int = 99) -> Score:
    return score_correspondence(correspondence, knowledge, np.random.default_rng(0), n)


SOURCE, TARGET = memory(numbers(0, 1, 2, 3)), memory(numbers(0, 2, 4))


def actor(critic: float | None) -> PolicyNetwork:
    """A policy of two actions with logits that are no values, and V(s) = ``critic`` · s."""
    logits = Layer.of("linear", inputs=1, outputs=2, bias=False)
    value = None if critic is None else (Layer.of("linear", inputs=1, outputs=1, bias=False),)
    policy = PolicyNetwork(Chain((), (logits,), value), 2)
    weights = {"logits.0.weight": [[100.0], [-7.0]], "critic.0.weight": [[critic]]}
    policy.load_state_dict({name: torch.tensor(weights[name]) for name in policy.state_dict()})
    return policy


class TestPolicies:
    """Logits are no values: V(s) of a critic is, and without one there is no Bellman part."""

    def test_a_critic_by_hand(self) -> None:
        """r + γ V(s') − V(s) = 1 + (s + 1) − 2 s = 2 − s: of 0, 1, 2 it is 2, 1, 0.

        The policy finds the action 0 as likely as 1 at 0, and certain elsewhere: those three count
        ½, 1, 1. The target's action 1 is the source's 0.
        """
        source = memory(numbers(0, 1, 2, 3), rewards=1.0)
        target = memory(numbers(0, 2, 4), actions=1, rewards=1.0)
        knowledge = known(source, target, 1.0, actor(2.0), rewards=RewardsLearnt(gamma=0.5))
        found, deviation = scored(linear(0.5), knowledge), np.std([0.0, 2.0, 4.0])
        assert found["source_bellman_error"] == pytest.approx(0.8 / deviation)
        assert found["bellman_error"] == pytest.approx(4 / 3 / deviation)
        assert found["bellman_share"] == pytest.approx(0.6)
        differences = target_differences(linear(0.5), knowledge, np.array([0, 1]))
        weights = np.sqrt([0.5 / 0.75, 1 / 0.75])
        assert differences.tolist() == pytest.approx([2.0 * weights[0], weights[1]])

    def test_a_critic_sees_the_action_map_by_what_its_policy_does(self) -> None:
        """By the identity the target's action 1 is one that the policy never takes at 1."""
        source = memory(numbers(0, 1, 2, 3), rewards=1.0)
        target = memory(numbers(0, 2, 4), actions=1, rewards=1.0)
        knowledge = known(source, target, 1.0, actor(2.0), rewards=RewardsLearnt(gamma=0.5))
        swapped = linear(0.5)
        swapped.action_map = ActionMap((0, 1), 2)
        assert scored(swapped, knowledge)["bellman_share"] == pytest.approx(0.4)

    def test_where_a_policy_takes_none_of_the_actions_nothing_is_said(self) -> None:
        source = memory(numbers(1, 2, 3), actions=1, rewards=1.0)
        knowledge = known(source, TARGET, 1.0, actor(2.0), rewards=RewardsLearnt(gamma=0.5))
        found = scored(linear(0.5), knowledge)
        assert found["source_bellman_error"] is found["bellman_share"] is None

    def test_without_a_critic_there_is_no_bellman_part(self) -> None:
        knowledge = known(SOURCE, TARGET, 1.0, actor(None))
        found = scored(linear(0.5), knowledge)
        assert found["bellman_error"] is found["bellman_share"] is None
        assert found == scored(linear(0.5), known(SOURCE, TARGET, 1.0))
        with pytest.raises(ValueError, match="need Q_S or a critic"):
            target_differences(linear(0.5), knowledge, np.array([0]))


class TestByHand:
    """States of one number, on which everything can be computed in the head."""

    def test_f_on_translated_transitions_is_compared_with_f_on_the_source(self) -> None:
        knowledge = known(SOURCE, TARGET, 0.5)  # moves half as far as the source does
        exact, as_it_is = scored(linear(0.5), knowledge), scored(linear(1.0), knowledge)
        assert exact["source_model_loss"] == pytest.approx(0.5, abs=1e-5)
        assert exact["model_loss"] == pytest.approx(0.5, abs=1e-5)
        assert exact["model_share"] == exact["value"] == pytest.approx(1.0, abs=1e-5)
        assert as_it_is["model_loss"] == pytest.approx(0.75, abs=1e-5)
        assert as_it_is["model_share"] == as_it_is["value"] == pytest.approx(0.5, abs=1e-5)
        assert scored(linear(0.0), knowledge)["value"] == 0.0  # nothing that moves is left

    def test_f_is_measured_by_what_it_has_not_learnt_from_where_that_is_known(self) -> None:
        knowledge = known(SOURCE, TARGET, 0.5, held_out_loss=0.75)  # of M_S, which it knows: 0.5
        found = scored(linear(1.0), knowledge)
        assert found["source_model_loss"] == 0.75
        assert found["model_loss"] == pytest.approx(0.75, abs=1e-5)
        assert found["model_share"] == found["value"] == pytest.approx(1.0, abs=1e-5)

    def test_losses_are_sums_over_all_batches(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            temporal_differences, "BATCH", 1
        )  # of changes 1 and 3 it knows 1 each: 2 of 4
        source = memory(numbers(0, 1, 4))
        found = scored(linear(1.0), known(source, source, 1.0))
        assert found["source_model_loss"] == found["model_loss"] == pytest.approx(0.5, abs=1e-5)

    def test_where_f_explains_nothing_of_the_source_nothing_is_explained(self) -> None:
        found = scored(linear(0.5), known(SOURCE, TARGET, -1.0))
        assert found["source_model_loss"] == pytest.approx(2.0, abs=1e-5)
        assert found["model_share"] == found["value"] == 0.0

    @pytest.mark.parametrize(("clip", "error"), [(False, 5.0), (True, 3.0)])
    def test_bellman_errors(self, clip: bool, error: float) -> None:
        """Action 1 of the target is 0 of the source; 3 + γ 2s' - s is 5, with the sign of 3 3."""
        source = memory(numbers(0, 1, 2, 3), rewards=1.0)
        target = memory(numbers(0, 2, 4), actions=1, rewards=3.0)
        rewards = RewardsLearnt(gamma=0.5, clip_rewards=clip)
        found = scored(linear(1.0), known(source, target, 0.5, OnceAndTwice(), rewards=rewards))
        deviation = np.std([0, 0, 1, 2, 2, 4])
        assert found["source_bellman_error"] == pytest.approx(2.0 / deviation)
        assert found["bellman_error"] == pytest.approx(error / deviation)
        assert found["bellman_share"] == pytest.approx(2.0 / error)
        assert found["value"] == pytest.approx(found["model_share"] * (2.0 / error) ** 0.5)

    def test_each_coordinate_counts_as_much_as_it_has_of_all_changes_of_the_source(self) -> None:
        """Of M_S the first moves by 3 and the second by 1; F knows 1 of each: losses ⅔ and 0, ½.

        Of M_T the first moves by 1 and the second stays, of which F knows all and nothing.
        """
        walks = memory(np.array([[0, 0], [3, 1], [6, 2]], np.float32), spec=PAIR)
        stays = memory(np.array([[0, 5], [1, 5], [2, 5]], np.float32), spec=PAIR)
        model, same = ScaledModel(Step(1.0), StateScaling(PAIR)), same_pair()
        found = scored(same, Knowledge(walks, stays, None, model))
        assert found["source_model_loss"] == pytest.approx(0.5, abs=1e-5)
        assert found["model_loss"] == pytest.approx(0.75 * 0 + 0.25 * 1, abs=1e-5)
        held_out = scored(same, Knowledge(walks, walks, None, model, held_out_loss=0.6))
        assert held_out["source_model_loss"] == 0.6
        assert held_out["model_loss"] == pytest.approx(0.5, abs=1e-5)

    def test_a_coordinate_that_shrinks_is_explained_no_better(self) -> None:
        """F knows how the first moves, and nothing of the second, a half of all changes."""
        walks = memory(np.array([[0, 0], [1, 1], [2, 0], [3, 1]], np.float32), spec=PAIR)
        model = ScaledModel(FirstSteps(), StateScaling(PAIR))
        for size in (1.0, 0.5, 0.1):
            shrunk = same_pair(size)
            found = scored(shrunk, Knowledge(walks, walks, None, model))
            assert found["model_loss"] == pytest.approx(0.5, abs=1e-4)
        lost = scored(same_pair(0.0), Knowledge(walks, walks, None, model))
        assert lost["model_loss"] == pytest.approx(0.5, abs=1e-4)

    def test_of_pictures_all_elements_count_together(self) -> None:
        spec = StateSpec("image", (1, 2, 1), stack=1)
        sums = scoring._Sums(spec)
        here = torch.zeros(1, 1, 2, 1)
        sums.add_model(here, here, torch.tensor([1.0, 0.5]).reshape(1, 1, 2, 1))
        sums.add_model(here + 1.0, here, torch.tensor([1.0, 0.0]).reshape(1, 1, 2, 1))
        assert sums.importance == 1.0
        assert sums.model_loss(torch.tensor(1.0)) == pytest.approx(1.5 / 2.5, abs=1e-5)

    def test_without_q_there_is_no_bellman_error(self) -> None:
        found = scored(linear(0.5), known(SOURCE, TARGET, 1.0))
        errors = found["bellman_error"], found["source_bellman_error"], found["bellman_share"]
        assert errors == (None, None, None)
        assert found["value"] == found["model_share"] == pytest.approx(1.0)
        assert set(score_numbers(found)) < set(found)

    def test_the_cycle_error_is_a_share_of_what_the_mean_gets_wrong(self) -> None:
        """Of 0, 1 and 2 come back 0, 2 and 4; the mean, 1, is off by 1, 0 and 1."""
        assert scored(linear(1.0, 2.0), known(SOURCE, TARGET, 1.0))["cycle_error"] == 1.5
        assert scored(linear(0.5, 2.0), known(SOURCE, TARGET, 1.0))["cycle_error"] == 0.0

    def test_states_that_never_change_are_mapped_back_without_an_error(self) -> None:
        still = memory(numbers(1, 1, 1))
        assert scored(linear(1.0, 2.0), known(still, TARGET, 1.0))["cycle_error"] == 0.0

    def test_transitions_that_end_an_episode_do_not_count(self) -> None:
        target = memory(numbers(0, 2, -9, 0, 2))
        target.fields["terminated"][1], target.fields["valid"][2] = True, False
        assert scored(linear(0.5), known(SOURCE, target, 1.0))["model_loss"] < 1e-5

    def test_without_f_there_is_none(self) -> None:
        with pytest.raises(ValueError, match="needs F"):
            scored(linear(1.0), replace(known(SOURCE, TARGET, 1.0), environment_model=None))


def test_it_is_computed_on_so_many_random_transitions_and_says_how_far_it_is() -> None:
    steps = np.random.default_rng(1).uniform(0.5, 1.5, 300).cumsum()
    source = memory(numbers(*steps))
    knowledge, done = known(source, source, 1.0), list[int]()
    drawn = [
        score_correspondence(linear(1.0), knowledge, np.random.default_rng(seed), 150, done.append)
        for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    # All 299 of the source, four times 150 being more, 150 of the target, a quarter there and back.
    assert done == [128, 128, 43, 128, 22, 38] * 3
    assert Scorer(knowledge, np.random.default_rng(0), 150).length == sum(done) / 3


@given(
    rewards=st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), min_size=2, max_size=60),
    count=st.integers(1, 60),
    seed=st.integers(0, 9),
)
def test_a_sample_has_each_reward_as_often_as_the_memory(
    rewards: list[float], count: int, seed: int
) -> None:
    held = memory(numbers(*range(len(rewards))), rewards=np.array(rewards))
    rows = even_sample(np.random.default_rng(seed), held, count)
    known_rewards = rewards[:-1]  # the last is no transition
    assert len(rows) == len(set(rows)) == min(count, len(known_rewards))
    assert list(rows) == sorted(rows)
    for reward in set(known_rewards):
        share = known_rewards.count(reward) / len(known_rewards)
        assert abs(sum(rewards[row] == reward for row in rows) - share * len(rows)) < 1


RATE = st.floats(0, 3, allow_nan=False)


class TestOneNumber:
    """The pure functions that make one number of several."""

    @given(RATE, RATE, RATE, RATE)
    def test_all_shares_and_the_value_are_in_0_to_1(
        self, loss: float, source_loss: float, error: float, source_error: float
    ) -> None:
        model, bellman = explained_share(loss, source_loss), error_share(error, source_error)
        assert 0 <= score_value(model, bellman) <= score_value(model, None) == model <= 1
        assert 0 <= bellman <= 1

    def test_values(self) -> None:
        assert explained_share(0.6, 0.2) == pytest.approx(0.5)
        assert (explained_share(0.1, 0.2), explained_share(1.2, 0.2)) == (1.0, 0.0)
        assert (explained_share(0.9, 0.99), explained_share(0.98, 0.98)) == (0.0, 1.0)
        assert (error_share(4.0, 1.0), error_share(0.0, 0.0), error_share(1.0, 0.0)) == (0.25, 1, 0)
        assert score_value(0.8, 0.25) == pytest.approx(0.4)


PLANT = StateSpec("vector", (4,))
VIEW = np.array([[0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, -1, 0, 0]], np.float32)


class Plant(nn.Module):
    """F: two oscillators of different speed, of which the actions push one each."""

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        slow, slow_speed, fast, fast_speed = states.T
        push = torch.where(actions == 1, 0.5, -0.5)
        return torch.stack(
            [
                slow + 0.2 * slow_speed,
                slow_speed - 0.2 * torch.sin(slow) + push,
                fast + 0.9 * fast_speed,
                0.7 * fast_speed - 0.5 * fast,
            ],
            dim=1,
        )


def plant() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """States, actions and rewards of random play."""
    random, model = np.random.default_rng(0), Plant()
    actions = random.integers(0, 2, 400)
    states = [torch.from_numpy(random.normal(size=4).astype(np.float32))[None]]
    for action in actions[:-1]:
        states.append(model(states[-1], torch.tensor([action])))
    frames = torch.cat(states).numpy()
    return frames, actions, frames[:, 1]


@pytest.mark.parametrize("kind", ["exact", "random", "untrained"])
def test_an_exact_correspondence_scores_1_and_others_next_to_nothing(kind: str) -> None:
    torch.manual_seed(0)
    frames, actions, rewards = plant()
    source = memory(frames, actions, rewards, PLANT)
    target = memory(frames @ VIEW.T, actions, rewards, PLANT)
    scaling = source.scaling(source.transition_rows())
    model = ScaledModel(Raw(Plant(), scaling), scaling)
    knowledge = Knowledge(source, target, nn.Linear(4, 2), model)
    target_scaling = target.scaling(target.transition_rows())
    correspondence = Correspondence(scaling, target_scaling, LINEAR)
    values = []
    for _ in range(5):
        if kind == "random":
            set_linear(correspondence.target_to_source, torch.randn(4, 4) / 2)
        elif kind == "exact":
            set_linear(correspondence.target_to_source, VIEW.T)
            set_linear(correspondence.source_to_target, VIEW)
        else:
            correspondence = Correspondence(scaling, target_scaling, LINEAR)
        values.append(scored(correspondence, knowledge, 200))
    if kind == "exact":
        assert values[0]["model_share"] == pytest.approx(1.0) and values[0]["value"] > 0.95
        assert values[0]["cycle_error"] < 1e-5
    else:
        assert max(found["value"] for found in values) < 0.1


class Raw(nn.Module):
    """F of states in the task's units, as one of the model range."""

    def __init__(self, model: nn.Module, scaling: StateScaling) -> None:
        super().__init__()
        self.model, self.scaling = model, scaling

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        return self.scaling.raw_to_model(self.model(self.scaling.model_to_raw(states), actions))


PICTURE = StateSpec("image", (1, 32, 32), 2)


class BallFalls(nn.Module):
    """F of two frames: the newest moves down by two pixels."""

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        return torch.stack([states[:, 1], torch.roll(states[:, 1], 2, dims=1)], dim=1)


def test_pictures_in_which_a_ball_falls_to_the_side() -> None:
    ball = np.zeros((12, 1, 32, 32), np.uint8)
    for k in range(12):
        ball[k, 0, 4 + 2 * k : 8 + 2 * k, 9:13] = 255
        ball[k, 0, 4 + 2 * k, 13:16] = 128
    turned = np.ascontiguousarray(np.rot90(ball, 1, (2, 3)))
    scaling = StateScaling(PICTURE)
    knowledge = Knowledge(
        memory(ball, spec=PICTURE),
        memory(turned, spec=PICTURE),
        None,
        ScaledModel(BallFalls(), scaling),
    )
    values = []
    for degrees in (-90.0, 0.0, 90.0):
        kind = GeneratorDescription("rotation")
        correspondence = Correspondence(scaling, StateScaling(PICTURE), kind)
        set_start(correspondence, Start(degrees))
        values.append(scored(correspondence, knowledge))
    assert values[0]["source_model_loss"] < 1e-5
    assert values[0]["value"] == pytest.approx(1.0, abs=1e-3)
    assert values[0]["cycle_error"] == pytest.approx(0.0, abs=1e-3)
    assert max(values[1]["value"], values[2]["value"]) < 0.25
