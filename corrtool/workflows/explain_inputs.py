"""What a correspondence was learnt from, for :mod:`corrtool.workflows.explain`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from corrtool.correspondence.actions import AUTO, IDENTITY, LEARNED, ActionMap
from corrtool.correspondence.knowledge import Knowledge
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.saved import load_correspondence
from corrtool.environment_model.saved import held_out_loss, load_model
from corrtool.errors import ArtifactError, MissingInputError
from corrtool.memory import ReplayMemory
from corrtool.project.artifacts import (
    KIND_LABELS,
    Artifact,
    artifact_names,
    find_artifacts,
)
from corrtool.project.directory import Project
from corrtool.q_learning.saved import RewardsLearnt, load_q_function
from corrtool.reporting.explanation import Learnt
from corrtool.runs.context import StageContext
from corrtool.settings.recipes import ACTIONS_LEARNED, RECIPES
from corrtool.stages.correspondence_checks import check_fit
from corrtool.stages.correspondence_names import LAST
from corrtool.stages.inputs import load_transitions
from corrtool.states import IMAGE


@dataclass(frozen=True)
class ExplainInputs:
    """A correspondence and what it was learnt from, loaded.

    Attributes:
        inputs: by use; ``q`` and ``model`` only where they are there.
        actions: how many the source and the target have.
    """

    artifact: Artifact
    inputs: dict[str, Artifact]
    correspondence: Correspondence
    knowledge: Knowledge
    actions: tuple[int, int]


def find_inputs(project: Project, artifact: Artifact) -> dict[str, Artifact]:
    """What the correspondence was learnt from, by use.

    Raises:
        ArtifactError: a memory is not there any more; without Q_S and F it goes on.
    """
    parents = artifact.manifest.get("parents", {})
    found: dict[str, Artifact] = {}
    for use, kind in (
        ("source_memory", "memory"),
        ("target_memory", "memory"),
        ("q", "q"),
        ("model", "model"),
    ):
        if use not in parents:
            continue
        sha256 = parents[use]["sha256"]
        fits = [a for a in find_artifacts(project.root, kind) if a.sha256 == sha256]
        # Equal content may have several names.
        fits.sort(key=lambda a: a.name != parents[use]["name"])
        if fits:
            found[use] = fits[0]
        elif kind == "memory":
            name = parents[use]["name"]
            replaced = name in {memory.name for memory in find_artifacts(project.root, kind)}
            why = "another by now" if replaced else "gone or damaged"
            raise ArtifactError(
                f"{artifact} was learnt from memory {name}, which is {why}",
                f"learn it anew with {_anew(artifact)}, or name another correspondence",
            )
    missing = [use for use in ("source_memory", "target_memory") if use not in found]
    if missing:
        raise ArtifactError(
            f"{artifact} does not say which memories it was learnt from",
            "learn one with 'corrtool learn-corr'",
        )
    return found


def _anew(artifact: Artifact) -> str:
    """The command that replaces a correspondence; of the last of a training that of its best."""
    name = artifact.name
    if artifact.manifest.get("selection") == "last":
        name = name.removesuffix(LAST)
    return f"'corrtool learn-corr --name {name} --overwrite'"


def absent_inputs(
    project: Project, artifact: Artifact, inputs: dict[str, Artifact]
) -> dict[str, str]:
    """What it was learnt with that is not among ``inputs``, by use: which, and why, in words."""
    absent = {}
    for use, parent in artifact.manifest.get("parents", {}).items():
        if use not in inputs:
            kind, name = parent["kind"], parent["name"]
            readable = name in {other.name for other in find_artifacts(project.root, kind)}
            there = name in artifact_names(project.root, kind)
            why = "another by now" if readable else "damaged" if there else "no longer here"
            absent[use] = f"{KIND_LABELS[kind]} {name}, which is {why}"
    return absent


def load_inputs(
    context: StageContext, artifact: Artifact, inputs: dict[str, Artifact]
) -> ExplainInputs:
    """All of them, on the device. Raises :class:`ArtifactError` where they do not fit."""
    device = context.device
    check_fit(inputs)
    m_s, m_t = (inputs[f"{role}_memory"] for role in ("source", "target"))
    memories = [load_transitions(context, memory) for memory in (m_s, m_t)]
    correspondence = load_correspondence(artifact, device)
    correspondence.eval()
    model = held_out = None
    if (found := inputs.get("model") or _newest_model(context, inputs)) is not None:
        inputs["model"] = found
        model = load_model(found, device)
        held_out = held_out_loss(found, m_s)
        model.eval()
    q = load_q_function(inputs["q"], device) if "q" in inputs else None
    rewards = RewardsLearnt.from_manifest(inputs["q"]) if "q" in inputs else RewardsLearnt()
    actions = [memory.manifest["actions"] for memory in (m_s, m_t)]
    _check_correspondence(artifact, correspondence, memories, actions)
    return ExplainInputs(
        artifact,
        inputs,
        correspondence,
        Knowledge(memories[0], memories[1], q, model, rewards, held_out),
        (actions[0], actions[1]),
    )


def how_learnt(known: ExplainInputs) -> Learnt:
    """What the manifest says of how it was learnt; a part that it lacks is None or False."""
    manifest, kind = known.artifact.manifest, known.knowledge.source.spec.settings_kind
    settings, summary = (_object(manifest.get(part)) for part in ("settings", "summary"))
    generator, filters = summary.get("generator"), settings.get("discriminator_filters")
    seed = manifest.get("seed")
    # Such as "linear, actions learned".
    recipes = [name.split(", ") for name in _object(summary.get("recipe_scores"))]
    tried = {generator, *(parts[0] for parts in recipes)}
    action_map = known.correspondence.action_map or ActionMap.identity(known.actions[0])
    learned = "action_map" in summary  # is there where it was learnt
    is_given = str(settings.get("action_map", IDENTITY)) not in (IDENTITY, LEARNED, AUTO)
    return {
        "seed": seed if type(seed) is int else 0,
        "generator": generator if isinstance(generator, str) else None,
        "generators_untried": [r.name for r in RECIPES[kind] if r.name not in tried],
        "actions": list(action_map.source_of),
        "actions_given": action_map.to_setting() if is_given else None,
        "actions_learned": learned,
        "actions_tried": learned or any(ACTIONS_LEARNED in parts for parts in recipes),
        "search_cut": summary.get("search_cut") is True,
        "discriminator_filters": filters if type(filters) is int else None,
    }


def _object(said: Any) -> dict[str, Any]:
    """A JSON object of a manifest; an empty one in place of what an older one lacks."""
    return said if isinstance(said, dict) else {}


def _check_correspondence(
    artifact: Artifact, c: Correspondence, memories: list[ReplayMemory], actions: list[int]
) -> None:
    """Raise :class:`ArtifactError` unless it has the states and the actions of both memories."""
    m = c.action_map or ActionMap.identity(actions[0])
    if [c.source_scaling.spec, c.target_scaling.spec] != [memory.spec for memory in memories] or [
        m.source_count,
        m.target_count,
    ] != actions:
        raise ArtifactError(
            f"{artifact} has other states or actions than the memories it was learnt from",
            "learn it anew with 'corrtool learn-corr'",
        )


def _newest_model(context: StageContext, inputs: dict[str, Artifact]) -> Artifact | None:
    """An F for a correspondence that was learnt without one, if it fits.

    Of pictures only: one of others scales them by what it learnt from, not as this correspondence.
    """
    memory = inputs["source_memory"]
    if memory.states.kind != IMAGE:
        return None
    try:
        model = context.artifact_of_task("model", None, context.project.task("source"))
    except MissingInputError:
        return None
    described: Any = model.manifest.get("network") or {}
    fits = described.get("states") == memory.manifest["states"]
    return model if fits and described.get("actions") == memory.manifest["actions"] else None
