"""Each symptom on made-up numbers: where it is told, and where not."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest
from support.commands import ROOT

from corrtool.project.manifests import Play
from corrtool.reporting.explanation import Explanation, Measured, Symptom
from corrtool.reporting.explanation_tables import action_lines, explanation_tables
from corrtool.reporting.model_symptoms import PERSISTENCE
from corrtool.reporting.symptoms import (
    HIGH_SCORE,
    REUSE_IS_GOOD,
    RULES,
    WON_DISCRIMINATOR_LOSS,
    symptoms,
)
from corrtool.runs.results import NO_TRANSFER_BELOW

HEALTHY: Measured = {
    "correspondence": "auto",
    "inputs": {},
    "absent": {},
    "agent": {
        "name": "agent", "env_steps": 5000, "cut": False,
        "longer": "corrtool train-dqn --name agent --extend --env-steps 20000",
    },
    "learnt": {
        "seed": 0, "generator": "affine", "generators_untried": ["affine-resnet", "resnet"],
        "actions": [0, 1], "actions_given": None, "actions_learned": False, "actions_tried": False,
        "search_cut": False,
        "discriminator_filters": 64,
    },
    "losses": {
        "gradient_steps": 100,
        "terms": {"gan": 0.5, "source_discriminator": 0.25, "target_discriminator": 0.25},
        "least_squares": True,
    },
    "score": {
        "model_loss": 0.1, "source_model_loss": 0.1, "model_share": 1.0,
        "bellman_error": 0.2, "source_bellman_error": 0.2, "bellman_share": 1.0,
        "cycle_error": 0.1, "value": 0.9,
    },
    "score_uncertain": None,
    "blindness": {
        "model": "f",
        "gradient_steps": 1000,
        "cut": False,
        "useless": False,
        "source": {"transitions": 1, "model_loss": 0.1, "by_action": [], "by_place": []},
        "translated": {"transitions": 1, "model_loss": 0.1, "by_action": [], "by_place": []},
    },
    "memories": {
        "source": {"name": "s", "play": "random", "records": 10},
        "target": {"name": "t", "play": "random", "records": 10},
        "measure": "mean frames",
        "distance": 0.01,
        "distance_in_source": 0.005,
        "distance_of_nothing": 0.06,
        "most_unlike": None,
    },
    "actions": {
        "transitions": 1,
        "relative_model_losses": [[0.1, 0.9], [0.9, 0.1]],
        "centred": [[-0.4, 0.4], [0.4, -0.4]],
        "map_in_use": [0, 1],
        "best_map": [0, 1],
        "margin": 0.0,
        "best_is_better": False,
    },
    "returns": {
        "random": 0.0, "random_by": "memory", "source_random": 5.0, "source_random_by": "memory",
        "agent": 100.0, "agent_by": "evaluate", "agent_is_better": None,
        "reuse": 10.0, "reuse_by": "evaluate",
        "transfer": 90.0, "transfer_by": "play test",
    },
    "linear_map": None,
}  # fmt: skip

Change = Callable[[Measured], None]


def names(change: Change) -> list[str]:
    return [symptom["name"] for symptom in named(change)]


def named(change: Change) -> list[Symptom]:
    measured = deepcopy(HEALTHY)
    change(measured)
    return symptoms(measured)


def blind(loss: float) -> Change:
    def change(m: Measured) -> None:
        assert m["blindness"]
        m["blindness"]["source"]["model_loss"] = loss

    return change


def play(source: Play | None) -> Change:
    return lambda m: m["memories"]["source"].update({"play": source})


def discriminators(source: float, target: float, least_squares: bool = True) -> Change:
    def change(m: Measured) -> None:
        assert m["losses"]
        m["losses"]["terms"] |= {"source_discriminator": source, "target_discriminator": target}
        m["losses"]["least_squares"] = least_squares

    return change


def another_map(translated: float, margin: float, better: bool = True) -> Change:
    def change(m: Measured) -> None:
        assert m["blindness"] and m["actions"]
        m["blindness"]["translated"]["model_loss"] = translated
        m["actions"].update({"best_map": [1, 0], "margin": margin, "best_is_better": better})

    return change


def score(value: float, transfer: float | None = 90.0, reuse: float | None = 10.0) -> Change:
    def change(m: Measured) -> None:
        assert m["score"]
        m["score"]["value"] = value
        m["returns"].update({"transfer": transfer, "reuse": reuse})

    return change


def reuse(share: float, random: float | None = 0.0) -> Change:
    return lambda m: m["returns"].update({"reuse": 100 * share, "random": random})


def agent(mean: float | None, random: float | None = 5.0) -> Change:
    return lambda m: m["returns"].update({"agent": mean, "source_random": random})


def of_f(cut: bool = False, useless: bool = False) -> Change:
    def change(m: Measured) -> None:
        assert m["blindness"]
        m["blindness"].update({"cut": cut, "useless": useless})

    return change


def apart(distance: float, chance: float = 0.005, of_nothing: float | None = 0.06) -> Change:
    return lambda m: m["memories"].update(
        {
            "distance": distance,
            "distance_in_source": chance,
            "distance_of_nothing": of_nothing,
        }
    )


def vectors(
    distance: float, chance: float = 0.01, played: Play | None = "random", transfer: float = 60
) -> Change:
    def change(m: Measured) -> None:
        apart(distance, chance, None)(m)
        m["memories"]["measure"] = "moments"
        m["memories"]["most_unlike"] = {
            "coordinate": 4, "source_mean": 0.5, "source_deviation": 0.25,
            "translated_mean": -0.001, "translated_deviation": 1234.0,
        }  # fmt: skip
        for role in ("source", "target"):
            m["memories"][role]["play"] = played
        m["returns"]["transfer"] = transfer

    return change


def nothing(m: Measured) -> None:
    """The healthy one as it is."""


E = 1e-6


@pytest.mark.parametrize(
    ("name", "told", "not_told"),
    [
        (
            "reuse is good already",
            [reuse(REUSE_IS_GOOD)],
            [reuse(REUSE_IS_GOOD - E), reuse(1, None)],
        ),
        (
            "the agent has learnt nothing",
            [agent(5.0), agent(-200.0, -200.0)],
            [agent(5.0 + E), agent(None), agent(0.0, None)],
        ),
        ("F was cut short", [of_f(cut=True)], [of_f(useless=True)]),
        ("F is no better than persistence", [of_f(useless=True)], [of_f(cut=True)]),
        (
            "translations do not look like the source",
            [apart(0.03), apart(0.068, 0.0046, 0.062)],
            [apart(0.03 - E), apart(0.03, chance=0.0101), apart(9.0, of_nothing=None)],
        ),
        (
            "translated states are unlike the source's",
            [vectors(0.15), vectors(0.67, 0.044), vectors(0.2, transfer=90 - E)],
            [
                vectors(0.15 - E),
                vectors(0.67, 0.045),
                vectors(0.2, transfer=90),
                vectors(0.2, played="agent"),
                vectors(0.2, played=None),
            ],
        ),
        (
            "it keeps a part of the way",
            [score(HIGH_SCORE, transfer=20.0), score(1.0, transfer=90 - E), vectors(0.2)],
            [
                score(HIGH_SCORE, transfer=20.0 - E),
                score(1.0, transfer=90.0),
                score(1.0, transfer=None),
                score(NO_TRANSFER_BELOW - E, transfer=50.0),
                score(1.0, transfer=50.0, reuse=95.0),
                score(1.0, transfer=50.0, reuse=50.0),
                agent(None),
            ],
        ),
        ("F is blind", [blind(PERSISTENCE), blind(1.5)], [blind(PERSISTENCE - E)]),
        ("M_S and M_T are of different play", [play("agent")], [play("random"), play(None)]),
        (
            "the discriminators have won",
            [discriminators(WON_DISCRIMINATOR_LOSS, 0.0)],
            [
                discriminators(WON_DISCRIMINATOR_LOSS + E, 0.0),
                discriminators(0.0, 0.25),
                discriminators(0.0, 0.0, least_squares=False),
            ],
        ),
        (
            "another map of the actions is better",
            [another_map(1.6, 1.5), another_map(0.56, 0.02)],
            [another_map(1.6, 1.5, better=False), another_map(0.57, 0.01)],
        ),
        (
            "the score is low though F is good",
            [score(NO_TRANSFER_BELOW - E)],
            [score(NO_TRANSFER_BELOW)],
        ),
        (
            "no gain though the score is high",
            [
                score(HIGH_SCORE, transfer=10.0),
                score(1.0, transfer=-5.0),
                score(HIGH_SCORE, transfer=20.0 - E),  # of random play 0 and the agent 100
                score(HIGH_SCORE, transfer=20.0 - E, reuse=None),
            ],
            [
                score(HIGH_SCORE - E, transfer=10.0),
                score(HIGH_SCORE, transfer=20.0),
                score(HIGH_SCORE, transfer=20.0, reuse=None),
                score(HIGH_SCORE, transfer=None),
                score(HIGH_SCORE, transfer=80.0, reuse=95.0),  # which is good already
            ],
        ),
    ],
)
def test_each_is_told_and_not_told(name: str, told: list[Change], not_told: list[Change]) -> None:
    assert all(name in names(change) for change in told)
    assert not any(name in names(change) for change in (nothing, *not_told))


def test_a_healthy_one_has_none_and_says_so() -> None:
    assert names(nothing) == []
    (first, *_) = explanation_tables({**HEALTHY, "symptoms": [], "files": []})
    assert first.rows == [] and "docs/why-not.md" in first.note


def test_where_nothing_is_known_nothing_is_told() -> None:
    unknown = deepcopy(HEALTHY)
    unknown.update({"losses": None, "score": None, "blindness": None, "actions": None})
    unknown["agent"] = None
    unknown["returns"] = {
        "random": None, "random_by": None, "source_random": None,
            "source_random_by": None, "agent": None, "agent_by": None, "agent_is_better": None,
        "reuse": None, "reuse_by": None, "transfer": None, "transfer_by": None,
    }  # fmt: skip
    assert symptoms(unknown) == []
    tables = explanation_tables({**unknown, "symptoms": [], "files": []})
    assert [table.title for table in tables][1:] == ["What was measured"]


def test_returns_say_of_which_games_they_are() -> None:
    measured = explanation_tables(explanation(HEALTHY))[1]
    games = {row[0]: row[2] for row in measured.rows if row[0].startswith("mean return")}
    fresh = "fresh games of 'corrtool evaluate'"
    assert games == {
        "mean return of random play on the target": "games of t",
        "mean return of random play on the source": "games of s",
        "mean return of the agent on its own task": fresh,
        "mean return of reuse without a correspondence": fresh,
        "mean return of play through the correspondence": "a play test of learn-corr",
    }
    assert "'corrtool evaluate' plays fresh ones" in measured.note
    trained = deepcopy(HEALTHY)
    trained["returns"]["agent_by"] = "training"
    rows = explanation_tables(explanation(trained))[1].rows
    assert "train-dqn" in next(
        row[2] for row in rows if row[0].endswith("the agent on its own task")
    )


@pytest.mark.parametrize(
    ("actions", "learned", "words"),
    [
        ([0, 1], False, "each of the target is the source's of the same number"),
        ([1, 1], False, "[1, 1] of the source, as they were given"),
        ([1, 0], True, "from 0, are [1, 0] of the source; another symmetry of the task"),
    ],
)
def test_the_map_of_the_actions_is_told(actions: list[int], learned: bool, words: str) -> None:
    measured = deepcopy(HEALTHY)
    measured["learnt"].update({"actions": actions, "actions_learned": learned})
    (line,) = action_lines(explanation(measured))
    assert words in line


def test_a_place_that_never_changes_is_not_among_the_worst() -> None:
    measured = deepcopy(HEALTHY)
    assert measured["blindness"]
    measured["blindness"]["source"]["by_place"] = [
        {"where": "coordinate 0", "model_loss": 1.0, "share": 0.0},
        {"where": "coordinate 1", "model_loss": 0.2, "share": 0.9995},
        {"where": "coordinate 2", "model_loss": 1.0, "share": 0.0005},
    ]
    tables = explanation_tables(explanation(measured))
    (places,) = (table for table in tables if table.title == "Where F is blind, by place")
    assert [row[1] for row in places.rows] == ["coordinate 1", "coordinate 2"]


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_an_uncertain_score_says_nothing(value: float) -> None:
    def change(m: Measured) -> None:
        blind(1.0)(m)
        score(value, transfer=0.0)(m)
        m["score_uncertain"] = "F explains next to nothing of M_S"

    assert names(change) == ["F is blind"]


def explanation(measured: Measured) -> Explanation:
    return {**measured, "symptoms": [], "files": []}


def test_an_uncertain_score_is_told_as_such() -> None:
    uncertain = deepcopy(HEALTHY)
    uncertain["score_uncertain"] = "the training of F was cut short"
    certain, doubtful = (
        next(row for row in explanation_tables(told)[1].rows if row[0] == "score")
        for told in (explanation(HEALTHY), explanation(uncertain))
    )
    assert certain == ["score", "0.90", "at best 1"]
    assert doubtful[1] == "uncertain" and "cut short; by that F it comes to 0.90" in doubtful[2]


def test_what_learnt_nothing_cannot_gain_by_more_records() -> None:
    def change(m: Measured) -> None:
        agent(0.0)(m)
        score(1.0, transfer=0.0)(m)

    assert names(change) == ["the agent has learnt nothing"]


def test_where_the_play_differs_so_do_the_mean_frames() -> None:
    def change(m: Measured) -> None:
        play("agent")(m)
        apart(0.06)(m)

    assert names(change) == ["M_S and M_T are of different play"]


def test_translations_unlike_the_source_say_nothing_of_actions() -> None:
    def change(m: Measured) -> None:
        another_map(1.6, 1.5)(m)
        apart(0.06)(m)

    assert names(change) == ["translations do not look like the source"]


def test_where_f_is_blind_no_map_of_the_actions_is_better() -> None:
    def change(m: Measured) -> None:
        blind(1.2)(m)
        another_map(1.1, 0.12)(m)

    assert names(change) == ["F is blind"]


def test_commands_name_numbers_of_the_run() -> None:
    measured = deepcopy(HEALTHY)
    blind(1.0)(measured)
    another_map(1.5, 1.0)(measured)
    commands = [symptom["command"] for symptom in symptoms(measured)]
    assert commands == [
        "corrtool train-model --gradient-steps 4000 --name longer && "
        "corrtool learn-corr --q agent --model longer --name longer",
        "corrtool learn-corr --action-map '[1, 0]'",
    ]


@pytest.mark.parametrize(
    ("change", "command"),
    [
        (agent(0.0), "corrtool train-dqn --name agent --extend --env-steps 20000"),
        (of_f(cut=True), "corrtool train-model --name f"),
        (
            score(1.0, transfer=0.0),
            "corrtool collect --task source --policy q:agent --records 50000 --name more && "
            "corrtool train-model --memory more --name more && "
            "corrtool learn-corr --q agent --model more --name more && "
            "corrtool evaluate --corr more",
        ),
    ],
)
def test_commands_name_what_the_project_has(change: Change, command: str) -> None:
    measured = deepcopy(HEALTHY)
    change(measured)
    (symptom,) = symptoms(measured)
    assert symptom["command"].startswith(command)


def learnt(**how: object) -> Change:
    return lambda m: m["learnt"].update(how)  # type: ignore[typeddict-item]


ALL_TRIED = learnt(generators_untried=[], actions_tried=True, actions_learned=True)


def both(*changes: Change) -> Change:
    def change(m: Measured) -> None:
        for each in changes:
            each(m)

    return change


@pytest.mark.parametrize(
    ("first", "first_command", "followed", "command"),
    [
        (
            score(0.2), "corrtool learn-corr --action-map learned",
            learnt(actions_tried=True),
            "corrtool learn-corr --generator affine-resnet --action-map learned",
        ),
        (
            score(0.2), "corrtool learn-corr --action-map learned", ALL_TRIED,
            "corrtool collect --task source --policy q:agent --records 50000 --name more && ",
        ),
        (
            apart(0.06), "corrtool learn-corr --generator affine-resnet", ALL_TRIED,
            "corrtool learn-corr --q agent --seed 1 && corrtool evaluate",
        ),
        (
            discriminators(0.0, 0.0), "corrtool learn-corr --q agent --discriminator-filters 4",
            learnt(discriminator_filters=4),
            "corrtool collect --records 40 --name more && "
            "corrtool learn-corr --q agent --target-memory more --name more",
        ),
        (
            score(1.0, transfer=0.0),
            "corrtool collect --task source --policy q:agent --records 50000 --name more && ",
            lambda m: m.update({"correspondence": "more-last"}),
            "corrtool collect --task source --policy q:agent --records 200000 --name more-2 && "
            "corrtool train-model --memory more-2 --name more-2 && ",
        ),
        (
            score(1.0, transfer=0.0),
            "corrtool collect --task source --policy q:agent --records 50000 --name more && ",
            lambda m: m["inputs"].update({"model": "environment model more-2"}),
            "corrtool collect --task source --policy q:agent --records 800000 --name more-3 && ",
        ),
        (
            blind(1.0),
            "corrtool train-model --gradient-steps 4000 --name longer && ",
            lambda m: m["inputs"].update({"model": "environment model longer"}),
            "corrtool train-model --gradient-steps 4000 --name longer-2 && "
            "corrtool learn-corr --q agent --model longer-2 --name longer-2",
        ),
    ],
)  # fmt: skip
def test_what_was_followed_already_is_not_advised_again(
    first: Change, first_command: str, followed: Change, command: str
) -> None:
    for change, told in ((first, first_command), (both(first, followed), command)):
        measured = deepcopy(HEALTHY)
        change(measured)
        (symptom,) = symptoms(measured)
        assert symptom["command"].startswith(told)


def test_tasks_may_share_nothing() -> None:
    measured = deepcopy(HEALTHY)
    both(score(0.36), ALL_TRIED)(measured)
    (symptom,) = symptoms(measured)
    assert "no map of the states and of the actions, which were learnt too" in symptom["sentence"]
    assert symptom["sentence"].endswith(
        "the tasks may share nothing; else try an F that has seen more, or another seed"
    )


def test_the_coordinate_that_differs_most_is_told() -> None:
    measured = deepcopy(HEALTHY)
    vectors(0.2)(measured)
    told = symptoms(measured)[0]
    assert (
        "0.20 from those of M_S by their moments, 20 times what chance makes: source[4] differs "
        "most, with mean 0.50 and deviation 0.25 in M_S, translated -0.001 and 1.23e+03;"
    ) in told["sentence"]
    assert told["command"] == "corrtool learn-corr --q agent --seed 1 && corrtool evaluate"


def test_a_part_of_the_way_is_told_with_its_games() -> None:
    measured = deepcopy(HEALTHY)
    score(0.97, transfer=62.0)(measured)
    (by_test,) = symptoms(measured)
    assert by_test["sentence"].startswith(
        "by a play test it keeps 62% of the way from random play to the agent, which the score of "
        "0.97 does not see: "
    )
    assert by_test["command"] == "corrtool learn-corr --q agent --seed 1 && corrtool evaluate"
    measured["returns"]["transfer_by"] = "evaluate"
    assert symptoms(measured)[0]["sentence"].startswith("by fresh games it keeps 62%")
    vectors(0.2)(measured)
    commands = [symptom["command"] for symptom in symptoms(measured)]
    assert len(set(commands)) == 2 and "--records 50000" in commands[1]


def test_an_agent_plays_by_its_name() -> None:
    measured = deepcopy(HEALTHY)
    measured["memories"]["target"]["play"] = "agent"
    (symptom,) = symptoms(measured)
    assert symptom["command"] == (
        "corrtool collect --task source --policy q:agent --name alike && "
        "corrtool learn-corr --q agent --source-memory alike --name alike"
    )


def test_given_actions_are_in_doubt_where_less_is_kept_and_stay_in_what_is_advised() -> None:
    def keeps(transfer: float) -> Change:
        def change(m: Measured) -> None:
            m["learnt"].update({"actions": [1, 0], "actions_given": "[1, 0]"})
            score(0.9, transfer=transfer)(m)

        return change

    assert names(keeps(95.0)) == []
    (symptom,) = named(keeps(50.0))
    assert symptom["name"] == "the actions that were given are in doubt"
    assert symptom["command"] == "corrtool learn-corr --action-map learned && corrtool evaluate"
    no_gain, in_doubt = named(keeps(0.0))
    assert "in doubt" in in_doubt["name"]
    assert "learn-corr --q agent --action-map '[1, 0]' --model more" in no_gain["command"]
    assert names(both(keeps(50.0), score(0.2))) == ["the score is low though F is good"]


def test_a_part_of_the_way_is_told_beside_an_uncertain_score_and_what_to_look_at() -> None:
    def change(m: Measured) -> None:
        score(0.98, transfer=39.0)(m)
        m["score_uncertain"] = "the training of F was cut short"

    pictures, vectors = named(change), named(both(change, of_vectors))
    for (symptom,), part in ((pictures, "colour"), (vectors, "unit")):
        assert symptom["name"] == "it keeps a part of the way"
        assert part in symptom["sentence"] and "score" not in symptom["sentence"]


def of_vectors(m: Measured) -> None:
    m["memories"]["measure"] = "moments"


def test_in_place_of_an_imported_agent_one_is_trained() -> None:
    measured = deepcopy(HEALTHY)
    agent(0.0)(measured)
    assert measured["agent"]
    measured["agent"]["longer"] = None
    assert symptoms(measured)[0]["command"] == "corrtool train-dqn"


def test_the_documentation_has_every_rule() -> None:
    text = (ROOT / "docs" / "why-not.md").read_text(encoding="utf-8")
    for rule in RULES:
        assert f"| {rule.name} | {rule.look_at} | {rule.attempt} |" in text
