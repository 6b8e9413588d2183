"""Which runs share a cell of the report: those that differ in their seed only."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

from corrtool.project.manifests import Reference
from corrtool.reporting.cells import correspondence_label, make_cells
from corrtool.reporting.finished import FinishedRun
from corrtool.runs.records import RunRecord
from corrtool.runs.results import LearnCorrResult

Learnt: TypeAlias = FinishedRun[LearnCorrResult]


def learnt(seed: int, q: str | None, sha256: str = "", name: str = "", **settings: Any) -> Learnt:
    parents: dict[str, Reference] = {}
    if q is not None:
        parents["q"] = {"kind": "q", "name": q, "sha256": sha256 or q}
    record: RunRecord = {
        "settings": settings,
        "seed": seed,
        "created": str(seed),
        "parents": parents,
    }
    return FinishedRun("learn-corr", name or f"c-seed{seed}", Path(), record)


def cells(*runs: Learnt) -> list[tuple[str, list[int]]]:
    return [(cell.label, cell.seeds) for cell in make_cells([*runs], lambda run: "resnet")]


def test_seeds_with_one_agent_share_a_cell() -> None:
    assert cells(learnt(1, "a"), learnt(0, "a")) == [("resnet", [0, 1])]
    assert cells(learnt(0, None), learnt(1, None)) == [("resnet", [0, 1])]
    assert cells(learnt(0, "a", "1"), learnt(1, "renamed", "1")) == [("resnet", [0, 1])]


def test_seeds_with_different_agents_are_cells_of_their_own() -> None:
    assert cells(learnt(0, "a"), learnt(1, "b"), learnt(2, "a")) == [
        ("resnet, learnt with Q a", [0, 2]),
        ("resnet, learnt with Q b", [1]),
    ]
    assert cells(learnt(0, "a"), learnt(1, None)) == [
        ("resnet, learnt with Q a", [0]),
        ("resnet, learnt without Q", [1]),
    ]


def test_agents_of_one_name_are_told_by_what_they_are() -> None:
    assert cells(learnt(0, "a", "0123456789"), learnt(1, "a", "abcdefghij")) == [
        ("resnet, learnt with Q a 01234567", [0]),
        ("resnet, learnt with Q a abcdefgh", [1]),
    ]


def test_settings_and_agents_can_both_differ() -> None:
    assert cells(learnt(0, "a", norm="batch"), learnt(1, "b", norm="instance")) == [
        ("resnet, norm batch, learnt with Q a", [0]),
        ("resnet, norm instance, learnt with Q b", [1]),
    ]
    assert cells(learnt(0, "a", norm="batch"), learnt(1, "a", norm="instance")) == [
        ("resnet, norm batch", [0]),
        ("resnet, norm instance", [1]),
    ]


def test_a_setting_that_is_newer_than_a_run_has_its_default_there() -> None:
    assert cells(learnt(0, "a"), learnt(1, "a", action_map="identity")) == [("resnet", [0, 1])]
    assert cells(learnt(0, "a"), learnt(1, "a", action_map="[1, 0]")) == [
        ("resnet, action-map identity", [0]),
        ("resnet, action-map [1, 0]", [1]),
    ]


def test_a_map_of_the_actions_that_was_given_is_in_the_label() -> None:
    def label(action_map: str) -> str:
        run = learnt(0, "a", action_map=action_map)
        run.record["result"] = {"recipe": "linear"}  # type: ignore[typeddict-unknown-key]
        return correspondence_label(run)

    assert label("[3, 0, 2, 1]") == "linear (--recipe auto), --action-map [3, 0, 2, 1]"
    assert {label(found) for found in ("auto", "learned", "identity")} == {"linear (--recipe auto)"}


def test_time_to_learn_in_is_no_label() -> None:
    """What a budget left says nothing of what was learnt: names tell such runs apart."""
    quick, slow = learnt(0, "a", name="auto", max_minutes=1.0), learnt(1, "a", name="new")
    assert cells(quick, slow) == [("resnet, auto", [0]), ("resnet, new", [1])]
    other = learnt(2, "a", name="batch", norm="batch", max_minutes=2.0)
    made = make_cells([quick, slow, other], lambda run: "resnet")
    assert [(cell.called, cell.how, cell.label) for cell in made] == [
        ("auto", "resnet, norm instance", "resnet, norm instance, auto"),
        ("new", "resnet, norm instance", "resnet, norm instance, new"),
        ("batch", "resnet, norm batch", "resnet, norm batch"),
    ]


def test_a_cell_is_called_as_what_its_runs_made() -> None:
    by_seed = [learnt(0, "a", name="auto"), learnt(1, "a", name="auto-seed1")]
    for runs, called in (
        (by_seed, "auto"),
        (by_seed[1:], "auto-seed1"),
        ([*by_seed, learnt(2, "a", name="s2")], "auto, auto-seed1, s2"),
    ):
        (cell,) = make_cells([*runs], lambda run: "resnet")
        assert cell.called == called


def test_a_cell_has_the_names_of_its_runs_where_seeds_do_not_tell_them() -> None:
    by_seed = [learnt(0, "a", name="auto"), learnt(1, "a", name="auto-seed1")]
    (cell,) = make_cells(by_seed, lambda run: "resnet")
    assert cell.names == []
    (cell,) = make_cells([*by_seed, learnt(2, "a", name="s2")], lambda run: "resnet")
    assert cell.names == ["auto", "auto-seed1", "s2"]
