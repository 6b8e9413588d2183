"""A program of ``torch.export``: what ``torch.export.load`` runs without corrtool's classes."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Mapping

import torch

from corrtool.exchange.played_values import BATCH, PlayedValues, Runner

SUFFIX = ".pt2"
METADATA = "corrtool.json"  # a file in the program


def to_torch(network: PlayedValues, metadata: Mapping[str, str]) -> bytes:
    """The network as a program (batch, *state_shape) → (batch, A), of any batch.

    A zip of JSON and plain numbers, with ``metadata`` as a file of its own.
    """
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, on parts of itself that it will replace
        program = torch.export.export(
            network, (network.example(),), dynamic_shapes=({0: torch.export.Dim(BATCH)},)
        )
        program.example_inputs = None  # they would be the one thing in it that is pickled
        torch.export.save(program, content, extra_files={METADATA: json.dumps(dict(metadata))})
    return content.getvalue()


def torch_runner(content: bytes) -> tuple[str, Runner]:
    """Who computes the program, and how."""
    return f"torch {torch.__version__}", torch.export.load(io.BytesIO(content)).module()
