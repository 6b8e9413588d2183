"""The device: chosen, checked, and what goes there."""

from __future__ import annotations

import os
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from corrtool.errors import DeviceError, UsageError


def resolve_device(name: str, called: str = "--device") -> torch.device:
    """``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps`` to a device that exists.

    ``auto`` takes CUDA, then MPS, then the CPU; everything else exists or fails. The index is
    always explicit, because a bare "cuda" means different GPUs to different libraries.

    Args:
        called: where the name was given, for the error message.

    Raises:
        UsageError: not the name of a device.
        DeviceError: the device is not there.
    """
    if name == "auto":
        name = (
            "cuda"
            if torch.cuda.is_available()
            else "mps"
            if torch.backends.mps.is_available()
            else "cpu"
        )
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (
        index and (kind != "cuda" or not (index.isascii() and index.isdecimal() and len(index) < 5))
    ):
        raise UsageError(f"{called} is {name!r}", "choose auto, cpu, cuda, cuda:N or mps")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        number = (
            int(index) if index else torchrun_number("LOCAL_RANK", 0)
        )  # its processes take a GPU each
        if number >= count:
            raise DeviceError(
                f"device cuda:{number} is not there: {count} CUDA devices found",
                f"choose another {called}",
            )
        torch.cuda.set_device(number)
        return torch.device("cuda", number)
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("device mps is not there", f"choose another {called}")
    return torch.device(kind)


def torchrun_number(variable: str, default: int) -> int:
    """A number from one of torchrun's environment variables, or ``default``.

    Raises :class:`UsageError`.
    """
    said = os.environ.get(variable, str(default))
    if not (said.isascii() and said.isdecimal() and len(said) < 10):
        raise UsageError(
            f"{variable} is {said!r}, but torchrun sets it to a number",
            "unset it, or start torchrun",
        )
    return int(said)


def to_device(values: NDArray[Any], device: torch.device) -> Tensor:
    """``values`` on ``device``.

    To a GPU from page-locked memory: a copy from any other waits for all that was queued before it.
    """
    tensor = torch.from_numpy(values)
    if device.type == "cpu":
        return tensor
    return (
        tensor.pin_memory().to(device, non_blocking=True)
        if device.type == "cuda"
        else tensor.to(device)
    )
