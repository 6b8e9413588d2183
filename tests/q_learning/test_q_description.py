"""What a manifest says of a Q-function, as older versions wrote it and with hidden layers."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from corrtool.errors import ArtifactError
from corrtool.project.artifacts import Artifact
from corrtool.project.networks import MAX_BLOCKS
from corrtool.project.weights import save_weights
from corrtool.q_learning.saved import QDescription, load_q_function
from corrtool.states import StateSpec

SPEC = StateSpec("vector", (3,), 2)
OLD = {"states": SPEC.to_json(), "actions": 2, "architecture": "mlp", "width": 5, "init": "normal"}


def read(network: dict[str, Any]) -> QDescription:
    return QDescription.from_manifest(Artifact("q", "a", Path("a"), {"network": network}))


def layer_sizes(network: nn.Module) -> list[tuple[int, int]]:
    layers = (layer for layer in network.modules() if isinstance(layer, nn.Linear))
    return [(layer.in_features, layer.out_features) for layer in layers]


def test_of_older_versions() -> None:
    description = read(OLD)
    assert description == QDescription(SPEC, 2, "mlp", 5, "normal")
    assert description.to_json() == OLD  # to the last field: it identifies a finetune from scratch
    assert layer_sizes(description.build()) == [(6, 5), (5, 5), (5, 2)]


@pytest.mark.parametrize("widths", [(), (7,), (9, 4, 1)], ids=str)
def test_with_hidden_layers(widths: tuple[int, ...]) -> None:
    description = QDescription(SPEC, 2, "mlp", widths=widths)
    written = description.to_json()
    assert written["widths"] == list(widths) and "width" not in written
    assert read(written) == description
    sizes = [6, *widths, 2]
    assert layer_sizes(description.build()) == list(pairwise(sizes))


@pytest.mark.parametrize(
    "widths", [5, "55", {"a": 1}, [1.5], ["5"], [[5]], [-1], [2**70], [1] * (MAX_BLOCKS + 1), True]
)
def test_of_a_liar(tmp_path: Path, widths: Any) -> None:
    written = {**QDescription(SPEC, 2, "mlp", widths=(4,)).to_json(), "widths": widths}
    weights = QDescription(SPEC, 2, "mlp", widths=(4,)).build().state_dict()
    artifact = save_weights(tmp_path, "q", "a", weights, {"network": written})
    with pytest.raises(ArtifactError):
        load_q_function(artifact, torch.device("cpu"))
