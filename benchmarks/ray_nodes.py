"""`python -m benchmarks.ray_nodes`: cells an hour of two nodes of Ray, beside one.

Each node has one CPU, and the head none. A cell learns a correspondence of CartPole for some
seconds, as a sweep's cells do, a process each. Rounds alternate between one node and two, in copies
of one project; starting Ray and the nodes is not timed, since a cluster is there already.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.measuring import corrtool

CELLS = 8
_STORE = {"object_store_memory": 80_000_000}
_VIEW = "permute:2,3,0,1"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ray_nodes", description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--gradient-steps", type=int, default=4_000, help="of each cell")
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    rates: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        lab = Path(folder) / "lab"
        make_project(lab)
        for number in range(asked.rounds):
            for nodes, found in rates.items():
                copy = shutil.copytree(lab, lab.with_name(f"lab-{number}-{nodes}"))
                found.append(3_600 / seconds_a_cell(copy, nodes, asked.gradient_steps))
                print(f"{nodes} nodes: {found[-1]:.0f} cells an hour", flush=True)
    one, two = (statistics.median(found) for found in rates.values())
    print(f"two nodes beside one: {two / one:.2f} times (goal 1.8)")


def make_project(lab: Path) -> None:
    """A pair with all that its cells read."""
    corrtool("init", lab, "--source", "CartPole-v1", "--target-view", _VIEW)
    for stage in ("train-dqn", "collect", "train-model"):
        corrtool(stage, "-p", lab, "--preset", "tiny", "--device", "cpu")


def seconds_a_cell(lab: Path, nodes: int, gradient_steps: int) -> float:
    """The wall time of a sweep on so many nodes, by its cells."""
    grid = [f"gradient-steps={gradient_steps}", "eval-games=0", "generator=mlp"]
    with cluster(nodes) as address:
        began = time.monotonic()
        corrtool(
            *("sweep", "learn-corr", "-p", lab, "--preset", "tiny", "--device", "cpu"),
            *(word for values in grid for word in ("--grid", values)),
            *("--seeds", CELLS, "--engine", "ray", "--ray-address", address),
        )
        return (time.monotonic() - began) / CELLS


@contextmanager
def cluster(nodes: int) -> Iterator[str]:
    """A Ray whose head takes no cells, with nodes of one CPU each; its address."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster_utils: Any = import_module("ray.cluster_utils")
    head = {"num_cpus": 0, "include_dashboard": False, **_STORE}
    made = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(nodes):
            made.add_node(num_cpus=1, **_STORE)
        yield made.address
    finally:
        made.shutdown()


if __name__ == "__main__":
    main()
