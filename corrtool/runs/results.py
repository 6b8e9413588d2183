"""The results of the stages, as types: what ``--json`` prints and the methods of the API return."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

from corrtool.project.manifests import Reference

if TYPE_CHECKING:  # the command line knows results before it imports torch
    from corrtool.tasks.task import TaskDescription


class StageResult(TypedDict, total=False):
    """What the results of all stages have in common.

    ``corrtool.runs.context.StageContext`` adds it; the record of a run does without it.
    """

    stage: str
    name: str
    artifacts: list[Reference]
    seed: int
    settings: dict[str, Any]
    metrics: dict[str, float]


class Cut(TypedDict):
    """Whether ``--max-minutes`` ended the learning; it is there, and true, only where it did."""

    cut: NotRequired[bool]


class DqnSummary(Cut):
    """Summary of a DQN, in the run's result and in the manifests of its artifacts."""

    env_steps: int
    games: int
    gradient_steps: int
    mean_return_20: float | None
    best_mean_return: float | None
    stopped_early: bool


class RandomMemoryResult(TypedDict):
    """Of a ``train-dqn`` with ``--random-records``: the memory of random play."""

    random_memory: NotRequired[str]
    random_memory_sha256: NotRequired[str]


class TrainDqnResult(StageResult, DqnSummary, RandomMemoryResult):
    """The result of ``train-dqn``."""

    q: str
    memory: str
    records: int
    sha256: str
    memory_sha256: str


class FinetuneResult(StageResult, DqnSummary):
    """The result of ``finetune``."""

    q: str
    corr: str | None
    sha256: str


class CollectResult(StageResult):
    """The result of ``collect``."""

    memory: str
    records: int
    bytes: int
    sha256: str


class NewestFrameErrors(TypedDict):
    """Errors of F over what changes in the newest frame; older results lack them."""

    l1_newest: NotRequired[float]
    l1_newest_persistence: NotRequired[float]
    l1_moving: NotRequired[float]
    l1_moving_persistence: NotRequired[float]


class ActionErrors(NewestFrameErrors):
    """The same for the records of one action."""

    action: int


class PredictionErrors(NewestFrameErrors):
    """Errors of F: ``corrtool.environment_model.validation.prediction_errors``."""

    records: int
    l1: float
    l1_persistence: float
    l1_changing: float
    l1_changing_persistence: float
    changing_share: float
    by_action: NotRequired[list[ActionErrors]]


class ErrorsByMemory(TypedDict):
    """The errors of an F that learnt from two memories, on the records of each, by its use."""

    validation_by_memory: NotRequired[dict[str, PredictionErrors]]


class TrainModelResult(StageResult, ErrorsByMemory, Cut):
    """The result of ``train-model``."""

    model: str
    gradient_steps: int
    validation: PredictionErrors
    sha256: str


class Score(TypedDict):
    """How well a correspondence fits what is known of both tasks, without playing.

    On random transitions, which are those of random play where M_S and M_T are.

    Attributes:
        model_loss: the relative model loss of F on translated transitions of M_T: 0 where it
            explains every change, 1 where none; of vectors that of each coordinate, as much as it
            has of all changes in M_S.
        source_model_loss: the same on those of M_S that F has not learnt from, as ``train-model``
            found it, or on those of M_S where that says nothing of them: the best that F could do.
        model_share: in [0, 1], (1 - model_loss) / (1 - source_model_loss); 0 where F explains next
            to nothing of M_S.
        bellman_error: mean |r + γ max Q(s') - Q(s, a)| of Q_S on translated transitions of M_T with
            the target's rewards, in standard deviations of the values of Q_S on M_S; None without
            Q_S, as are the next two.
        source_bellman_error: the same on those of M_S.
        bellman_share: in [0, 1], source_bellman_error / bellman_error, at most 1.
        cycle_error: mean |G_T(G_S(s)) - s| on M_S, as a share of what its mean state gets wrong.
        value: all in one number, in [0, 1]: ``corrtool.correspondence.score.score_value``.
    """

    model_loss: float
    source_model_loss: float
    model_share: float
    bellman_error: float | None
    source_bellman_error: float | None
    bellman_share: float | None
    cycle_error: float
    value: float


# The value of a score. Below it 29 of 276 correspondences kept more than a half of their agent's
# return, and exact ones have had 0.74 or more (docs/pairs.md).
NO_TRANSFER_BELOW = 0.5


class CorrespondenceChoices(Cut):
    """What led to a correspondence; older results lack some of it.

    ``recipe`` and the scores of all that were tried are there where one was chosen, with the
    settings that it decided; ``recipe_untried``, those that a time limit left out, where none of
    the others was enough; ``search_cut`` is there, and true, where one ended a search for a start.
    ``mirrored`` is there, and true, where the angle is that of a mirror
    image, ``settled`` where learning ended early since the score rose no more. ``q_loss`` is there
    where L_Q compared something else than Q-values, ``agent_values`` where the agent is a policy:
    what the score took for its values.
    """

    recipe: NotRequired[str]
    recipe_scores: NotRequired[dict[str, float]]
    recipe_settings: NotRequired[dict[str, bool | int | float | str | None]]
    recipe_untried: NotRequired[list[str]]
    search_cut: NotRequired[bool]
    mirrored: NotRequired[bool]
    settled: NotRequired[bool]
    q_loss: NotRequired[Literal["logits", "value"]]
    agent_values: NotRequired[Literal["critic", "none"]]


class CorrespondenceSummary(CorrespondenceChoices):
    """How the training of a correspondence ended; older results lack some of it.

    ``action_map``, of each target action the source action, is there where it was learnt.
    ``like_reuse`` is there, and true, where the best play test is not clearly better than that of
    reuse. ``score_uncertain`` says why, where F is one that a score cannot rely on.
    """

    generator: NotRequired[str]
    gradient_steps: int
    best_gradient_steps: int
    best_mean_return: float | None
    last_mean_return: NotRequired[float | None]
    reuse_mean_return: NotRequired[float | None]
    like_reuse: NotRequired[bool]
    best_angle_degrees: float | None
    angle_degrees: float | None
    score: NotRequired[Score | None]
    score_uncertain: NotRequired[str]
    action_map: NotRequired[list[int]]


class LearnCorrResult(StageResult, CorrespondenceSummary):
    """The result of ``learn-corr``."""

    corr: str
    sha256: str


class Returns(TypedDict):
    """The returns of fresh games; ``ci95`` is a percentile bootstrap over them."""

    returns: list[float]
    mean_return: float
    ci95: list[float]
    distinct_games: NotRequired[int]  # older results do not say


class EvaluateResult(StageResult, Returns):
    """The result of ``evaluate``; with ``--video`` also which, and the return of its game."""

    task: str
    environment: str
    policy: str
    q: str | None
    corr: str | None
    epsilon: float | None
    repeat_action_probability: float
    games: int
    idle_games: int
    cut_games: int
    video: NotRequired[str]
    video_return: NotRequired[float]


class Plan(TypedDict):
    """What a dry run tells instead of a result.

    Attributes:
        done, begun: whether there is an equal run, finished or interrupted.
        missing: lines on inputs that are not there yet.
        steps: environment or gradient steps from which it would go on; where it has begun.
        cut: where a time limit has ended it early, done or going on with a larger limit.
        anew: in the plan of ``transfer``, where there is an equal run, but what it was made from
            changes: its inputs that do.
        minutes: in that plan, what it takes of the budget at most.
    """

    dry_run: bool
    done: bool
    begun: bool
    stage: str
    name: str | None
    device: str
    seed: int
    settings: dict[str, Any]
    inputs: dict[str, str]
    produces: list[str]
    missing: list[str]
    steps: NotRequired[int]
    cut: NotRequired[bool]
    anew: NotRequired[list[str]]
    minutes: NotRequired[float]
    tasks: NotRequired[dict[str, TaskDescription]]
    options: NotRequired[dict[str, Any]]
