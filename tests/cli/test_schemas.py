"""The JSON schemas: made from the types, true of what is printed, and of ``corrtool.toml``."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

import jsonschema
import pytest
import typer.main
from support.commands import run_in_process
from support.schemas import check_result, shipped

from corrtool.cli import build_app
from corrtool.cli.schemas import RESULTS, schemas, text_of
from corrtool.cli.type_schemas import attribute_texts, schema_of_results, schema_of_value
from corrtool.errors import UsageError
from corrtool.project.directory import Project
from corrtool.settings.base import PRESETS
from corrtool.settings.resolve import load_preset, resolve
from corrtool.settings.stages import STAGE_SETTINGS

SHIPPED = Path(__file__).parents[2] / "corrtool" / "schemas"
TINY = ("--preset", "tiny", "--device", "cpu")


def test_the_schemas_have_not_drifted() -> None:
    files = {path.name.removesuffix(".schema.json"): path for path in SHIPPED.glob("*.json")}
    made = schemas()
    assert files.keys() == made.keys()
    for name, schema in made.items():
        assert files[name].read_text(encoding="utf-8") == text_of(schema), (
            "run: python -m corrtool.cli.schemas corrtool/schemas"
        )
        jsonschema.Draft202012Validator.check_schema(schema)


def with_json(command: Any, words: tuple[str, ...] = ()) -> Iterator[str]:
    """The words of each command that has ``--json``."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from with_json(inner, (*words, name))
    if any("--json" in parameter.opts for parameter in command.params):
        yield " ".join(words)


def test_every_command_that_prints_json_has_a_schema() -> None:
    assert {*with_json(typer.main.get_command(build_app()))} == RESULTS.keys()


class Point(TypedDict):
    """A point, as :class:`Plane` has them; ``x`` is first.

    Attributes:
        x, y: where it is, in units
            of the plane.
        colour: its colour.
    """

    x: float
    y: int | None
    colour: NotRequired[Literal["red", "blue"]]
    below: NotRequired[list[Point]]


def test_a_typed_dictionary_by_hand() -> None:
    where = "where it is, in units of the plane."
    assert schema_of_results([Point]) == {
        "$ref": "#/$defs/Point",
        "$defs": {
            "Point": {
                "type": "object",
                "description": "A point, as Plane has them; x is first.",
                "properties": {
                    "x": {"type": "number", "description": where},
                    "y": {"type": ["integer", "null"], "description": where},
                    "colour": {"enum": ["red", "blue"], "description": "its colour."},
                    "below": {"type": "array", "items": {"$ref": "#/$defs/Point"}},
                },
                "required": ["x", "y"],
            }
        },
    }


def test_values_by_hand() -> None:
    assert schema_of_value(int | None, optional=False) == {"type": "integer"}
    assert schema_of_value(dict[str, Any]) == {"type": "object", "additionalProperties": {}}
    assert schema_of_value(Literal["a"] | None) == {"anyOf": [{"enum": ["a"]}, {"type": "null"}]}
    assert attribute_texts("No section.") == {}
    with pytest.raises(TypeError, match="has no schema"):
        schema_of_value(set[int])


PROJECT = """
[source]
id = "CartPole-v1"

[target]
id = "CartPole-v1"
views = ["permute:2,3,0,1"]
kwargs = { render_mode = "rgb_array" }
preprocessing = { max_episode_steps = 500, repeat_action_probability = 0 }

[defaults]
seed = 1
device = "cpu"
preset = "tiny"

[learn-corr]
lambda-m = 100
lambda_q = 0.5
generator = "linear"
source-memory = "source-dqn-random"
"""


def project_file_errors(text: str) -> list[str]:
    validator = jsonschema.Draft202012Validator(shipped("corrtool"))
    return [error.message for error in validator.iter_errors(tomllib.loads(text))]


def test_a_project_file_that_corrtool_reads_is_valid(tmp_path: Path) -> None:
    assert project_file_errors(PROJECT) == []
    (tmp_path / "corrtool.toml").write_text(PROJECT)
    values = Project(tmp_path).stage_values("learn-corr")
    resolve(
        STAGE_SETTINGS["learn-corr"],
        preset="tiny",
        state_kind="vector",
        project_values=values,
        given={},
    )


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("learn-corr", "lambda-m = -1"),
        ("learn-corr", 'lambda-m = "1"'),
        ("learn-corr", "lambda-z = 1"),
        ("learn-corr", 'generator = "magic"'),
        ("train-dqn", "env-steps = 1.5"),
        ("train-dqn", "env_steps = 0"),
        ("evaluate", "games = true"),
    ],
)
def test_what_corrtool_refuses_is_invalid(section: str, line: str) -> None:
    tasks = '[source]\nid = "A"\n[target]\nid = "A"\n'
    text = f"{tasks}[{section}]\n{line}\n"
    assert project_file_errors(tasks) == []
    assert len(project_file_errors(text)) == 1
    with pytest.raises(UsageError):
        resolve(
            STAGE_SETTINGS[section],
            preset="default",
            state_kind="vector",
            project_values=tomllib.loads(text)[section],
            given={},
        )


def test_a_project_file_needs_both_tasks() -> None:
    assert project_file_errors('[source]\nid = "A"\n') == ["'target' is a required property"]
    (error,) = project_file_errors('[source]\nid = "A"\n[target]\nid = "A"\nspeed = 1\n')
    assert "'speed' was unexpected" in error


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_say_what_a_project_file_may_say(preset: str) -> None:
    validator = jsonschema.Draft202012Validator(shipped("corrtool"))
    tables: dict[str, Any] = {"source": {"id": "A"}, "target": {"id": "A"}}
    for stage, section in load_preset(preset).items():
        for values in (section, *(of for of in section.values() if isinstance(of, dict))):
            plain = {name: of for name, of in values.items() if not isinstance(of, dict)}
            validator.validate({**tables, stage: plain})


def test_what_is_printed_is_what_the_schemas_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = tmp_path / "lab"

    def check(command: str, *arguments: object) -> Any:
        assert run_in_process(command, *arguments, "--json") == 0
        return check_result(command, capsys.readouterr().out)

    check("init", lab, "--source", "CartPole-v1", "--target-view", "scale:-1,1,1,1")
    assert project_file_errors((lab / "corrtool.toml").read_text()) == []
    here = ("-p", lab)
    assert check("transfer", *here, *TINY, "--dry-run")["dry_run"]
    check("train-dqn", *here, *TINY, "--dry-run")
    for stage in ("train-dqn", "collect", "train-model", "learn-corr", "evaluate", "finetune"):
        check(stage, *here, *TINY)
    grid = ("learn-corr", *here, *TINY, "--grid", "lambda_q=0,1", "--name", "s")
    check("sweep", *grid, "--dry-run")
    check("transfer", *here, *TINY)
    check("explain", *here, "--device", "cpu")
    assert check("status", *here)["evaluations"]
    for command in ("verify", "report", "doctor"):
        check(command, *here)


def test_a_field_that_no_schema_names_would_be_noticed() -> None:
    printed = {"artifacts": 1, "whole": 1, "damaged": [], "not_ours": []}
    assert check_result("verify", json.dumps(printed)) == printed
    jsonschema.validate(printed | {"later": 1}, shipped("verify"))
    with pytest.raises(jsonschema.ValidationError, match="'later' was unexpected"):
        check_result("verify", json.dumps(printed | {"later": 1}))
    with pytest.raises(jsonschema.ValidationError, match="'whole' is a required property"):
        jsonschema.validate({"artifacts": 1, "damaged": [], "not_ours": []}, shipped("verify"))


def test_a_reproduction_prints_what_its_schema_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--cell", "rotation-model", "--preset", "tiny", "--device", "cpu", "--dry-run")
    lab = tmp_path / "lab"
    assert run_in_process("reproduce", "experiment-2", "-p", lab, *flags, "--json") == 0
    assert check_result("reproduce", capsys.readouterr().out)["cells"]
