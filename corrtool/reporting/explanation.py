"""Why a correspondence transfers or not: what was measured, as types.

Measured by ``corrtool.workflows.explain``. All of it is JSON, so that the page of the report,
the command line and ``--json`` show the same. A part is None where its inputs are missing.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypeAlias, TypedDict

from corrtool.project.manifests import Play
from corrtool.reporting.linear_map import LinearMapKnown
from corrtool.runs.results import Score


class LastLosses(TypedDict):
    """The last logged terms of the loss, unweighted.

    Attributes:
        least_squares: whether the discriminators learn by least squares, where a loss tells
            whether they have won.
    """

    gradient_steps: int
    terms: dict[str, float]
    least_squares: bool


class LossAt(TypedDict):
    """The relative model loss at one place or of one action.

    Attributes:
        share: of all change, what changes there.
    """

    where: str
    model_loss: float
    share: float


class Blindness(TypedDict):
    """Where F explains the transitions of a memory, and where not.

    Every loss is relative: 0 where F explains every change, 1 where it does no better than
    persistence.
    """

    transitions: int
    model_loss: float
    by_action: list[LossAt]
    by_place: list[LossAt]


class FBlindness(TypedDict):
    """The same of M_S and of M_T as G_T translates it, whose actions are the target's.

    Attributes:
        gradient_steps: those that F was to learn for; None where epochs say so.
        cut: whether its training was cut short by a time limit.
        useless: whether it predicted held-out records no better than persistence.
    """

    model: str
    gradient_steps: int | None
    cut: bool
    useless: bool
    source: Blindness
    translated: Blindness


class MemoryKnown(TypedDict):
    """A memory: who played it, and how many records it has."""

    name: str
    play: Play | None
    records: int


class MostUnlike(TypedDict):
    """The coordinate of a vector that differs most, in the units of the source."""

    coordinate: int
    source_mean: float
    source_deviation: float
    translated_mean: float
    translated_deviation: float


class MemoryDistance(TypedDict):
    """How far translated states of M_T are from those of M_S.

    Attributes:
        measure: ``moments`` of vectors, or the mean absolute difference of ``mean frames``.
        distance: of the translated states from one half of M_S.
        distance_in_source: of the other half of M_S from that: what chance alone makes.
        distance_of_nothing: of a picture with nothing in it, each channel at its mean; None of
            vectors.
        most_unlike: of vectors; None of the others.
    """

    source: MemoryKnown
    target: MemoryKnown
    measure: Literal["moments", "mean frames"]
    distance: float
    distance_in_source: float
    distance_of_nothing: float | None
    most_unlike: MostUnlike | None


class ActionsFound(TypedDict):
    """Which source action each target action is, by the errors of F on translated transitions.

    Attributes:
        relative_model_losses, centred: (A_T, A_S), as they are and double-centred.
        map_in_use, best_map: of each target action the source action.
        margin: how much the relative model loss is less with the best map.
        best_is_better: whether that is beyond the sampling noise.
    """

    transitions: int
    relative_model_losses: list[list[float]]
    centred: list[list[float]]
    map_in_use: list[int]
    best_map: list[int]
    margin: float
    best_is_better: bool


# Fresh games of 'evaluate'; those of a memory; an agent's play tests or training games; a play test
# of a correspondence.
GamesOf: TypeAlias = Literal["evaluate", "memory", "training", "play test"]


class ReturnsKnown(TypedDict):
    """Mean returns that are known without another game; None where they are not.

    Fresh games of ``evaluate`` come first; each ``…_by`` says which games they are.

    Attributes:
        random: of random play on the target: else of the games of M_T, if that was played so.
        source_random: of random play on the source: else of the games of M_S, likewise.
        agent: of Q_S on its own task: else as its training ended.
        agent_is_better: than random play there, by two standard errors of fresh games; None where
            Q_S has played none, or random play is not known.
        reuse: of Q_S on the target without a correspondence: else in a play test.
        transfer: through the correspondence: else in a play test.
    """

    random: float | None
    random_by: GamesOf | None
    source_random: float | None
    source_random_by: GamesOf | None
    agent: float | None
    agent_by: GamesOf | None
    agent_is_better: bool | None
    reuse: float | None
    reuse_by: GamesOf | None
    transfer: float | None
    transfer_by: GamesOf | None


class AgentKnown(TypedDict):
    """Q_S: its name, for how many environment steps it was to learn, and whether it was cut short.

    The steps are None for one that did not learn here, and so is ``longer``, the command by which
    it learns four times as long, or to its end. ``values`` is there where it is a policy: what it
    has for values, which its logits are not.
    """

    name: str
    env_steps: int | None
    longer: str | None
    cut: bool
    values: NotRequired[Literal["critic", "none"]]


class Learnt(TypedDict):
    """How the correspondence was learnt, so that nothing is advised that this did already.

    Attributes:
        generator: its kind; None where the manifest does not say.
        generators_untried: those of ``--recipe auto`` that were not tried.
        actions: of each target action the source action.
        actions_given: that map as the setting ``--action-map``; None where it is the identity or
            was to be found.
        actions_learned: whether that map was learnt from the transitions.
        actions_tried: whether learning one was tried, if only by a recipe that was not taken.
        search_cut: whether its search for a start ended for want of time.
        discriminator_filters: None where the manifest does not say.
    """

    seed: int
    generator: str | None
    generators_untried: list[str]
    actions: list[int]
    actions_given: str | None
    actions_learned: bool
    actions_tried: bool
    search_cut: bool
    discriminator_filters: int | None


class Symptom(TypedDict):
    """Something that explains a failure, and what to try."""

    name: str
    sentence: str
    command: str


class Measured(TypedDict):
    """All that is measured of a correspondence; its ``inputs`` are those it was learnt from.

    ``absent`` are those of them that are gone or were replaced, and left out.
    ``score_uncertain`` says why the score cannot be relied on; None where nothing says so.
    ``linear_map`` is that of a linear generator of few coordinates.
    """

    correspondence: str
    inputs: dict[str, str]
    absent: dict[str, str]
    agent: AgentKnown | None
    learnt: Learnt
    losses: LastLosses | None
    score: Score | None
    score_uncertain: str | None
    blindness: FBlindness | None
    memories: MemoryDistance
    actions: ActionsFound | None
    returns: ReturnsKnown
    linear_map: LinearMapKnown | None


class Explanation(Measured):
    """What ``explain`` tells: the measurements, the symptoms among them, and the files written."""

    symptoms: list[Symptom]
    files: list[str]
