"""How a row is measured: ours and the peer's alternate, and medians are compared."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing import get_context
from typing import Any


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        work: what is done.
        peer: what stands beside it.
        unit: of ``ours`` and ``theirs``, such as ``"records/s"``.
        ours, theirs: one value per round.
        goal: what the ratio should reach; None where the peer only stands beside it.
        less_is_better: for sizes and seconds.
    """

    work: str
    peer: str
    unit: str
    ours: list[float]
    theirs: list[float]
    goal: float | None
    less_is_better: bool = False

    @property
    def ratio(self) -> float:
        """How many times as good ours is: median by median."""
        ours, theirs = statistics.median(self.ours), statistics.median(self.theirs)
        return theirs / ours if self.less_is_better else ours / theirs

    def to_json(self) -> dict[str, object]:
        """As a JSON object."""
        return {**vars(self), "ratio": self.ratio}


def per_second(count: int, work: Callable[[], object]) -> float:
    """``count`` by the seconds that ``work`` takes."""
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def alternate(*sides: Callable[[], float], rounds: int) -> list[list[float]]:
    """Measure all sides in turn, ``rounds`` times after one round that does not count.

    Gives each side's values.
    """
    turns = [[side() for side in sides] for _ in range(rounds + 1)][1:]
    return [list(values) for values in zip(*turns, strict=True)]


def alone(side: Callable[[], float]) -> float:
    """``side()`` in a process of its own.

    That is a peer as its users have it, without this project's settings of torch and of malloc.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(side).result()


def installed(peers: dict[str, Callable[[], float]]) -> dict[str, Callable[[], float]]:
    """Those of ``peers``, by the name of their package, that are installed.

    Not every one is made for every system.
    """
    return {
        name: side for name, side in peers.items() if find_spec(name.split()[0].replace("-", "_"))
    }


def corrtool(command: str, *arguments: object) -> Any:
    """The JSON of a subcommand. Raises :class:`SystemExit` where it fails."""
    line = [sys.executable, "-m", "corrtool", command, *map(str, arguments), "--json", "--quiet"]
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(line)} ended with {done.returncode}")
    return json.loads(done.stdout)
