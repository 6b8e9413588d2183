"""``explain`` of real, tiny projects: of vectors and of small pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import pytest
from support.commands import one_line_error, run_in_process

import corrtool
from corrtool.errors import ArtifactError
from corrtool.project.artifacts import read_artifact
from corrtool.reporting.symptoms import symptoms

TINY = ("--preset", "tiny", "--device", "cpu", "--quiet")
PLANES = ["--source-kwarg", "shape=[10, 10, 4]", "--source-kwarg", "dtype=bool"]
PARTS = {
    *("correspondence", "inputs", "absent", "agent", "learnt", "losses", "score"),
    *("score_uncertain", "blindness", "memories", "actions", "returns", "linear_map"),
    *("symptoms", "files"),
}


def make(lab: Path, *init: str, learn_corr: tuple[str, ...] = ()) -> Path:
    assert run_in_process("init", lab, *init, "--quiet") == 0
    for stage in ("train-dqn", "collect", "train-model"):
        assert run_in_process(stage, "-p", lab, *TINY) == 0
    assert run_in_process("learn-corr", "-p", lab, *TINY, *learn_corr) == 0
    return lab


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lab = tmp_path_factory.mktemp("explain") / "cartpole"
    return make(lab, "--source", "CartPole-v1", "--target-view", "permute:2,3,0,1")


@pytest.fixture
def lab(made: Path, tmp_path: Path) -> Path:
    """A copy of a CartPole project."""
    return shutil.copytree(made, tmp_path / "lab")


def explained(capsys: pytest.CaptureFixture[str], lab: Path, *more: str) -> Any:
    capsys.readouterr()
    assert run_in_process("explain", "-p", lab, "--json", "--device", "cpu", *more) == 0
    return json.loads(capsys.readouterr().out)


def test_vectors(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = explained(capsys, lab)
    name = told["correspondence"]
    assert set(told) == PARTS
    assert told["inputs"] == {
        "source_memory": "memory source-dqn-random",
        "target_memory": "memory target-random",
        "q": "Q-function source-dqn",
        "model": "environment model source-dqn",
    }
    assert told["losses"]["gradient_steps"] == 40 and told["losses"]["terms"]["gan"] > 0
    artifact = next(a for a in corrtool.open_project(lab).artifacts() if a["name"] == name)
    assert told["score"] == artifact["summary"]["score"]
    for part in ("source", "translated"):
        blind = told["blindness"][part]
        assert len(blind["by_action"]) == 2 and len(blind["by_place"]) == 4
        assert sum(at["share"] for at in blind["by_place"]) == pytest.approx(1)
    assert told["memories"]["measure"] == "moments"
    assert told["memories"]["distance_of_nothing"] is None
    most = told["memories"]["most_unlike"]
    assert 0 <= most["coordinate"] < 4 and most["source_deviation"] > 0
    longer = told["agent"]["longer"]
    known = {"name": "source-dqn", "env_steps": 600, "longer": longer, "cut": False}
    assert told["agent"] == known
    assert "train-dqn" in longer and "--name source-dqn --extend --env-steps" in longer
    assert told["returns"]["agent_by"] == "training"
    assert told["learnt"]["actions"] == [0, 1]
    assert told["learnt"]["seed"] == 0 and told["learnt"]["generator"] is not None
    assert len(told["linear_map"]["weight"]) == len(told["linear_map"]["shift"]) == 4
    assert told["returns"]["source_random"] > 8  # even a pole that nobody holds
    assert not told["blindness"]["cut"]
    assert told["memories"]["target"]["play"] == "random"
    assert told["actions"]["map_in_use"] == [0, 1]
    assert told["files"] == [
        f"report/explain/{name}/explanation.json", f"report/explain/{name}/action-matrix.png",
    ]  # fmt: skip
    assert json.loads((lab / told["files"][0]).read_text()) == told
    assert explained(capsys, lab) == told  # nothing in it is by chance
    assert corrtool.open_project(lab).explain(device="cpu") == told
    assert explained(capsys, lab, f"{name}-last")["correspondence"] == f"{name}-last"


def test_evaluated_games_of_the_agent_on_its_own_task(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fresh games rather than training, which an imported agent has not; those with noise not."""
    trained = explained(capsys, lab)["returns"]["agent"]
    play = ("evaluate", "-p", lab, *TINY, "--no-corr", "--games")
    assert run_in_process(*play, "3") == 0  # of the target: another task
    for noise in ("--repeat-action-probability", "--epsilon"):
        assert run_in_process(*play, "3", "--task", "source", noise, "0.5") == 0
    assert explained(capsys, lab)["returns"]["agent"] == trained
    for games in ("3", "4"):
        assert run_in_process(*play, games, "--task", "source", "--json") == 0
        fresh = json.loads(capsys.readouterr().out)
        returns = explained(capsys, lab)["returns"]
        assert returns["agent"] == fresh["mean_return"] != trained
        assert returns["agent_by"] == "evaluate"
    assert run_in_process(*play, "1", "--task", "source") == 0  # such as for a video
    assert explained(capsys, lab)["returns"]["agent"] == fresh["mean_return"]
    (lab / "runs" / "evaluate" / fresh["name"] / "run.json").write_text("{}")
    assert explained(capsys, lab)["returns"]["agent"] not in (fresh["mean_return"], trained)


def test_fresh_games_come_before_play_tests(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the players beside those with the seed of the games through the correspondence."""
    returns = explained(capsys, lab)["returns"]
    by = ("random_by", "reuse_by", "transfer_by")
    assert [returns[name] for name in by] == ["memory", "play test", "play test"]

    def play(*how: object) -> float:
        capsys.readouterr()
        assert run_in_process("evaluate", "-p", lab, *TINY, "--json", "--games", 3, *how) == 0
        return float(json.loads(capsys.readouterr().out)["mean_return"])

    random = play("--policy", "random")
    play("--policy", "random", "--seed", 7)
    reuse, transfer = play("--no-corr"), play()
    returns = explained(capsys, lab)["returns"]
    assert [returns[name] for name in ("random", "reuse", "transfer")] == [random, reuse, transfer]
    assert [returns[name] for name in by] == ["evaluate"] * 3


def test_the_commands_that_it_advises_lead_to_another_correspondence(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of more records; as they are told, but for the sizes of the preset."""
    told = explained(capsys, lab)
    told["score"]["value"], told["score_uncertain"] = 0.99, None
    told["returns"] |= {"transfer": 10.0, "random": 9.0, "reuse": 11.0, "agent": 100.0}
    (advice,) = (s for s in symptoms(told) if s["name"] == "no gain though the score is high")
    for command in advice["command"].replace("--records 50000", "--records 200").split(" && "):
        program, *arguments = command.split()
        assert program == "corrtool"
        assert run_in_process(*arguments, "-p", lab, *TINY) == 0, command
    inputs = explained(capsys, lab, "more")["inputs"]
    assert inputs["model"] == "environment model more"
    assert inputs["source_memory"] == "memory source-dqn-random"  # as random play as M_T
    model = read_artifact(lab, "model", "more").manifest
    assert model["parents"]["source_memory"]["name"] == "more"


def test_lines_for_people_end_with_what_to_try(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run_in_process("explain", "-p", lab, "--device", "cpu") == 0
    out = capsys.readouterr().out
    assert "the map that was learnt:\n  source[0] = " in out and "\n  source[3] = " in out
    numbers = out.split("Mean returns are of")[0].splitlines()
    assert len(numbers) > 12 and all(line.count(":") == 1 for line in numbers)
    assert "\nthe actions: each of the target is the source's of the same number\n" in out
    assert "score: " in out and "  try: corrtool train-model --gradient-steps 80" in out


def test_small_pictures_have_sheets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CORRTOOL_TRUST", "odd_environments")
    short = {"TRAIN_DQN_ENV": 240, "TRAIN_MODEL_GRADIENT": 4, "LEARN_CORR_GRADIENT": 4}
    for stage, steps in short.items():
        monkeypatch.setenv(f"CORRTOOL_{stage}_STEPS", str(steps))
    source = ["--source", "odd_environments:Picture-v0", *PLANES, "--source-kwarg", "high=1"]
    lab = make(tmp_path / "lab", *source, "--target-view", "channels:3,1,0,2")
    told = explained(capsys, lab)
    assert len(told["blindness"]["source"]["by_place"]) == 16
    assert told["memories"]["measure"] == "mean frames"
    assert told["memories"]["distance_of_nothing"] > 0
    assert told["memories"]["most_unlike"] is None
    sheets = [name for name in told["files"] if name.endswith(".png")]
    assert [Path(name).name for name in sheets] == [
        "action-matrix.png", "worst-of-source.png", "worst-translated.png",
    ]  # fmt: skip
    for name in sheets:
        picture = cv2.imread(str(lab / name))
        assert picture is not None and picture.std() > 0
    assert run_in_process("report", "-p", lab, "--json", "--quiet") == 0
    report = json.loads(capsys.readouterr().out)
    page = (lab / "report" / "report.html").read_text(encoding="utf-8")
    assert report["explained"] == told["correspondence"]
    assert "report/action-matrix.png" in report["figures"]
    assert f"Why {told['correspondence']} transfers or not" in page
    assert "row 1 of 4, column 1 of 4" in page


def test_how_it_was_learnt(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ("--generator", "linear", "--action-map", "learned", "--name", "own")
    assert run_in_process("learn-corr", "-p", lab, *TINY, *more, "--seed", "3") == 0
    learnt = explained(capsys, lab)["learnt"]
    assert sorted(learnt.pop("actions")) in ([0, 0], [0, 1], [1, 1])
    assert learnt.pop("discriminator_filters") > 0
    assert learnt == {
        "seed": 3, "generator": "linear", "generators_untried": ["mlp"],
        "actions_given": None, "actions_learned": True, "actions_tried": True,
        "search_cut": False,
    }  # fmt: skip


def test_without_f_and_run_it_tells_the_rest(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    less = ("--lambda-m", "0", "--name", "plain")
    assert run_in_process("learn-corr", "-p", lab, *TINY, *less) == 0
    shutil.rmtree(lab / "runs" / "learn-corr" / "plain")
    told = explained(capsys, lab)
    assert told["correspondence"] == "plain"
    assert [part for part in sorted(PARTS) if told[part] is None] == [
        "actions", "blindness", "losses", "score", "score_uncertain",
    ]  # fmt: skip
    assert told["memories"]["distance"] > 0


def test_it_says_that_an_agent_was_replaced(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = explained(capsys, lab)
    (q,) = (name.removeprefix("Q-function ") for use, name in told["inputs"].items() if use == "q")
    assert told["absent"] == {}
    assert run_in_process("train-dqn", "-p", lab, *TINY, "--seed", 5, "--name", "other") == 0
    (lab / "weights" / "q" / "other.safetensors").rename(lab / "weights" / "q" / f"{q}.safetensors")
    told = explained(capsys, lab, told["correspondence"])
    assert told["absent"] == {"q": f"Q-function {q}, which is another by now"}
    assert "q" not in told["inputs"]
    (lab / "weights" / "q" / f"{q}.safetensors").unlink()
    assert run_in_process("explain", told["correspondence"], "-p", lab) == 0
    out = capsys.readouterr().out
    assert f"Q_S: left out (learnt with Q-function {q}, which is no longer here)" in out
    assert f"its inputs have changed: it was learnt with Q-function {q}, which is no longer" in out
    assert "try: corrtool learn-corr --name anew" in out


def test_a_score_that_is_missing_is_found(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of correspondences that are older than scores."""
    from corrtool.workflows import explain

    said = corrtool.open_project(lab).explain(device="cpu")["score"]
    monkeypatch.setattr(explain, "_is_score", lambda said: False)
    found = corrtool.open_project(lab).explain(device="cpu")["score"]
    assert said is not None and found is not None
    assert found["source_model_loss"] == pytest.approx(said["source_model_loss"], rel=0.2)


def test_a_memory_that_is_gone_is_named(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(lab / "memories" / "target-random.zarr")
    assert (
        run_in_process(
            "collect", "-p", lab, *TINY, "--seed", 5, "--name", "target-random", "--overwrite"
        )
        == 0
    )
    capsys.readouterr()
    assert run_in_process("explain", "-p", lab, "--quiet") == 3
    assert "memory target-random, which is another by now" in one_line_error(capsys)
    shutil.rmtree(lab / "memories" / "target-random.zarr")
    capsys.readouterr()
    assert run_in_process("explain", "-p", lab, "--quiet") == 3
    assert "memory target-random, which is gone or damaged" in one_line_error(capsys)
    with pytest.raises(ArtifactError, match="target-random"):
        corrtool.open_project(lab).explain()
    assert run_in_process("report", "-p", lab, "--json") == 0  # and says why on its page
    assert json.loads(capsys.readouterr().out)["explained"] is None
    page = (lab / "report" / "report.html").read_text(encoding="utf-8")
    assert "which is gone or damaged" in page


def test_a_project_without_a_correspondence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = tmp_path / "lab"
    assert run_in_process("init", lab, "--source", "CartPole-v1", "--quiet") == 0
    capsys.readouterr()
    assert run_in_process("explain", "-p", lab, "--quiet") == 3
    assert "make it with 'corrtool learn-corr'" in one_line_error(capsys)
