"""Networks as artifacts: a manifest's ``network`` table says how to build one for its weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import nn

from corrtool.errors import ArtifactError
from corrtool.project.artifacts import Artifact
from corrtool.project.weights import load_weights

MAX_BLOCKS = 256


N = TypeVar("N", bound=nn.Module)


def load_network(artifact: Artifact, build: Callable[[], N]) -> N:
    """The network that the manifest describes, with the weights of the file.

    It is built without memory of its own, so that a manifest that lies about sizes costs nothing.
    """
    weights = load_weights(artifact)
    _check_depth(artifact)
    try:
        with torch.device("meta"):
            network = build()
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ArtifactError(
            f"{artifact.path} cannot be built: {' '.join(str(error).split())}"
        ) from None
    expected = {name: (tensor.shape, tensor.dtype) for name, tensor in network.state_dict().items()}
    if expected != {name: (tensor.shape, tensor.dtype) for name, tensor in weights.items()}:
        raise ArtifactError(
            f"{artifact.path} does not hold the weights that its manifest describes"
        )
    network.load_state_dict(weights, assign=True)
    return network


def _check_depth(artifact: Artifact) -> None:
    """A hostile manifest may ask for more layers than there is time to build."""

    def numbers(table: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        for name, value in table.items():
            yield from numbers(value) if isinstance(value, dict) else [(name, value)]

    for name, value in numbers(artifact.manifest.get("network", {})):
        if name == "blocks" and not (type(value) is int and 0 <= value <= MAX_BLOCKS):
            raise ArtifactError(f"{artifact.path} cannot be built: {name} is {value!r}")
        if name == "widths" and not (type(value) is list and len(value) <= MAX_BLOCKS):
            raise ArtifactError(
                f"{artifact.path} cannot be built: its hidden layers are {value!r}"[:300]
            )
