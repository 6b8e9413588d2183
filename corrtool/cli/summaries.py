"""The summary of each subcommand, in the order of ``--help``.

It is all that is loaded of those that are not called.
"""

from __future__ import annotations

from corrtool.stages.registry import STAGES

SUMMARIES = {
    "init": "Make a project directory with a source and a target task.",
    "quickstart": (
        "Learn how Pong rotated by 90° corresponds to Pong, and let an agent of Pong play it: "
        "within ten minutes on two cores."
    ),
    "transfer": (
        "Run every stage that a project lacks, from an agent of the source task to a table of how "
        "well it plays the target through a correspondence, beside random play and direct reuse."
    ),
    **{stage.name: stage.summary for stage in STAGES.values()},
    "explain": (
        "Say why a correspondence transfers or not, without playing: where F is blind, how far the "
        "memories differ, which actions fit, and what to try next."
    ),
    "import": (
        "Make an artifact of the project from a file of another tool: an agent or a memory."
    ),
    "export": "Write a Q-function, an agent with a correspondence, or a memory for other tools.",
    "sweep": (
        "Run a stage with every combination of some settings, over seeds, as many at once as the "
        "machine takes: what is done is not done again, what was interrupted goes on."
    ),
    "report": (
        "Draw the paper's Figures 3–8 and tables from this project's runs, into report/: PNG, SVG "
        "and one HTML page."
    ),
    "reproduce": (
        "Run one of the paper's experiments: every cell of it that is not finished yet, then draw "
        "the report."
    ),
    "push": (
        "Upload weights with their tasks, a card and a video to a repository of the Hugging Face "
        "Hub, after checking every byte (extra 'hub')."
    ),
    "pull": (
        "Download what push uploaded, check every byte of it, and put it into the project, or make "
        "one of it (extra 'hub')."
    ),
    "status": (
        "List every artifact of the project: kind, name, size, parents, settings, and whether it "
        "is whole."
    ),
    "verify": (
        "Check every byte of every artifact; exit 3 and name each damaged file if there is one."
    ),
    "doctor": (
        "Try what the stages rely on: packages, devices, Atari games, videos, disk, locks and "
        "renames; exit 1 if something fails."
    ),
}
