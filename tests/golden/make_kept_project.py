"""How `kept-COMMIT.tar.gz` came about.

`python tests/golden/make_kept_project.py CHECKOUT` with the old checkout on the path.

Two projects with all six stages at `--preset tiny`, and in the one on CartPole each learning stage
once more, interrupted.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from chain import PAIRS, STAGES

INTERRUPTED = {  # long enough to be interrupted, and few enough seconds to go on with
    "train-dqn": ("--env-steps", "12000", "--eval-every", "4000"),
    "train-model": ("--gradient-steps", "2000"),
    "learn-corr": ("--gradient-steps", "1500", "--eval-every", "500"),
    "finetune": ("--env-steps", "12000"),
}


def main(checkout: Path) -> None:
    commit = subprocess.check_output(
        ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"], text=True
    ).strip()
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as scratch:
        for pair, tasks in PAIRS.items():
            lab = Path(scratch) / pair
            corrtool = [sys.executable, "-m", "corrtool"]
            subprocess.run([*corrtool, "init", lab, *tasks, "--quiet"], env=environment, check=True)
            common = ("-p", lab, "--preset", "tiny", "--device", "cpu", "--quiet")
            for stage in STAGES:
                subprocess.run([*corrtool, stage, *common], env=environment, check=True)
            if pair == "cartpole":
                for stage, flags in INTERRUPTED.items():
                    interrupt(
                        [*corrtool, stage, *common, *flags, "--name", "interrupted"],
                        lab,
                        stage,
                        environment,
                    )
            for picture in lab.rglob("*.png"):
                picture.unlink()
        with tarfile.open(Path(__file__).parent / f"kept-{commit}.tar.gz", "w:gz") as archive:
            for pair in PAIRS:
                archive.add(Path(scratch) / pair, pair)


def interrupt(command: list[object], lab: Path, stage: str, environment: dict[str, str]) -> None:
    """Run a stage until it has logged something, and ask it to stop."""
    metrics = lab / "runs" / stage / "interrupted" / "metrics.jsonl"
    process = subprocess.Popen([*map(str, command)], env=environment)
    while not metrics.exists() or len(metrics.read_text().splitlines()) < 3:
        assert process.poll() is None, f"{stage} was over too soon"
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 143
    assert json.loads((metrics.parent / "run.json").read_text())["state"] != "finished"


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
