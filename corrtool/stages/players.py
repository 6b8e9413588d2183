"""Players: a Q-function, alone or through a correspondence, or random actions."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.play import TransferredQValues
from corrtool.correspondence.saved import load_correspondence, read_action_map
from corrtool.errors import ArtifactError, MissingInputError, UsageError
from corrtool.play.games import DirectQValues, QValues
from corrtool.project.artifacts import Artifact, find_artifacts, read_artifact, select_all
from corrtool.q_learning.saved import QDescription, load_q_function
from corrtool.runs.context import StageContext
from corrtool.states import StateSpec
from corrtool.tasks import Task


@dataclass(frozen=True)
class Player:
    """A player of a task: a Q-function, directly or through a correspondence; or random actions."""

    q: Artifact | None = None
    corr: Artifact | None = None

    @property
    def values_target_actions(self) -> bool:
        """True if the Q-function learnt on the target, so that its actions are the target's."""
        return self.q is not None and self.q.manifest.get("role") == "target"

    def action_map(self) -> ActionMap | None:
        """The map from the task's actions to those of the Q-function; None if they are the same.

        Raises :class:`ArtifactError` where the correspondence's manifest describes none.
        """
        if self.corr is None or self.values_target_actions:
            return None
        action_map = read_action_map(self.corr)
        return None if action_map is None or action_map.is_identity else action_map

    def inputs(self) -> dict[str, Artifact]:
        """The artifacts, by use."""
        return {
            use: artifact
            for use, artifact in (("q", self.q), ("corr", self.corr))
            if artifact is not None
        }

    def q_values(self, spec: StateSpec, device: torch.device) -> QValues | None:
        """Load the networks; None for random play. Raises :class:`ArtifactError`."""
        if self.q is None:
            return None
        q_function = load_q_function(self.q, device)
        if self.corr is None:
            return DirectQValues(q_function, spec)
        return TransferredQValues(
            q_function,
            load_correspondence(self.corr, device),
            "target" if self.values_target_actions else "source",
        )


def choose_player(
    context: StageContext, task: Task, *, q: str | None, corr: str | None, no_corr: bool
) -> Player:
    """The Q-function and correspondence that play ``task``; if not named, the newest that fit.

    On the target task a Q-function of the source plays through the correspondence, unless
    ``no_corr``. One that was finetuned or trained on the target plays the way it was trained. A
    correspondence brings the Q-function it was learnt with.

    Raises:
        ArtifactError: something is missing or does not fit.
        UsageError: ``corr`` and ``no_corr`` contradict each other.
    """
    if corr is not None and no_corr:
        raise UsageError("--corr and --no-corr contradict each other", "give one of them")
    if task.role == "source":
        if corr is not None:
            raise UsageError("--corr translates target states", "leave it out on the source task")
        return Player(context.source_q(q))
    target = context.project.task("target")
    chosen = None if q is None else read_artifact(context.project.root, "q", q)
    if chosen is not None and chosen.manifest.get("role") == "target":
        if not target.is_compatible_with(
            chosen.manifest.get("task_sha256"), chosen.manifest.get("tasks", {}).get("target")
        ):
            raise ArtifactError(f"{chosen} was trained on another target task")
        through = chosen.manifest.get("parents", {}).get("corr")
        if corr is None and through is not None and not no_corr:
            artifact = context.correspondence(through["name"])
            if artifact.sha256 != through["sha256"]:
                raise ArtifactError(
                    f"{chosen} was finetuned with another {through['name']!r} than the project's",
                    "name one with --corr",
                )
            return Player(chosen, artifact)
        return Player(chosen, None if corr is None else context.correspondence(corr))
    try:
        correspondence = None if no_corr else context.correspondence(corr)
    except MissingInputError:  # is the Q-function missing too?
        select_all({"q": lambda: context.source_q(q), "corr": lambda: context.correspondence(corr)})
        raise
    if q is None and correspondence is not None:
        q = _name_of_own_q(context, correspondence)
    return Player(context.source_q(q), correspondence)


def _name_of_own_q(context: StageContext, correspondence: Artifact) -> str | None:
    """The Q-function that a correspondence was learnt with; None where it was without one.

    Or what the same training came to later. A translation into what one agent knows says nothing of
    what another one makes of it.

    Raises:
        ArtifactError: it is not in this project, which may have another of that name.
    """
    parent = correspondence.manifest.get("parents", {}).get("q")
    if parent is None:
        return None
    found = find_artifacts(context.project.root, "q")
    same = [q.name for q in found if q.sha256 == parent["sha256"]]
    later = [q.name for q in found if q.succeeds(parent["sha256"])]
    if not same and later:
        context.console.say(
            f"{correspondence} was learnt with an earlier {later[0]}, before its training went on"
        )
    names = same or later
    if not names:
        have = parent["name"] in {q.name for q in found}
        raise ArtifactError(
            f"{correspondence} was learnt with Q-function {parent['name']}, "
            + ("and this project's is another" if have else "which is not in this project"),
            "name one with --q, or learn the correspondence anew",
        )
    return parent["name"] if parent["name"] in names else names[0]


def check_player(player: Player, spec: StateSpec, actions: int) -> None:
    """Check that the Q-function can play states of ``spec`` at all.

    Raises :class:`ArtifactError`.
    """
    if player.q is None:
        return
    description = QDescription.from_manifest(player.q)
    action_map = player.action_map()
    if action_map is None:
        if description.actions != actions:
            raise ArtifactError(
                f"{player.q} has {description.actions} actions and the task {actions}",
                "it cannot play there without a correspondence: name one with --corr",
            )
    elif (action_map.source_count, action_map.target_count) != (description.actions, actions):
        raise ArtifactError(
            f"{player.corr} maps {action_map.target_count} actions to {action_map.source_count}, "
            f"the task has {actions} and {player.q} {description.actions}",
            "name fitting ones",
        )
    if player.corr is None and description.states.state_shape != spec.state_shape:
        raise ArtifactError(
            f"{player.q} takes states of {description.states}, the task has {spec}",
            "learn a correspondence between them",
        )
