"""Which terms the settings make of eq. (12).

A term reads no translation but those that it names.
"""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.discriminators import build_discriminator
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.objectives import GeneratorObjective
from corrtool.correspondence.statistics import ElementStatistics
from corrtool.correspondence.terms import RelativeModelTerm, Translation, Translations
from corrtool.environment_model.network import ScaledModel, build_environment_model
from corrtool.q_learning.chain import Chain, Layer
from corrtool.q_learning.network import build_q_function
from corrtool.q_learning.policy import PolicyNetwork
from corrtool.runtime.precision import Precision
from corrtool.settings.stages import LearnCorrSettings
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec

SPEC = StateSpec("vector", (2,), 2)
ACTIONS = 3
STATISTICS = ElementStatistics(torch.zeros(SPEC.state_shape), torch.ones(SPEC.state_shape))


def objective(
    q: bool | nn.Module = True, *, model: bool = True, statistics: Any = None, **settings: Any
) -> GeneratorObjective:
    scaling = StateScaling(SPEC)
    network = ScaledModel(build_environment_model(SPEC, ACTIONS, filters=2, blocks=1), scaling)
    return GeneratorObjective(
        Correspondence(scaling, StateScaling(SPEC), GeneratorDescription("linear")),
        build_discriminator(SPEC, 2),
        build_discriminator(SPEC, 2),
        build_q_function(SPEC, ACTIONS) if q is True else q or None,
        network if model else None,
        LearnCorrSettings(**settings),
        Precision(torch.float32, torch.device("cpu")),
        statistics,
    )


@pytest.mark.parametrize(
    ("lambdas", "terms", "needs"),
    [
        ((0, 0, 0), ["gan"], set()),
        ((1, 0, 0), ["gan", "cycle"], {"reconstructed_source", "reconstructed_target"}),
        ((0, 1, 0), ["gan", "q"], {"reconstructed_source"}),
        ((0, 0, 1), ["gan", "model"], {"translated_next"}),
        ((1, 1, 1), ["gan", "cycle", "q", "model"], set(get_args(Translation))),
    ],
)
def test_a_lambda_of_zero_leaves_its_term_out(
    lambdas: tuple[float, ...], terms: list[str], needs: set[str]
) -> None:
    cyc, q, m = lambdas
    composed = objective(lambda_cyc=cyc, lambda_q=q, lambda_m=m)
    assert [term.name for term in composed.terms] == terms
    assert composed.needs == needs


@pytest.mark.parametrize(
    ("q_loss", "expected"),
    [("auto", 2.5), ("logits", 2.5), ("value", 1.0)],  # |Δx − Δy| / 2 for both actions, |Δx + Δy|
)
def test_the_q_loss_of_a_policy_by_hand(q_loss: Any, expected: float) -> None:
    """Where (x, y, …) comes back as (x + 3, y − 2, …), logits are (x, y) and V = x + y."""
    weight = torch.zeros(2, 4)
    weight[0, 0] = weight[1, 1] = 1.0
    logits = Layer.of("linear", inputs=4, outputs=2, bias=True)
    critic = Layer.of("linear", inputs=4, outputs=1, bias=False)
    policy = PolicyNetwork(Chain((), (logits,), (critic,)), 2)
    policy.load_state_dict(
        {
            "logits.0.weight": weight,
            "logits.0.bias": torch.tensor([7.0, 7.0]),
            "critic.0.weight": weight.sum(0, keepdim=True),
        }
    )
    composed = objective(policy, lambda_cyc=0, lambda_m=0, q_loss=q_loss)
    term = next(term for term in composed.terms if term.name == "q")
    s = torch.randn(3, 4)
    made = {"reconstructed_source": s + torch.tensor([3.0, -2.0, 5.0, 5.0])}
    value = term(Translations(s, s, s, torch.zeros(3), s, s, made))  # type: ignore[arg-type]
    assert value.item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    "variant", [{}, {"statistics": (STATISTICS, STATISTICS), "model_loss": "relative"}]
)
def test_a_term_reads_what_it_names(variant: dict[str, Any]) -> None:
    composed = objective(**variant)
    for term in composed.terms:
        states: list[Tensor] = [torch.randn(3, *SPEC.state_shape) for _ in range(5)]
        made = {name: torch.randn(3, *SPEC.state_shape) for name in term.needs}
        actions = torch.tensor([0, 2, 1])
        value = term(
            Translations(states[0], states[1], states[2], actions, states[3], states[4], made)
        )
        assert value.shape == () and value.isfinite()
        for name in term.needs:
            others = {other: tensor for other, tensor in made.items() if other != name}
            with pytest.raises(KeyError, match=name):
                term(
                    Translations(
                        states[0], states[1], states[2], actions, states[3], states[4], others
                    )
                )


class ShiftsInANewFrame(nn.Module):
    """An environment model of three frames: the new one is as bright as the action says."""

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        return torch.stack([states[:, 1], states[:, 2], actions.float()], dim=1)


def test_the_relative_model_loss_looks_at_the_last_of_several_frames() -> None:
    spec = StateSpec("vector", (1,), 3)
    model: Any = ShiftsInANewFrame()
    term = RelativeModelTerm(model, spec, Precision(torch.float32, torch.device("cpu")))
    here = torch.tensor([[9.0, 7.0, 2.0]])
    following = torch.tensor([[7.0, 2.0, 6.0]])  # the newest frame changes by 4, of which F
    actions = torch.tensor([5])  # misses 1
    translations = Translations(
        here, here, here, actions, here, here, {"translated_next": following}
    )
    assert term(translations).item() == pytest.approx(0.25)


@pytest.mark.parametrize("missing", ["q", "model"])
def test_a_term_without_its_network_is_refused(missing: str) -> None:
    with pytest.raises(ValueError, match="and there is none"):
        objective(**{missing: False})


def test_all_weights_are_the_objectives_own() -> None:
    composed = objective()
    for term in composed.terms:
        for part in vars(term).values():
            if isinstance(part, nn.Module):
                assert {id(p) for p in part.parameters()} <= {id(p) for p in composed.parameters()}
