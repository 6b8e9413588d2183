"""``--engine ray``: the commands of a sweep as processes on the nodes of a Ray cluster.

A small actor for each command begins it as a child process on the node that Ray has chosen, and
answers once a second whether it runs. Children rather than Ray's own tasks: a signal reaches them
and they save, and on Linux the kernel kills them with their worker, so that nothing that Ray gives
up goes on by itself. Ray retries nothing (``max_restarts=0``), and none of its state matters: the
sweep's own loop begins again what was lost.

Importing this module imports neither Ray nor torch: the actor's process does.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from corrtool.errors import CorrtoolError, UsageError
from corrtool.workflows.sweeps.processes import begin_process, with_threads

SILENCE_SECONDS = 600.0  # until a job is given up: Ray has no place for it, or has lost it
_ANSWER_SECONDS = 1.0  # within which an actor says whether its command runs
_NODES_SECONDS = 5.0  # between looks at which nodes there are
_OBJECT_STORE_BYTES = 100_000_000  # nothing but words passes through it; Ray takes no less than 75
_GPU_VARIABLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Needs:
    """What a cell takes of its node.

    Attributes:
        gpus: may be a fraction; None takes one where the cluster has any.
    """

    cpus: int = 1
    gpus: float | None = 0

    def places(self, resources: Mapping[str, float]) -> int:
        """How many cells a node with these resources holds."""
        places = int(resources.get("CPU", 0) // self.cpus)
        if self.gpus:
            # a tenth of a GPU is not quite a tenth
            places = min(places, int(resources.get("GPU", 0) / self.gpus + 1e-6))
        return places

    def __str__(self) -> str:
        cpus = "1 CPU" if self.cpus == 1 else f"{self.cpus} CPUs"
        gpus = "1 GPU" if self.gpus == 1 else f"{self.gpus:g} GPUs" if self.gpus else ""
        return f"{cpus} and {gpus}" if gpus else cpus


class CommandOnNode:
    """The actor: a command as a child of its process."""

    def begin(
        self,
        words: Sequence[str],
        log: str,
        variables: Mapping[str, str],
        folder: str,
        needs: Needs,
    ) -> str:
        """Begin ``corrtool`` with these words; returns the name of the node.

        Args:
            variables: of whoever began the sweep, before those of the node.
            folder: in which the sweep was begun.

        Raises:
            OSError: the node does not see the project.
        """
        host = socket.gethostname()
        if not Path(log).parent.is_dir():
            raise FileNotFoundError(
                f"{host} does not see {Path(log).parent}; a project whose cells run on several "
                "machines lies on a file system that all of them see"
            )
        own = {k: v for k, v in os.environ.items() if not k.startswith("CORRTOOL_")}
        environment = with_threads(own | {**variables}, needs.cpus)
        if not needs.gpus:
            environment[_GPU_VARIABLE] = ""
        self._process: subprocess.Popen[bytes] = begin_process(
            words,
            Path(log),
            environment,
            folder=Path(folder) if Path(folder).is_dir() else None,
            hears_again=True,  # a Ray that ray.init begins has SIGINT blocked
        )
        return host

    def wait(self, seconds: float) -> int | None:
        """The exit code of the command; None if it still runs after so many seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds)
        return None

    def signal(self, number: int) -> None:
        """Pass a signal on."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)


class RayJob:
    """A command that an actor begins as soon as Ray has a place for it.

    Args:
        begun: the answer of the actor's ``begin``, which is to come.
        log: of the command; what Ray has to say of its end goes there too.
    """

    def __init__(self, ray: Any, actor: Any, begun: Any, log: Path) -> None:
        self.host = "a node of Ray"
        self._ray, self._actor, self._log = ray, actor, log
        self._answer, self._runs = begun, False
        self._code: int | None = None
        self._heard = time.monotonic()

    def poll(self) -> int | None:
        """Its exit code, the negative of a signal that killed it, or None while it runs.

        -9 also where its node has died, or nothing was heard of it for ``SILENCE_SECONDS``.
        """
        if self._code is None and self._ray.wait([self._answer], timeout=0)[0]:
            self._hear()
        elif self._code is None and time.monotonic() - self._heard > SILENCE_SECONDS:
            what = "nothing was heard of it" if self._runs else "Ray had no place for it"
            self._end(-signal.SIGKILL, f"{what} for {SILENCE_SECONDS:.0f} s")
        return self._code

    def signal(self, number: int) -> None:
        """Pass a signal on; one that has not begun yet never will."""
        self.poll()
        if self._code is None and self._runs:
            self._actor.signal.remote(number)
        elif self._code is None:
            self._end(-number)

    def _hear(self) -> None:
        """Read what the actor has answered, and ask it again."""
        self._heard = time.monotonic()
        try:
            answer = self._ray.get(self._answer)
        except self._ray.exceptions.RayTaskError as error:  # of ``begin``: no other node can either
            self._end(1, str(error.cause))
        except self._ray.exceptions.RayError as error:
            self._end(-signal.SIGKILL, _first_line(error))
        else:
            if self._runs and answer is not None:
                self._end(answer)
                return
            if not self._runs:
                self.host, self._runs = answer, True
            self._answer = self._actor.wait.remote(_ANSWER_SECONDS)

    def _end(self, code: int, said: str = "") -> None:
        """Let the place go; a child that runs nevertheless dies with the actor."""
        self._code = code
        self._ray.kill(self._actor)
        if said:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(f"corrtool: {said}\n")


class RayEngine:
    """The nodes of a Ray cluster; a context manager around the time that it is connected.

    Args:
        address: of a Ray that runs, ``auto`` or ``host:port``; None begins one on this machine,
            which ends with it.
        jobs: how many commands at once, at most.
        cores: of a Ray of its own.
        without: environment variables that the commands are not to see.
    """

    name = "ray"

    def __init__(
        self,
        address: str | None,
        jobs: int,
        needs: Needs,
        *,
        cores: int,
        without: Sequence[str] = (),
    ) -> None:
        self.needs = needs
        self._address, self._jobs, self._cores = address, jobs, cores
        kept = (n for n in os.environ if n.startswith("CORRTOOL_") or n == "PYTHONPATH")
        self._variables = {name: os.environ[name] for name in kept if name not in without}
        self._ray: Any = None
        self._nodes: list[Mapping[str, float]] = []
        self._looked = 0.0

    def __enter__(self) -> RayEngine:
        """Connect.

        Raises:
            CorrtoolError: there is no Ray, or no node of it has what a cell takes.
        """
        self._ray = _connected(self._address, self._cores, self._variables.get("PYTHONPATH"))
        try:
            if self.needs.gpus is None:
                has_gpus = any(node.get("GPU", 0) >= 1 for node in self.nodes())
                self.needs = replace(self.needs, gpus=int(has_gpus))
            if not any(map(self.needs.places, self.nodes())):
                raise CorrtoolError(
                    f"no node of Ray has the {self.needs} that a cell takes",
                    "give another --cpus-per-cell or --gpus-per-cell, or add nodes",
                )
        except BaseException:
            self._ray.shutdown()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ray.shutdown()

    def __str__(self) -> str:
        """``2 at once, 1 CPU each, on 2 nodes of Ray``."""
        count = sum(self.needs.places(node) > 0 for node in self.nodes())
        where = "1 node" if count == 1 else f"{count} nodes"
        return f"{self.slots} at once, {self.needs} each, on {where} of Ray"

    def nodes(self) -> list[Mapping[str, float]]:
        """The resources of each node that is alive now."""
        if not self._nodes or time.monotonic() - self._looked > _NODES_SECONDS:
            self._looked = time.monotonic()
            with contextlib.suppress(self._ray.exceptions.RayError):
                self._nodes = [n["Resources"] for n in self._ray.nodes() if n["Alive"]]
        return self._nodes

    @property
    def slots(self) -> int:
        """How many commands the nodes hold that are alive now, as far as that many are wanted.

        One at least: where no node is left, it is a job that is given up that says so.
        """
        return min(self._jobs, max(1, sum(map(self.needs.places, self.nodes()))))

    def submit(self, words: Sequence[str], log: Path) -> RayJob:
        """Begin ``corrtool`` with these words; what it says goes to the end of ``log``."""
        log.parent.mkdir(parents=True, exist_ok=True)
        actor_class = self._ray.remote(CommandOnNode).options(
            num_cpus=self.needs.cpus, num_gpus=self.needs.gpus, max_restarts=0
        )
        actor = actor_class.remote()
        begun = actor.begin.remote([*words], str(log), self._variables, str(Path.cwd()), self.needs)
        return RayJob(self._ray, actor, begun, log)


def _connected(address: str | None, cores: int, python_path: str | None) -> Any:
    """The module ``ray``, connected.

    Raises:
        CorrtoolError: Ray is not installed, cannot be begun, or does not answer.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # of a Ray that begins here: it asks in a warning to say this
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError:
        raise UsageError("--engine ray needs Ray", "pip install 'corrtool[ray]'") from None
    # as its debugger does: what nodes say when they die would be printed between JSON and tables
    ray._private.worker._worker_logs_enabled = False
    _check_somebody_listens(address)
    own: dict[str, Any] = {
        "num_cpus": cores,
        "include_dashboard": False,
        "object_store_memory": _OBJECT_STORE_BYTES,
    }
    try:
        with _handlers_kept():
            ray.init(
                address=address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env={"env_vars": {"PYTHONPATH": python_path}} if python_path else None,
                **(own if address is None else {}),
            )
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        ray.shutdown()
        if address is None:
            raise CorrtoolError(f"Ray does not begin here: {_first_line(error)}") from error
        raise _no_ray(address, error) from error
    return ray


def _check_somebody_listens(address: str | None) -> None:
    """Raise :class:`CorrtoolError` where nobody does, for which Ray looks for two minutes."""
    host, _, port = (address or "").rpartition(":")
    if host:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        except (OSError, OverflowError) as error:
            assert address is not None
            raise _no_ray(address, error) from error


def _no_ray(address: str, error: Exception) -> CorrtoolError:
    return CorrtoolError(
        f"no Ray answers at {address} ({_first_line(error).rstrip('.')})",
        "begin one on this machine with 'ray start', or leave --ray-address out",
    )


@contextlib.contextmanager
def _handlers_kept() -> Iterator[None]:
    """Around what installs handlers of signals of its own: ``ray.init`` does so for SIGTERM."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
