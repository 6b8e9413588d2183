"""What a correspondence is called that nobody names."""

from __future__ import annotations

import contextlib

from corrtool.correspondence.actions import AUTO, IDENTITY
from corrtool.errors import ArtifactError, UsageError
from corrtool.project.artifacts import Artifact
from corrtool.runs.context import LONGEST_NAME, StageContext
from corrtool.runs.records import read_record, run_directory
from corrtool.settings.stages import LearnCorrSettings

LAST = "-last"  # ends the name of what a training comes to in the end, beside its best
_LONGEST_WITH_AGENT = LONGEST_NAME - len(f"-seed{2**63 - 1}")


def correspondence_name(
    context: StageContext, settings: LearnCorrSettings, inputs: dict[str, Artifact], generator: str
) -> str:
    """``--name``; without it the generator and its λ's, or ``auto``, and the seed.

    Where that is the name of another agent's correspondence, the agent is in it too: so a project
    can have several agents, and each its own ``auto``.
    """
    text = _usual_name(settings, generator)
    name = context.run_name(settings, inputs, text)
    q = inputs.get("q")
    if context.name is None and q is not None and _agent_of(context, name) not in (None, q.name):
        return context.run_name(settings, inputs, _name_with_agent(text, q))
    return name


def _name_with_agent(text: str, q: Artifact) -> str:
    """Not ``auto-last``, which is the last of ``auto``; long names stay apart by their digits."""
    name, digits = f"{text}-{q.name}", f"-{q.sha256[:8]}"
    if len(name) > _LONGEST_WITH_AGENT or name.endswith(LAST):
        return name[: _LONGEST_WITH_AGENT - len(digits)] + digits
    return name


def _usual_name(settings: LearnCorrSettings, generator: str) -> str:
    lambdas = (settings.lambda_cyc, settings.lambda_q, settings.lambda_m)
    weights = "cyc{:g}-q{:g}-m{:g}".format(*lambdas).replace("+", "")
    weights += "-value" * (settings.q_loss == "value")
    name = f"{generator}-{weights}" if settings.recipe == "none" else settings.recipe
    return name if settings.action_map in (IDENTITY, AUTO) else f"{name}-mapped"


def _agent_of(context: StageContext, name: str) -> str | None:
    """The Q-function that a run of this name learns or learnt with, if there is one."""
    with contextlib.suppress(ArtifactError, UsageError):
        record = read_record(run_directory(context.project.root, "learn-corr", name))
        parent = record["parents"].get("q")
        return None if parent is None else parent["name"]
    return None
