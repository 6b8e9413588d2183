"""The discriminators of appendix 6.1: sizes, and how many pixels a score sees."""

import pytest
import torch
from support.networks import ODD, PONG, SMALL, gradient_of, parameters, pictures

from corrtool.correspondence.discriminators import build_discriminator
from corrtool.states import StateSpec

pytestmark = pytest.mark.usefixtures("seeded")


class TestFullSize:
    """The numbers of parameters at the paper's size: 84×84, four frames, six actions."""

    def test_patch_discriminator(self) -> None:
        assert parameters(build_discriminator(PONG, 64)) == 2_765_761


class TestShapesAndRanges:
    @pytest.mark.parametrize("spec", [ODD, SMALL], ids=["83x85", "32x36"])
    def test_discriminator_scores_patches(self, spec: StateSpec) -> None:
        scores = build_discriminator(spec, 4)(pictures(spec))
        assert scores.shape[:2] == (2, 1)
        assert scores[0].numel() > 1

    def test_discriminator_of_the_paper_has_8_by_8_patches(self) -> None:
        # 84 → 42 → 21 → 10 → 9 → 8
        assert build_discriminator(PONG, 4)(pictures(PONG, 1)).shape == (1, 1, 8, 8)


def test_a_score_of_the_patch_discriminator_sees_70_by_70_pixels() -> None:
    spec = StateSpec("image", (1, 160, 160))
    discriminator = (
        build_discriminator(spec, 4, norm="batch").double().eval()
    )  # eval: no pixel mixes with all others
    state = torch.rand(1, 1, 160, 160, dtype=torch.float64, requires_grad=True)
    scores = discriminator(state)
    scores[0, 0, scores.shape[2] // 2, scores.shape[3] // 2].backward()
    seen = gradient_of(state)[0, 0] != 0
    rows, columns = seen.any(dim=1).nonzero().flatten(), seen.any(dim=0).nonzero().flatten()
    assert (len(rows), int(rows[-1] - rows[0]) + 1) == (70, 70)
    assert (len(columns), int(columns[-1] - columns[0]) + 1) == (70, 70)
