"""Every loss of the paper against numbers worked out by hand."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from corrtool.correspondence.losses import (
    GanLoss,
    adversarial_loss,
    correspondence_loss,
    cycle_loss,
    discriminator_loss,
    model_loss,
    q_loss,
    relative_model_loss,
    surprise_weights,
)
from corrtool.environment_model.objective import environment_model_loss
from corrtool.q_learning.losses import temporal_difference_loss, temporal_difference_target

LOG_2 = math.log(2.0)
LOG_3 = math.log(3.0)
LOG_4 = math.log(4.0)

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def tensor(*values: float, grad: bool = False) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=grad)


class TestTemporalDifferenceTarget:
    """Eq. (4): r + γ max_a Q(s', a)."""

    def test_is_reward_plus_discounted_value(self) -> None:
        # 1 + 0.9·10 = 10,   0 + 0.9·4 = 3.6,   -1 + 0.9·0.5 = -0.55
        target = temporal_difference_target(
            tensor(1, 0, -1), torch.zeros(3, dtype=torch.bool), tensor(10, 4, 0.5), 0.9
        )
        torch.testing.assert_close(target, tensor(10, 3.6, -0.55))

    def test_a_terminal_next_state_has_no_value(self) -> None:
        # The first ends: 2 + 0; the second goes on: 2 + 0.9·100.
        target = temporal_difference_target(
            tensor(2, 2), torch.tensor([True, False]), tensor(100, 100), 0.9
        )
        torch.testing.assert_close(target, tensor(2, 92))

    def test_n_step_returns_have_a_discount_each(self) -> None:
        # Three whole steps: 1.5 + 0.9³·10 = 8.79; cut short after one: 1.5 + 0.9·10 = 10.5.
        target = temporal_difference_target(
            tensor(1.5, 1.5), torch.zeros(2, dtype=torch.bool), tensor(10, 10), tensor(0.9**3, 0.9)
        )
        torch.testing.assert_close(target, tensor(8.79, 10.5))


class TestTemporalDifferenceLoss:
    def test_huber_is_quadratic_below_one_and_linear_above(self) -> None:
        # Error 0.5: ½·0.25 = 0.125. Error -3: 3 - ½ = 2.5. Mean (0.125 + 2.5) / 2 = 1.3125.
        loss = temporal_difference_loss(tensor(0, 3), tensor(0.5, 0), "huber")
        torch.testing.assert_close(loss, torch.tensor(1.3125, dtype=torch.float64))

    def test_the_gradient_of_huber_is_the_error_clipped_to_one(self) -> None:
        q_values = tensor(0, 3, grad=True)
        loss = temporal_difference_loss(q_values, tensor(0.5, 0), "huber")
        (gradient,) = torch.autograd.grad(loss, q_values)
        # Errors 0.5 and -3, over a batch of two.
        torch.testing.assert_close(gradient, tensor(-0.5 / 2, 1.0 / 2))

    def test_squared_is_half_the_mean_square(self) -> None:
        # ½ · (0.25 + 9) / 2 = 2.3125
        loss = temporal_difference_loss(tensor(0, 3), tensor(0.5, 0), "squared")
        torch.testing.assert_close(loss, torch.tensor(2.3125, dtype=torch.float64))

    def test_one_sgd_step_on_squared_is_equation_4(self) -> None:
        # Q = 2, r = 1, γ = 0.5, max Q' = 4: Q ← 2 + 0.25·(1 + 0.5·4 - 2) = 2.25
        q_value = nn.Parameter(tensor(2))
        target = temporal_difference_target(tensor(1), torch.tensor([False]), tensor(4), 0.5)
        optimizer = torch.optim.SGD([q_value], lr=0.25)
        torch.autograd.backward(temporal_difference_loss(q_value, target, "squared"))
        optimizer.step()
        torch.testing.assert_close(q_value.detach(), tensor(2.25))


class TestAdversarialLosses:
    """Eq. (8), as least squares and as printed."""

    def test_least_squares_discriminator(self) -> None:
        # Real: ((1-1)² + (0.5-1)²)/2 = 0.125. Generated: (0² + 1²)/2 = 0.5.
        # Half of the sum: 0.3125.
        loss = discriminator_loss(tensor(1, 0.5), tensor(0, 1), "lsgan")
        torch.testing.assert_close(loss, torch.tensor(0.3125, dtype=torch.float64))

    def test_log_discriminator(self) -> None:
        # Logit 0 is D = ½, logit ln 3 is D = ¾: -½ (ln ½ + ln(1 - ¾)) = ½ (ln 2 + ln 4).
        loss = discriminator_loss(tensor(0), tensor(LOG_3), "log")
        torch.testing.assert_close(loss.item(), 0.5 * (LOG_2 + LOG_4))

    @pytest.mark.parametrize("kind", ["lsgan", "log"])
    def test_the_discriminator_learns_to_tell_real_from_generated(self, kind: GanLoss) -> None:
        real, generated = tensor(0.3, grad=True), tensor(0.3, grad=True)
        loss = discriminator_loss(real, generated, kind)
        of_real, of_generated = torch.autograd.grad(loss, (real, generated))
        # A descent step raises one and lowers the other.
        assert of_real.item() < 0 < of_generated.item()

    def test_least_squares_generator(self) -> None:
        # ((0-1)² + (3-1)²) / 2 = 2.5
        assert adversarial_loss(tensor(0, 3), "lsgan").item() == pytest.approx(2.5)

    def test_log_generator_is_the_non_saturating_form(self) -> None:
        # D = ¾: -ln ¾ = ln 4 - ln 3
        assert adversarial_loss(tensor(LOG_3), "log").item() == pytest.approx(LOG_4 - LOG_3)

    def test_log_generator_has_a_gradient_while_the_discriminator_wins(self) -> None:
        scores = tensor(-20, grad=True)
        (gradient,) = torch.autograd.grad(adversarial_loss(scores, "log"), scores)
        assert gradient.item() == pytest.approx(-1.0, abs=1e-6)  # ln(1 - D) would have -2e-9

    def test_log_losses_stay_finite_at_extreme_scores(self) -> None:
        scores = tensor(1000, -1000)
        assert discriminator_loss(scores, scores, "log").isfinite()
        assert adversarial_loss(scores, "log").isfinite()

    def test_any_shape_of_scores_gives_one_mean(self) -> None:
        patches = torch.tensor([[0.0, 3.0], [0.0, 3.0]]).reshape(1, 1, 2, 2)
        assert adversarial_loss(patches, "lsgan").item() == pytest.approx(2.5)


@pytest.mark.parametrize("loss", [cycle_loss, q_loss, model_loss])
class TestMeanAbsoluteErrors:
    """Eq. (9), (10) and (11) are L1 norms, as means over elements."""

    def test_by_hand(self, loss: Loss) -> None:
        # |1-0| + |-2-1| + |0-0| + |4-2| = 6, over 4 elements
        value = loss(
            torch.tensor([[1.0, -2.0], [0.0, 4.0]]), torch.tensor([[0.0, 1.0], [0.0, 2.0]])
        )
        assert value.item() == pytest.approx(1.5)

    def test_gradient_is_the_sign_over_the_number_of_elements(self, loss: Loss) -> None:
        first, second = tensor(1, -2, grad=True), tensor(0, 1, grad=True)
        of_first, of_second = torch.autograd.grad(loss(first, second), (first, second))
        torch.testing.assert_close(of_first, tensor(0.5, -0.5))
        torch.testing.assert_close(of_second, tensor(-0.5, 0.5))


def test_elements_may_count_differently_in_the_cycle_loss() -> None:
    first, second = torch.tensor([[1.0, 2.0], [0.0, 4.0]]), torch.tensor([[0.0, 0.0], [0.0, 1.0]])
    # |differences| 1, 2, 0, 3; the second element counts three times as much as the first:
    # (½·1 + ³⁄₂·2 + ½·0 + ³⁄₂·3) / 4
    assert cycle_loss(first, second, torch.tensor([0.5, 1.5])).item() == 2.0


def test_half_of_the_weight_lies_on_what_is_unusual() -> None:
    mean, deviation = torch.tensor([0.0, 0.0, -1.0, 1.0]), torch.tensor([0.5, 0.1, 1.0, 1.0])
    states = torch.tensor([[0.5, 0.2, 0.0, 1.0], [0.0, 0.0, -1.0, 1.0]])
    # |s - μ| / σ of the first: 1, 2, 1, 0, mean 1; the second is the mean itself
    expected = torch.tensor([[1.0, 1.5, 1.0, 0.5], [1.0, 1.0, 1.0, 1.0]])
    torch.testing.assert_close(surprise_weights(states, mean, deviation), expected)
    pictures = torch.rand(3, 4, 5, 5) * 2 - 1
    weights = surprise_weights(pictures, torch.zeros(4, 5, 5), torch.full((4, 5, 5), 0.02))
    torch.testing.assert_close(weights.mean(dim=(1, 2, 3)), torch.ones(3))


def test_relative_model_loss_is_the_share_of_the_change_that_is_not_explained() -> None:
    now, following = torch.tensor([[0.0, 0.5, -1.0, 0.3]]), torch.tensor([[1.0, 0.5, -0.5, 0.29]])
    # Changes: 1, 0, 0.5 and one of 0.01, too little to count. Of the 1.5, 0.25 and 0.5 are
    # predicted wrongly; what is predicted where nothing changes does not count.
    predicted = torch.tensor([[0.75, -0.9, -1.0, 1.0]])
    assert relative_model_loss(predicted, now, following).item() == pytest.approx(0.5)
    assert relative_model_loss(following, now, following).item() == pytest.approx(0.0, abs=1e-5)
    assert relative_model_loss(now, now, following).item() == pytest.approx(1.0)
    assert (
        relative_model_loss(now, now, now).item() == 1.0
    )  # a generator gains nothing by showing nothing
    least = torch.full((1, 4), 0.02)  # the largest change that does not count
    assert relative_model_loss(least * 3, least * 0, least).item() == 1.0
    dim = 0.01
    assert relative_model_loss(predicted * dim, now * dim, following * dim).item() == 1.0


def test_environment_model_loss_is_mean_square_or_mean_absolute_error() -> None:
    predicted, actual = tensor(1, -2), tensor(0, 1)
    assert environment_model_loss(predicted, actual).item() == pytest.approx(5.0)  # (1 + 9) / 2
    assert environment_model_loss(predicted, actual, "mse").item() == pytest.approx(5.0)
    assert environment_model_loss(predicted, actual, "l1").item() == pytest.approx(
        2.0
    )  # (1 + 3) / 2


WEIGHTS = {"gan": 1.0, "cycle": 10.0, "q": 0.5, "model": 2.0}


class TestCorrespondenceLoss:
    """Eq. (12): L_GAN + λ_Cyc L_Cyc + λ_Q L_Q + λ_M L_M."""

    def test_weighs_every_term(self) -> None:
        terms = {
            "gan": tensor(2)[0],
            "cycle": tensor(3)[0],
            "q": tensor(5)[0],
            "model": tensor(7)[0],
        }
        # 2 + 10·3 + 0.5·5 + 2·7 = 48.5
        assert correspondence_loss(terms, WEIGHTS).item() == pytest.approx(48.5)

    def test_absent_terms_count_nothing(self) -> None:
        assert correspondence_loss({"gan": tensor(2)[0]}, {"gan": 1.0}).item() == 2.0
        terms = {"gan": tensor(2)[0], "model": tensor(7)[0]}
        assert correspondence_loss(terms, WEIGHTS).item() == pytest.approx(16.0)

    def test_the_gradient_of_each_term_is_its_weight(self) -> None:
        terms = {name: tensor(1, grad=True) for name in ("gan", "cycle", "q", "model")}
        loss = correspondence_loss({name: term[0] for name, term in terms.items()}, WEIGHTS)
        gradients = torch.autograd.grad(loss, list(terms.values()))
        assert dict(zip(terms, [gradient.item() for gradient in gradients], strict=True)) == WEIGHTS
