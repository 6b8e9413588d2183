"""``--engine`` of ``sweep``, and what is said to each engine."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from corrtool.errors import UsageError

if TYPE_CHECKING:
    from corrtool.workflows.sweeps.engine import Engine
    from corrtool.workflows.sweeps.slurm import Resources

EngineOption = Annotated[
    Literal["local", "ray", "slurm"],
    typer.Option(
        help="Where the cells run: processes of this machine, or of the nodes of a Ray cluster, or "
        "a job array of SLURM, which is submitted and left alone.",
        metavar="<choice>",
    ),
]
SlurmOption = Annotated[
    list[str] | None,
    typer.Option(
        "--slurm",
        help="What each task of --engine slurm is given, as submitit calls it, such as "
        "timeout_min=120, slurm_partition=gpu, gpus_per_node=1 or mem_gb=8; may be repeated. "
        "cluster=local tries it out on this machine.",
        metavar="KEY=VALUE",
    ),
]
RayAddressOption = Annotated[
    str | None,
    typer.Option(
        help="Ray that runs: auto for that of this machine, or host:port.",
        metavar="ADDRESS",
        show_default="one of its own on this machine",
    ),
]
CpusOption = Annotated[
    int | None,
    typer.Option(
        "--cpus-per-cell",
        help="With --engine ray: CPUs, and threads, of each cell.",
        min=1,
        show_default="1",
    ),
]
GpusOption = Annotated[
    float | None,
    typer.Option(
        "--gpus-per-cell",
        help="With --engine ray: GPUs of each cell, or a fraction of one.",
        min=0,
        show_default="1 where there is one and --device takes it, else 0",
    ),
]


@dataclass(frozen=True)
class EngineChoice:
    """An engine as the command line asks for it; what is None is not given.

    Attributes:
        jobs: how many commands at once; None shares out what there is.
        address, cpus, gpus: of Ray.
        slurm: of SLURM.
    """

    name: str = "local"
    jobs: int | None = None
    address: str | None = None
    cpus: int | None = None
    gpus: float | None = None
    slurm: tuple[str, ...] = ()

    @property
    def submits(self) -> bool:
        """True if the sweep ends once the cells are submitted."""
        return self.name == "slurm"

    @property
    def is_said(self) -> bool:
        """True if anything but the number of jobs is given."""
        return self.name != "local" or any(self._flags().values())

    def _flags(self) -> dict[str, str]:
        """The flags that only one engine knows, of those that are given, with that engine."""
        given = {
            "--ray-address": self.address,
            "--cpus-per-cell": self.cpus,
            "--gpus-per-cell": self.gpus,
        }
        flags = {flag: "ray" for flag, value in given.items() if value is not None}
        return flags | ({"--slurm": "slurm"} if self.slurm else {})

    def check(self, device: str | None, given: Mapping[str, bool]) -> None:
        """Check that the engine is there, and that all that is said to it has an effect.

        Args:
            given: flags that not every engine knows, and whether each is given.

        Raises:
            UsageError: or not.
        """
        for flag, engine in self._flags().items():
            if engine != self.name:
                raise UsageError(
                    f"{flag} has no effect", f"give it together with --engine {engine}"
                )
        for flag in _UNKNOWN_TO[self.name]:
            if given[flag]:
                raise UsageError(
                    f"{flag} has no effect with --engine {self.name}", "leave one of them out"
                )
        if self.name == "ray":
            self._check_ray(device)

    def resources(self, *, check: bool) -> Resources | None:
        """What ``--slurm`` says, where cells are submitted.

        Args:
            check: whether they will be: then submitit and the cluster have to be there.

        Raises:
            UsageError: one of them is not, or does not know what is said.
        """
        if not self.submits:
            return None
        from corrtool.workflows.sweeps.slurm import check_submission, parse_resources

        resources = parse_resources(self.slurm)
        if check:
            check_submission(resources, self.jobs)
        return resources

    def _check_ray(self, device: str | None) -> None:
        if self.address not in (None, "auto") and not _HOST_AND_PORT.fullmatch(self.address or ""):
            raise UsageError(f"--ray-address is {self.address!r}", "give it auto, or host:port")
        _check_gpus(self.gpus, device)
        if importlib.util.find_spec("ray") is None:
            raise UsageError("--engine ray needs Ray", "pip install 'corrtool[ray]'")

    @contextmanager
    def begun(
        self, open_cells: int, device: str | None, without: Sequence[str]
    ) -> Iterator[Engine]:
        """The engine; ``str`` of it says what the commands get.

        Args:
            open_cells: those that are not done; where there is none nothing is begun.
            without: environment variables that the commands are not to see.
        """
        from corrtool.workflows.sweeps.local import (
            LocalEngine,
            shares_of_this_machine,
            usable_cores,
        )
        from corrtool.workflows.sweeps.ray_engine import Needs, RayEngine

        if self.name == "local":
            yield LocalEngine(shares_of_this_machine(self.jobs, open_cells, device), without)
            return
        gpus = self.gpus if device in _TAKES_GPUS else 0
        ray = RayEngine(
            self.address,
            min(open_cells, self.jobs or open_cells),
            Needs(self.cpus or 1, gpus),
            cores=usable_cores(),
            without=without,
        )
        if not open_cells:
            yield ray
            return
        with ray:
            yield ray


_HOST_AND_PORT = re.compile(r"[^\s:/]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}")
_UNKNOWN_TO: dict[str, tuple[str, ...]] = {
    "local": (),
    "ray": ("--print-sbatch",),
    "slurm": ("--cell", "--print-sbatch", "--fail-fast"),
}
_TAKES_GPUS = (None, "auto", "cuda")


def _check_gpus(gpus: float | None, device: str | None) -> None:
    """Raise :class:`UsageError` where GPUs and the device do not go together."""
    if device is not None and device.startswith("cuda:"):
        raise UsageError(
            f"--device {device} makes no sense with --engine ray",
            "Ray chooses the GPU of each cell: give it cuda",
        )
    if gpus and device not in _TAKES_GPUS:
        raise UsageError(
            f"--gpus-per-cell has no effect with --device {device}", "leave one of them out"
        )
    if gpus == 0 and device == "cuda":
        raise UsageError("--gpus-per-cell 0 leaves --device cuda no GPU", "leave one of them out")
    if gpus is not None and gpus > 1 and gpus != int(gpus):
        raise UsageError(f"--gpus-per-cell is {gpus:g}", "above 1 Ray shares out whole GPUs")
