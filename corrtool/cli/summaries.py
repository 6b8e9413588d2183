"""What each subcommand does, in the order of ``--help``: all that is read of those that are not asked for."""

from __future__ import annotations

SUMMARIES = {
    "init": "Make a project directory with a source and a target task.",
    "quickstart": "Learn how Pong rotated by 90° corresponds to Pong, and let an agent of Pong play it: within ten minutes on two cores.",
    "train-dqn": "Learn a Q-function by DQN (Algorithm 2), by default of the source task; keep the newest records as its memory.",
    "collect": "Play a task, by default the target at random, and write a replay memory.",
    "train-model": "Learn the environment model F of the source task from a memory (appendix 6.1).",
    "learn-corr": (
        "Learn the correspondence function (eq. 8-13), with play tests along the way. GAN is --lambda-cyc 0 --lambda-q 0 --lambda-m 0; "
        "CycleGAN is --lambda-cyc 10 --lambda-q 0 --lambda-m 0 --cycle-loss printed."
    ),
    "evaluate": "Play fresh games, by default of the target with the newest correspondence, and report every return.",
    "finetune": "Go on learning on the target task by DQN, with the correspondence held fixed.",
    "report": "Draw the paper's Figures 3–8 and tables from this project's runs, into report/: PNG, SVG and one HTML page.",
    "reproduce": "Run one of the paper's experiments: every cell of it that is not finished yet, then draw the report.",
    "status": "List every artifact of the project: kind, name, size, parents, settings, and whether it is whole.",
    "verify": "Check every byte of every artifact; exit 3 and name each damaged file if there is one.",
    "doctor": "Try what the stages rely on: packages, devices, Atari games, videos, disk, locks and renames; exit 1 if something fails.",
}
