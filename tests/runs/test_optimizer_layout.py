"""A resumed optimizer must not mix up memory layouts.

Files are contiguous, channels_last parameters are not.
"""

import copy
from pathlib import Path

import torch
from torch import nn

from corrtool.layers import load_optimizer_state
from corrtool.runs.checkpoints import load_checkpoint, save_checkpoint


def test_a_fused_adam_resumed_from_a_file_steps_as_if_it_had_never_stopped(
    tmp_path: Path,
) -> None:
    def network() -> nn.Module:
        torch.manual_seed(0)
        layers = nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))
        return layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def step(net: nn.Module, optimizer: torch.optim.Optimizer, number: int) -> None:
        torch.manual_seed(number)
        optimizer.zero_grad()
        net(torch.rand(2, 4, 9, 9)).square().mean().backward()
        optimizer.step()

    unbroken = network()
    optimizer = torch.optim.Adam(unbroken.parameters(), 1e-3, fused=True)
    for number in range(3):
        step(unbroken, optimizer, number)
    save_checkpoint(
        tmp_path / "c.safetensors",
        {"optimizer": optimizer.state_dict(), "network": unbroken.state_dict()},
    )
    resumed = copy.deepcopy(network())
    state = load_checkpoint(tmp_path / "c.safetensors")
    resumed.load_state_dict(state["network"])
    resumed_optimizer = torch.optim.Adam(resumed.parameters(), 1e-3, fused=True)
    load_optimizer_state(resumed_optimizer, state["optimizer"])
    for number in range(3, 6):
        step(unbroken, optimizer, number)
        step(resumed, resumed_optimizer, number)
    for a, b in zip(unbroken.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
