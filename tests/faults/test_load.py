"""A long run in small: nothing grows.

Memory, open files and disk stay flat, and a large memory stays within its bounds.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import run_in_process

CYCLES = """
import json, os, sys
import torch
torch.set_num_threads(1)
from corrtool.runs import loop
from corrtool.cli import run
lab, cycles = sys.argv[1], int(sys.argv[2])
size = 0
def rss():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
def disk():
    return sum(os.path.getsize(os.path.join(d, f)) for d, _, names in os.walk(lab) for f in names)
samples, saves = [], 0
save = loop.Loop.save
def sampled(self):
    global saves
    save(self)
    saves += 1
    if saves % max(1, cycles // 20) == 0:
        samples.append((rss(), len(os.listdir("/proc/self/fd")), disk()))
loop.Loop.save = sampled
loop.CHECKPOINT_SECONDS, loop.CHECKPOINT_SHARE = 0.0, 1e9  # at every step of the loop
code = run(["train-dqn", "-p", lab, "--preset", "tiny", "--device", "cpu", "--quiet",
            "--lanes", "4", "--memory-capacity", "100", "--learning-starts", "4",
            "--env-steps-per-update", "4", "--keep-checkpoints", "2", "--greedy-from", "0.001",
            "--eval-every", "4", "--eval-games", "1", "--env-steps", str(4 * cycles)])
print(json.dumps({"code": code, "saves": saves, "samples": samples}))
"""


def flat(lab: Path, cycles: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CYCLES, str(lab), str(cycles)],
        capture_output=True,
        text=True,
        timeout=7000,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["code"] == 0, done.stderr
    assert result["saves"] >= cycles * 0.9
    memory, files, disk = (list(column) for column in zip(*result["samples"], strict=True))
    half = len(memory) // 2
    ends = [f"{values[half]:,} → {values[-1]:,} B" for values in (memory, disk)]
    print(
        f"{result['saves']} cycles: memory {ends[0]}, disk {ends[1]}, "
        f"at most {max(files)} open files"
    )
    assert max(memory[half:]) - min(memory[half:]) < 20e6
    assert max(files[half:]) <= max(files[:half])
    assert disk[-1] - disk[half] < 500 * result["saves"]  # a line or two of metrics for each


def test_many_cycles_leave_memory_files_and_disk_flat(tmp_path: Path) -> None:
    """In games of 20 steps, since each cycle plays one."""
    lab = tmp_path / "cartpole"
    init = ("init", lab, "--source", "CartPole-v1", "--max-episode-steps", 20, "--quiet")
    assert run_in_process(*init) == 0
    flat(lab, 20)


@pytest.mark.faults_full
@pytest.mark.timeout(7200)
def test_two_thousand_cycles_leave_memory_files_and_disk_flat(
    cartpole: Callable[..., Path],
) -> None:
    flat(cartpole(), 2_000)


MILLION = """
import json, resource, sys
import numpy as np, torch
from corrtool.cli import run
from corrtool.memory import ReplayMemory, read_rows
from corrtool.project.memory_files import check_memory
from pathlib import Path
lab = sys.argv[1]
command = ["collect", "-p", lab, "--records", "1000000", "--lanes", "8", "--device", "cpu",
           "--name", "million"]
code = run(command)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
result = {"code": code, "collect_peak": peak}
if code == 0:
    path = Path(lab) / "memories" / "million.zarr"
    memory = ReplayMemory.from_rows(read_rows(path, check_memory(path)), torch.device("cpu"))
    random = np.random.default_rng(0)
    for _ in range(1000):
        batch = memory.sample(32, random, n_step=1, gamma=0.99, clip_rewards=True)
    result["shape"] = list(batch.states.shape)
    result["sample_peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    result["disk"] = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
print(json.dumps(result))
"""


@pytest.mark.faults_full
@pytest.mark.timeout(7200)
def test_a_million_records_are_collected_resumed_and_sampled_within_bounds(tmp_path: Path) -> None:
    """Collecting holds some chunks; sampling holds the frames, 84 × 84 bytes a record, once."""
    import signal
    import time

    lab = tmp_path / "lab"
    assert run_in_process("init", lab, "--source", "ALE/Pong-v5", "--quiet") == 0
    first = subprocess.Popen(
        [sys.executable, "-c", MILLION, str(lab)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (lab / "runs" / "collect" / "million" / "checkpoint.safetensors").exists():
        time.sleep(1)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    done = subprocess.run(
        [sys.executable, "-c", MILLION, str(lab)], capture_output=True, text=True, timeout=7000
    )
    result = json.loads(done.stdout.splitlines()[-1])
    print(result)
    assert result["code"] == 0, done.stderr
    assert "resuming at" in done.stderr
    frames = 1_000_000 * 84 * 84
    assert result["collect_peak"] < 1e9
    assert result["sample_peak"] < frames + 1e9
    assert result["shape"] == [32, 4, 84, 84]
