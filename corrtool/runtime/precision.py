"""Numeric precision and compilation of a step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from corrtool.errors import DeviceError


def compute_dtype(precision: str, device: torch.device) -> torch.dtype:
    """``float32``, ``bf16`` or ``auto`` → what the networks compute with on ``device``."""
    if precision == "auto":
        return torch.bfloat16 if has_bf16_instructions(device) else torch.float32
    return torch.bfloat16 if precision == "bf16" else torch.float32


def has_bf16_instructions(device: torch.device) -> bool:
    """True if bf16 is more than emulated on ``device``."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())


class Precision:
    """Run networks in ``dtype``.

    What comes out is float32, so that losses and optimizers stay in float32.
    """

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self.dtype, self._device_type = dtype, device.type

    def __call__(self, network: Any, *inputs: Tensor) -> Tensor:
        """``network(*inputs)``."""
        with self.autocast():
            out: Tensor = network(*inputs)
        return out.float()

    def autocast(self) -> torch.autocast:
        """The context in which convolutions and matrix products take ``dtype``.

        That of float32 changes nothing.
        """
        reduced = self.dtype != torch.float32
        return torch.autocast(
            self._device_type, self.dtype if reduced else torch.bfloat16, enabled=reduced
        )


def compile_module(module: nn.Module, device: torch.device) -> None:
    """Compile ``module`` at its first call.

    On CUDA its kernels become graphs that are launched at once.

    Raises:
        DeviceError: there is no compiler for this device.
    """
    if device.type == "cpu":
        from torch._inductor.cpp_builder import get_cpp_compiler
        from torch._inductor.exc import InvalidCxxCompiler

        try:
            get_cpp_compiler()
        except InvalidCxxCompiler:
            raise DeviceError(
                "--compile needs a C++ compiler", "install g++, or use --no-compile"
            ) from None
    elif device.type == "cuda":
        from torch.utils._triton import has_triton

        if not has_triton():
            raise DeviceError(
                "--compile needs triton on CUDA", "install triton, or use --no-compile"
            )
    else:
        raise DeviceError(f"--compile is not for {device.type}", "use --no-compile")
    module.compile(dynamic=False, mode="reduce-overhead" if device.type == "cuda" else None)


def begin_step(compiled: bool, device: torch.device) -> None:
    """To be called before each step of compiled modules.

    What CUDA graphs put out in the last one may be overwritten.
    """
    if compiled and device.type == "cuda":
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
