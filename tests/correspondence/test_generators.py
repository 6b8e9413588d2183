"""Several batches through a generator at once, against one after another."""

from __future__ import annotations

import pytest
import torch

from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.generators import FramewiseGenerator, translate_together
from corrtool.states import StateSpec

SPEC = StateSpec("image", (1, 20, 20), 4)
SHUFFLED = StateSpec("image", (1, 20, 20), 4, stack_order=(2, 0, 3, 1))


@pytest.mark.parametrize("from_spec", [SPEC, SHUFFLED], ids=["in order", "another order"])
@pytest.mark.parametrize("framewise", [False, True])
@pytest.mark.parametrize("with_next", [False, True])
@pytest.mark.parametrize("with_others", [False, True])
def test_at_once_is_one_after_another(
    from_spec: StateSpec, framewise: bool, with_next: bool, with_others: bool
) -> None:
    torch.manual_seed(0)
    generator = GeneratorDescription("resnet", filters=4, blocks=1, framewise=framewise).build(
        from_spec, SPEC
    )
    frames = torch.rand(2, 5, 1, 20, 20) * 2 - 1  # of two transitions
    states, following = from_spec.stack_frames(frames[:, :4]), from_spec.stack_frames(frames[:, 1:])
    others = torch.rand(3, 4, 20, 20) * 2 - 1
    given = [states, following if with_next else None, others if with_others else None]
    pictures = 0

    def count(module: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        nonlocal pictures
        pictures += len(arguments[0])

    network = generator.frame_generator if isinstance(generator, FramewiseGenerator) else generator
    hook = network.register_forward_pre_hook(count)
    at_once = translate_together(generator, *given)
    hook.remove()
    whole = 2 + 3 * with_others
    assert pictures == (whole * 4 + 2 * with_next if framewise else whole + 2 * with_next)
    one_by_one = [None if batch is None else generator(batch) for batch in given]
    assert [batch is None for batch in at_once] == [batch is None for batch in one_by_one]
    for ours, theirs in zip(at_once, one_by_one, strict=True):
        if ours is not None:
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    gradients = [
        torch.autograd.grad(
            sum(batch.square().sum() for batch in batches if batch is not None),
            generator.parameters(),
        )
        for batches in (at_once, one_by_one)
    ]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)
