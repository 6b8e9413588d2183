"""Several processes that share each mini-batch, as torchrun starts them.

Who of them this is, and what they tell each other.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from corrtool.errors import CorrtoolError, UsageError
from corrtool.runtime.device import torchrun_number
from corrtool.runtime.signals import default_signal_handling

Number = TypeVar("Number", int, float)
LONGEST_WAIT = timedelta(hours=24)  # the other ranks wait while the first plays its play tests


@dataclass(frozen=True)
class Ranks:
    """The processes that share a mini-batch: one, or those that torchrun started.

    Attributes:
        rank: which of them this is; the first, 0, is the only one that writes.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def from_environment(cls) -> Ranks:
        """As torchrun says in the environment; one without it.

        Raises:
            UsageError: it says something that torchrun never would.
        """
        rank, count = torchrun_number("RANK", 0), torchrun_number("WORLD_SIZE", 1)
        if rank >= count:
            raise UsageError(
                f"RANK is {rank}, but WORLD_SIZE is {count}", "unset both, or start torchrun"
            )
        missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
        if count > 1 and missing:
            raise UsageError(
                f"WORLD_SIZE is {count}, but {missing[0]} is not set", "unset it, or start torchrun"
            )
        return cls(rank, count)

    @property
    def first(self) -> bool:
        """True in the process that writes."""
        return self.rank == 0

    def check_batch(self, batch_size: int) -> None:
        """Raise :class:`UsageError` where a mini-batch cannot be split evenly."""
        if batch_size % self.count:
            raise UsageError(
                f"--batch-size {batch_size} cannot be split over {self.count} processes",
                f"use a multiple of {self.count}",
            )

    def shard(self, rows: Any) -> Any:
        """This rank's part of a mini-batch's rows: the n-th part of n equal ones."""
        size = len(rows) // self.count
        return rows[self.rank * size : (self.rank + 1) * size]

    def gather(self, states: Tensor) -> Tensor:
        """All ranks' parts (B / n, …) put together again, (B, …); no gradient flows back."""
        if self.count == 1:
            return states
        parts = [
            torch.empty_like(states, memory_format=torch.contiguous_format)
            for _ in range(self.count)
        ]
        dist.all_gather(parts, states.contiguous())
        return torch.cat(parts)

    def mean(self, value: Tensor) -> Tensor:
        """The mean over all ranks."""
        if self.count == 1:
            return value
        total = value.clone()
        dist.all_reduce(total)
        return total / self.count

    def parallel(self, objective: nn.Module) -> nn.Module:
        """``objective`` with gradients averaged over the ranks.

        Those of the whole mini-batch, as every loss is a mean over it.
        """
        if self.count == 1:
            return objective
        from torch.nn.parallel import DistributedDataParallel

        # ConvToOneChannel's gradient is a transposed view, which is copied once more; not worth a
        # warning from each process.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        return DistributedDataParallel(objective)

    def broadcast(self, value: Number, device: torch.device) -> Number:
        """The first rank's ``value``, a whole number or one of 64 bits, on every rank."""
        if self.count == 1:
            return value
        dtype = torch.float64 if isinstance(value, float) else torch.int64
        tensor = torch.tensor(value, dtype=dtype, device=device)
        dist.broadcast(tensor, 0)
        return type(value)(tensor.item())

    def agreed(self, answer: bool, device: torch.device) -> bool:
        """The first rank's ``answer``, on every rank."""
        return bool(self.broadcast(int(answer), device))

    def broadcast_weights(self, network: nn.Module) -> None:
        """Give every rank the first one's weights."""
        if self.count > 1:
            for weights in network.parameters():
                dist.broadcast(weights.detach(), 0)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Around what the ranks do together.

        Raises:
            CorrtoolError: another of them has ended.
        """
        try:
            yield
        except RuntimeError as error:
            if self.count > 1 and (isinstance(error, dist.DistError) or "gloo" in str(error)):
                raise CorrtoolError(
                    f"process {self.rank} of {self.count}: another process of this run has ended",
                    "start torchrun again to resume",
                ) from error
            raise

    @contextmanager
    def connected(self, device: torch.device) -> Iterator[None]:
        """The process group of several ranks: NCCL between GPUs, gloo between CPUs."""
        if self.count == 1:
            yield
            return
        backend = "nccl" if device.type == "cuda" else "gloo"
        with default_signal_handling():  # waiting for the others
            dist.init_process_group(
                backend, timeout=LONGEST_WAIT, device_id=device if device.type == "cuda" else None
            )
        try:
            yield
        finally:
            dist.destroy_process_group()


ONE_PROCESS = Ranks()
