"""Optimizers without the compiler: what torch's compute, to the last bit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from support.commands import ROOT, run_python
from torch import nn

from corrtool.runtime import optimizers

ONE_OF_EACH: dict[str, dict[str, Any]] = {
    "Adam": {"lr": 0.1, "fused": True},
    "LBFGS": {"max_iter": 3, "line_search_fn": "strong_wolfe"},
    "RMSprop": {"lr": 0.1},
    "SGD": {"lr": 0.1},
}


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_they_step_save_and_load_as_torchs_do(name: str) -> None:
    def weights_of(kind: type[torch.optim.Optimizer]) -> list[torch.Tensor]:
        torch.manual_seed(0)
        network, states = nn.Linear(3, 2), torch.randn(8, 3)
        optimizer = kind(network.parameters(), **ONE_OF_EACH[name])

        def loss() -> float:
            optimizer.zero_grad()
            value = network(states).square().mean()
            torch.autograd.backward(value)
            return float(value.detach())

        for _ in range(2):
            optimizer.step(loss)
        loaded = kind(network.parameters(), **ONE_OF_EACH[name] | {"lr": 0.3})
        loaded.load_state_dict(optimizer.state_dict())
        assert loaded.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]
        optimizer = loaded
        optimizer.step(loss)
        return [parameter.detach() for parameter in network.parameters()]

    ours, theirs = (weights_of(getattr(of, name)) for of in (optimizers, torch.optim))
    assert all(map(torch.equal, ours, theirs))


STEP = """
import sys, torch
from corrtool.runtime.optimizers import Adam
network = torch.nn.Linear(3, 2)
optimizer = Adam(network.parameters(), fused=True)
network(torch.ones(1, 3)).sum().backward()
optimizer.step()
optimizer.zero_grad()
optimizer.load_state_dict(optimizer.state_dict())
assert "torch._dynamo" not in sys.modules
"""


def test_a_step_does_not_import_the_compiler() -> None:
    done = run_python(STEP)
    assert done.returncode == 0, done.stderr


def test_nobody_makes_one_of_torchs_own() -> None:
    own = Path("runtime/optimizers.py")
    for path in (ROOT / "corrtool").rglob("*.py"):
        made = re.search(r"torch\.optim\.\w+\(", path.read_text(encoding="utf-8"))
        assert made is None or path.relative_to(ROOT / "corrtool") == own, path
