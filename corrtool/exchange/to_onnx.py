"""ONNX: one graph that onnxruntime, a browser or a board computes without torch.

With torch's exporter (``dynamo``), which writes opset 18 or later: GridSample of the rotation and
affine layers is there since 16.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from corrtool.errors import UsageError
from corrtool.exchange.played_values import BATCH, OBSERVATION, PlayedValues, Runner

if TYPE_CHECKING:
    import onnx

SUFFIX = ".onnx"
_NEEDED = ("onnx", "onnxscript")
_SHA256 = "content_sha256"  # the property with the checksum


def check_installed() -> None:
    """Raise :class:`UsageError` where the packages that write ONNX are missing."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"--to onnx needs {' and '.join(missing)}", "pip install 'corrtool[onnx]'")


def to_onnx(network: PlayedValues, metadata: Mapping[str, str]) -> bytes:
    """The network as an ONNX file, with ``metadata`` as its properties.

    Input ``observation`` (batch, *state_shape), output ``q_values``, or ``logits`` of a policy,
    (batch, A), any batch.
    """
    check_installed()

    import onnx

    with _silenced():
        program = torch.onnx.export(
            network,
            (network.example(),),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim(BATCH)},),
            input_names=[OBSERVATION],
            output_names=[network.output_name],
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    digest = {_SHA256: _sha256(model)}
    onnx.helper.set_model_props(model, dict(metadata) | digest)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def onnx_metadata(content: bytes) -> dict[str, str]:
    """The properties of a file of :func:`to_onnx`; empty where it is none, or damaged.

    Needs the package ``onnx``.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(content)
    except DecodeError:
        return {}
    properties = {prop.key: prop.value for prop in model.metadata_props}
    del model.metadata_props[:]
    return properties if properties.pop(_SHA256, None) == _sha256(model) else {}


def _sha256(model: onnx.ModelProto) -> str:
    """SHA-256 of all that a model without properties has: ONNX has no checksum of its own."""
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()


@contextmanager
def _silenced() -> Iterator[None]:
    """Without torch's warnings on parts of itself that it will replace, and on torchvision."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def onnx_runner(content: bytes) -> tuple[str, Runner] | None:
    """Who computes an ONNX file, and how; None without onnxruntime."""
    if importlib.util.find_spec("onnxruntime") is None:
        return None

    import onnxruntime

    onnxruntime.disable_telemetry_events()
    onnxruntime.set_default_logger_severity(3)  # errors alone
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def run(states: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {OBSERVATION: states.numpy()})[0])

    return f"onnxruntime {onnxruntime.__version__}", run
