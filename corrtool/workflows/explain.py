"""Why a correspondence transfers or not, from its artifacts and its run, without a game."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import torch

from corrtool.correspondence.explaining import (
    Observed,
    Sample,
    distance_of_nothing,
    distances,
    find_actions,
    known_map,
    most_unlike,
    observe,
)
from corrtool.correspondence.pictures import write_worst_pictures
from corrtool.correspondence.score import Scorer
from corrtool.correspondence.scores import scored_transitions
from corrtool.environment_model.pictures import write_prediction_pictures
from corrtool.errors import ArtifactError
from corrtool.files.atomic import inside, write_atomic
from corrtool.files.pictures import EXAMPLES
from corrtool.project.artifacts import Artifact
from corrtool.project.directory import Project
from corrtool.project.manifests import play_of_memory
from corrtool.q_learning.saved import QDescription
from corrtool.reporting.doubts import doubt_of_model, is_useless
from corrtool.reporting.explanation import (
    ActionsFound,
    AgentKnown,
    Explanation,
    FBlindness,
    LastLosses,
    Measured,
    MemoryDistance,
    MemoryKnown,
)
from corrtool.reporting.finished import FinishedRun
from corrtool.reporting.heat_maps import action_matrix_picture
from corrtool.reporting.model_symptoms import is_blind
from corrtool.reporting.symptoms import symptoms
from corrtool.runs.commands import longer_training_command
from corrtool.runs.context import StageContext
from corrtool.runs.records import finished_run
from corrtool.runs.results import LearnCorrResult, Score
from corrtool.runtime.console import Console
from corrtool.runtime.process import configure_process, preserving_torch_state
from corrtool.runtime.seeds import numpy_generator
from corrtool.states import VECTOR
from corrtool.workflows.explain_inputs import (
    ExplainInputs,
    absent_inputs,
    find_inputs,
    how_learnt,
    load_inputs,
)
from corrtool.workflows.explain_returns import returns_known


def explain(
    project: Project,
    console: Console,
    device: torch.device,
    name: str | None = None,
    *,
    seed: int = 0,
) -> Explanation:
    """Measure a correspondence, by default the newest, and write ``report/explain/NAME/``.

    The memories are those that it was learnt from, F as well; what is missing of F, Q_S and the run
    leaves a part of the explanation out.

    Raises:
        ArtifactError: there is no correspondence, or a memory is missing or damaged.
    """
    context = StageContext(project, console, device, seed=seed)
    artifact = context.correspondence(name)
    if name is None:
        console.say(
            f"explain: {artifact.name}, the newest correspondence; 'corrtool explain NAME' takes "
            "another"
        )
    with preserving_torch_state():
        inputs = find_inputs(project, artifact)
        absent = absent_inputs(project, artifact, inputs)
        configure_process(device, seed, inputs["source_memory"].states.settings_kind)
        known = load_inputs(context, artifact, inputs)
        sample = Sample.of(known.knowledge, numpy_generator(seed, "explain"))
        explanation, observed = _measure(context, known, sample, absent)
        folder = inside(project.root, project.root / "report" / "explain" / artifact.name)
        told = folder / "explanation.json"
        paths = [told, *_draw(folder, known, sample, observed, explanation["actions"])]
    explanation["files"] = [project.relative(path) for path in paths]
    write_atomic(told, (json.dumps(explanation, indent=1) + "\n").encode())
    return explanation


def _measure(
    context: StageContext, known: ExplainInputs, sample: Sample, absent: dict[str, str]
) -> tuple[Explanation, Observed]:
    """Everything that is measured, and the symptoms; ``files`` is empty as yet."""
    artifact, inputs, knowledge = known.artifact, known.inputs, known.knowledge
    with context.console.transient_progress(
        "explain: where F is blind", sample.length(knowledge), "transitions"
    ) as progress:
        each = (known.correspondence, knowledge, sample, known.actions)
        observed = observe(*each, progress.advance)
        actions = find_actions(*each, progress.advance)
    run, blindness = _run(context.project, artifact), _blindness(known, observed)
    measured: Measured = {
        "correspondence": artifact.name,
        "inputs": {use: str(found) for use, found in inputs.items()},
        "absent": absent,
        "agent": _agent(context.project.root, inputs),
        "learnt": how_learnt(known),
        "losses": None if run is None else _last_losses(run),
        "score": _score(context, known),
        "score_uncertain": _doubt(inputs, blindness),
        "blindness": blindness,
        "memories": _memories(known, observed),
        "actions": actions,
        "returns": returns_known(context.project, known),
        "linear_map": known_map(known.correspondence),
    }
    return {**measured, "symptoms": symptoms(measured), "files": []}, observed


def _run(project: Project, artifact: Artifact) -> FinishedRun[LearnCorrResult] | None:
    """The run that made the correspondence, if it is still there."""
    try:
        directory = inside(project.root, project.root / str(artifact.manifest.get("run")))
        found = finished_run(directory) if directory.is_dir() else None
    except ArtifactError:
        return None
    if found is None:
        return None
    place, record = found
    run: FinishedRun[LearnCorrResult] = FinishedRun("learn-corr", record["name"], place, record)
    return run if run.output_sha256("corr", artifact.name) == artifact.sha256 else None


def _last_losses(run: FinishedRun[LearnCorrResult]) -> LastLosses | None:
    try:
        last = run.losses[-1]
    except (ArtifactError, IndexError):
        return None
    return {
        "gradient_steps": last.gradient_steps,
        "terms": last.terms,
        "least_squares": run.settings.get("gan_loss") == "lsgan",
    }


def _score(context: StageContext, known: ExplainInputs) -> Score | None:
    """The score that learning left, else one that is found now; None without F."""
    summary = known.artifact.manifest.get("summary")
    said = summary.get("score") if isinstance(summary, dict) else None
    if isinstance(said, dict) and _is_score(said):
        return cast(Score, said)
    if known.knowledge.environment_model is None:
        return None
    random = numpy_generator(context.seed, "explain score")
    scorer = Scorer(known.knowledge, random, scored_transitions(known.knowledge))
    with context.console.transient_progress(
        "explain: the score", scorer.length, "transitions"
    ) as progress:
        return scorer.score(known.correspondence, progress.advance)


def _is_score(said: dict[str, Any]) -> bool:
    """True if it has every number of a score; those of Q_S may be None."""
    optional = ("bellman_error", "source_bellman_error", "bellman_share")
    return Score.__annotations__.keys() == said.keys() and all(
        type(number) in (int, float) or (number is None and name in optional)
        for name, number in said.items()
    )


def _blindness(known: ExplainInputs, observed: Observed) -> FBlindness | None:
    if "model" not in known.inputs:
        return None
    model = known.inputs["model"]
    summary: Any = model.manifest.get("summary") or {}
    return {
        "model": model.name,
        "gradient_steps": _planned(model, "gradient_steps"),
        "cut": summary.get("cut") is True,
        "useless": is_useless(summary),
        "source": observed.source.to_json(),
        "translated": observed.translated.to_json(),
    }


def _doubt(inputs: dict[str, Artifact], blindness: FBlindness | None) -> str | None:
    """Why the score cannot be relied on: what F is known to be, or to be on M_S."""
    if blindness is None:
        return None
    if is_blind(blindness):
        return "F explains next to nothing of M_S"
    return doubt_of_model(inputs["model"].manifest)


def _agent(root: Path, inputs: dict[str, Artifact]) -> AgentKnown | None:
    if "q" not in inputs:
        return None
    q = inputs["q"]
    summary: Any = q.manifest.get("summary") or {}
    agent: AgentKnown = {
        "name": q.name,
        "env_steps": _planned(q, "env_steps"),
        "longer": trained_longer(root, q),
        "cut": summary.get("cut") is True,
    }
    if (described := QDescription.from_manifest(inputs["q"])).is_policy:
        agent["values"] = "critic" if described.has_critic else "none"
    return agent


def trained_longer(root: Path, q: Artifact) -> str | None:
    """The command by which an agent learns four times as long, or to its end if it was cut short.

    None for one that did not learn here.
    """
    env_steps, summary = _planned(q, "env_steps"), cast(Any, q.manifest.get("summary") or {})
    if q.manifest.get("stage") != "train-dqn" or env_steps is None:
        return None
    taken = summary.get("env_steps")
    longer = 4 * (taken if type(taken) is int else env_steps)
    more = None if summary.get("cut") is True else longer
    return longer_training_command(root, q.manifest, q.name, more)


def _planned(artifact: Artifact, steps: str) -> int | None:
    """The steps for which an artifact was to learn; None where its settings do not say."""
    planned = artifact.manifest.get("settings", {}).get(steps)
    return planned if type(planned) is int else None


def _memories(known: ExplainInputs, observed: Observed) -> MemoryDistance:
    source, target = (
        _memory_known(known.inputs[f"{role}_memory"]) for role in ("source", "target")
    )
    frames = (observed.source_frames, observed.translated_frames)
    distance, in_source = distances(*frames)
    return {
        "source": source,
        "target": target,
        "measure": "moments" if observed.source_frames.ndim == 2 else "mean frames",
        "distance": distance,
        "distance_in_source": in_source,
        "distance_of_nothing": distance_of_nothing(observed.source_frames),
        "most_unlike": most_unlike(*frames, known.correspondence.source_scaling),
    }


def _memory_known(memory: Artifact) -> MemoryKnown:
    return {
        "name": memory.name,
        "play": play_of_memory(memory.manifest),
        "records": memory.manifest["records"],
    }


def _draw(
    folder: Path,
    known: ExplainInputs,
    sample: Sample,
    observed: Observed,
    actions: ActionsFound | None,
) -> list[Path]:
    """Draw the heat map and, but of vectors, the worst transitions; returns the files."""
    drawn = []
    if actions is not None:
        drawn.append(folder / "action-matrix.png")
        write_atomic(drawn[-1], action_matrix_picture(actions))
    model, c = known.knowledge.environment_model, known.correspondence
    if model is None or c.source_scaling.spec.kind == VECTOR:
        return drawn
    source, target = known.knowledge.source, known.knowledge.target
    rows = sample.source_rows[observed.source.worst(EXAMPLES)]
    path = folder / "worst-of-source.png"
    states, following = source.consecutive_states(rows)
    write_prediction_pictures(path, model, states, source.actions(rows), following)
    drawn.append(path)
    rows = sample.target_rows[observed.translated.worst(EXAMPLES)]
    path = folder / "worst-translated.png"
    states, following = target.consecutive_states(rows)
    write_worst_pictures(path, c, model, states, target.actions(rows), following)
    return [*drawn, path]
