"""The suite: its pairs, which command comes next, the loop, and a real one at the size ``tiny``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.commands import one_line_error, run_in_process

from corrtool.errors import UsageError
from corrtool.experiments.pairs import Pair, SourceTask, choose_pairs, load_pairs
from corrtool.project.directory import find_project
from corrtool.settings.resolve import resolve
from corrtool.settings.stages import LearnCorrSettings
from corrtool.tasks.views.registry import parse_view
from corrtool.workflows.suites.methods import METHODS, commands_of
from corrtool.workflows.suites.projects import Cell, Suite
from corrtool.workflows.suites.running import SuiteRunner, lanes_of
from corrtool.workflows.suites.suite import PlannedSuite, choose_methods
from corrtool.workflows.sweeps.engine import Engine
from corrtool.workflows.sweeps.running import Limits

CARTPOLE = SourceTask("cartpole", "CartPole-v1", "vector")
FLIPPED = Pair("cartpole/flipped", CARTPOLE, "CartPole-v1", ("scale:-1,1,-1,1",))
OTHER = Pair("cartpole/other", CARTPOLE, "CartPole-v1", control=True)
TINY = ("--preset", "tiny", "--device", "cpu")


@dataclass
class Ended:
    """A command that has ended at once."""

    code: int
    host: str = "here"

    def poll(self) -> int:
        return self.code

    def signal(self, number: int) -> None:
        raise AssertionError(number)


@dataclass
class OwnProcess:
    """An engine that runs each command before it answers, here or as ``answer`` says."""

    answer: Callable[[Sequence[str]], int] = lambda words: run_in_process(*words, "--quiet")
    slots: int = 1
    name: str = "own"
    ran: list[Sequence[str]] = field(default_factory=list)

    def submit(self, words: Sequence[str], log: Path) -> Ended:
        self.ran.append(words)
        return Ended(self.answer(words))


def runner(suite: Suite, engine: Engine, retries: int = 0) -> tuple[SuiteRunner, list[str]]:
    told: list[str] = []
    return SuiteRunner(suite, engine, Limits(retries), told.append), told


class TestPairs:
    def test_those_that_come_with_it_can_be_told_to_init(self, tmp_path: Path) -> None:
        pairs = load_pairs()
        assert len({pair.name for pair in pairs}) == len(pairs)
        assert sum(not pair.control for pair in pairs) >= 24
        for pair in pairs:
            assert pair.source.kind in ("image", "grid", "vector", "signal")
            for view in pair.views:
                parse_view(view, tmp_path)

    def test_chosen_by_their_names_or_their_sources(self) -> None:
        names = [pair.name for pair in choose_pairs(["acrobot", "cartpole/padded"])]
        assert names[0] == "cartpole/padded" and len(names) == 6
        with pytest.raises(UsageError, match="no pair 'cart'; choose from cartpole, acrobot"):
            choose_pairs(["cart"])
        with pytest.raises(UsageError, match="choose from acrobot/permuted-flipped, acrobot/ort"):
            choose_pairs(["acrobot/x"])

    def test_flags_and_words(self) -> None:
        assert FLIPPED.flags == [
            *("--source", "CartPole-v1", "--target", "CartPole-v1"),
            *("--target-view", "scale:-1,1,-1,1"),
        ]
        mode = Pair("p", CARTPOLE, "Other-v0", ("invert",), ("--target-kwarg", "mode=1"))
        assert mode.difference == "`Other-v0` `mode=1` `invert`"


def test_methods_are_chosen_and_ours_is_always_among_them() -> None:
    assert choose_methods([]) == METHODS and choose_methods(["gan"]) == ("ours", "gan")
    with pytest.raises(UsageError, match="no method 'best'"):
        choose_methods(["best"])
    (learn, _) = commands_of("cyclegan", FLIPPED)
    assert learn[learn.index("--lambda-cyc") + 1] == "10" and "mlp" in learn


@pytest.mark.parametrize("kind", ["image", "grid", "vector", "signal"])
@pytest.mark.parametrize("method", ["gan", "cyclegan", "paper"])
def test_what_a_method_learns_with_is_of_its_kind_of_states(method: str, kind: str) -> None:
    pair = Pair("p/q", SourceTask("p", "P-v0", kind), "P-v0")
    (_, *words), _ = commands_of(method, pair)
    said: dict[str, Any] = {}
    while words:
        flag = words.pop(0).removeprefix("--").replace("-", "_")
        if flag.startswith("no_"):
            said[flag.removeprefix("no_")] = False
        else:
            said[flag] = float(words[0]) if flag.startswith("lambda") else words[0]
            del words[0]
    assert said.pop("name") == f"suite-{method}"
    resolve(  # refuses what has no effect
        LearnCorrSettings, preset="default", state_kind=kind, project_values={}, given=said
    )


def test_cells_have_every_pair_before_the_next_seed(tmp_path: Path) -> None:
    planned = PlannedSuite(Suite(tmp_path), [FLIPPED, OTHER], range(2), ("ours", "gan"))
    assert [str(cell) for cell in planned.cells] == [
        "cartpole/flipped seed 0 ours",
        "cartpole/flipped seed 0 gan",
        "cartpole/other seed 0 ours",
        "cartpole/flipped seed 1 ours",
        "cartpole/flipped seed 1 gan",
        "cartpole/other seed 1 ours",
    ]
    assert [len(lane.cells) for lane in lanes_of(planned.cells)] == [3, 3]


class TestLoop:
    def test_what_all_cells_share_fails_them_all_at_once(self, tmp_path: Path) -> None:
        engine = OwnProcess(lambda words: 3)
        suite, told = runner(Suite(tmp_path), engine)
        suite.run([Cell(FLIPPED, 0, "ours"), Cell(FLIPPED, 0, "gan"), Cell(FLIPPED, 1, "ours")])
        assert [words[0] for words in engine.ran] == ["init", "init"]
        assert len(told) == 3
        assert {line.partition(" (")[0] for line in suite.failures.values()} == {
            "init: exit code 3"
        }

    def test_a_command_that_was_killed_is_tried_again_so_often(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("corrtool.workflows.suites.running.LONGEST_PAUSE_SECONDS", 0.0)
        engine = OwnProcess(lambda words: -9)
        suite, _ = runner(Suite(tmp_path), engine, retries=2)
        suite.run([Cell(FLIPPED, 0, "ours")])
        (line,) = suite.failures.values()
        assert len(engine.ran) == 3 and line.startswith("init: exit code -9 (")

    def test_commands_that_end_well_and_leave_nothing_end_too(self, tmp_path: Path) -> None:
        suite, _ = runner(Suite(tmp_path), OwnProcess(lambda words: 0))
        suite.run([Cell(FLIPPED, 0, "ours")])
        (line,) = suite.failures.values()
        assert "its games are not there" in line


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite of one pair, of which ``ours`` and ``gan`` were played."""
    root = tmp_path_factory.mktemp("suite") / "suite"
    engine = OwnProcess()
    suite, told = runner(Suite(root, TINY), engine)
    suite.run([Cell(FLIPPED, 0, "ours"), Cell(FLIPPED, 0, "gan")])
    assert suite.failures == {} and len(told) == 2
    assert [words[0] for words in engine.ran] == [
        *("init", "train-dqn", "train-model", "init", "transfer", "learn-corr", "evaluate"),
    ]
    return root


def test_a_real_one_plays_each_cell_once(made: Path) -> None:
    suite = Suite(made, TINY)
    (played,) = suite.played(FLIPPED, 0)
    assert played["score"] is not None
    players = {"source", "source_random", "random", "reuse", "ours", "gan"}
    assert played["means"].keys() == players
    engine = OwnProcess()
    again, told = runner(suite, engine)
    again.run([Cell(FLIPPED, 0, "ours"), Cell(FLIPPED, 0, "gan")])
    assert engine.ran == [] and len(told) == 2
    assert suite.next_command(Cell(FLIPPED, 0, "scratch"), []).words[:2] == (  # type: ignore[union-attr]
        *("finetune", "--from-scratch"),
    )
    pair, base = suite.project(FLIPPED, 0), suite.source_project(CARTPOLE, 0)
    assert find_project(pair).task("target").view_texts == ("scale:-1,1,-1,1",)
    q = base / "weights" / "q" / "source-dqn.safetensors"
    assert (pair / "weights" / "q" / q.name).read_bytes() == q.read_bytes()


def test_the_command_shows_and_writes_what_there_is(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "suite"
    shutil.copytree(
        made / "cartpole" / "flipped" / "seed-0", root / "cartpole" / "padded" / "seed-0"
    )
    command = ("reproduce", "suite", "-p", root, "--pairs", "cartpole/padded", "--methods", "gan")
    capsys.readouterr()
    assert run_in_process(*command, "--status", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert [cell["state"] for cell in result["cells"]] == ["done", "done"]
    assert result["files"] == [] and result["preset"] == "default"
    assert run_in_process(*command, "--dry-run") == 0
    shown = capsys.readouterr().out
    assert "2 cells: 2 done" in shown and "1 of 1" in shown and not (root / "preset.json").exists()
    assert run_in_process(*command) == 0
    assert "2 cells: 2 done" in capsys.readouterr().out
    text = (root / "suite.md").read_text(encoding="utf-8")
    assert text.startswith("# The suite, preset default\n\n2 cells: 2 done.\n")
    assert (
        "### Pairs" in text
        and "### Returns" in text
        and "| cartpole/padded | `pad:2` | 1 |" in text
    )
    assert json.loads((root / "suite.json").read_text())["played"] == result["played"]
    assert (root / "suite.png").read_bytes().startswith(b"\x89PNG")
    assert run_in_process(*command, "--preset", "tiny", "--status") == 2
    assert "was played with the preset default, not tiny" in one_line_error(capsys)
    assert run_in_process(*command[:3], root / "suite.md") == 2
    assert "is a file" in one_line_error(capsys)


def test_a_damaged_agent_is_not_copied_into_the_projects_of_other_pairs(
    made: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(made, tmp_path / "suite")
    weights = root / "cartpole" / "source-0" / "weights" / "q" / "source-dqn.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    other = Pair("cartpole/padded", CARTPOLE, "CartPole-v1", ("pad:2",))
    engine = OwnProcess()
    suite, _ = runner(Suite(root, TINY), engine)
    cell = Cell(other, 0, "ours")
    suite.run([cell])
    assert "source-0" in suite.failures[cell] and "remove it, so that it is" in suite.failures[cell]
    assert engine.ran == [] and not (root / other.name).exists()


def test_a_method_of_a_pair_that_was_transferred_elsewhere_is_played_beside_a_transfer_here(
    made: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(made, tmp_path / "suite")
    shutil.rmtree(root / FLIPPED.name / "seed-0" / "runs" / "evaluate")
    means = {"source": 500.0, "random": 20.0, "ours": 500.0}
    known: Any = {"pair": FLIPPED.name, "seed": 0, "means": means, "score": 0.9}
    suite, gan = Suite(root, TINY, (known,)), Cell(FLIPPED, 0, "gan")
    assert suite.is_done(Cell(FLIPPED, 0, "ours")) and not suite.is_done(gan)
    first = suite.next_command(gan, [])
    assert first is not None and first.words[0] == "transfer"
    then = suite.next_command(gan, [first.words])
    assert then is not None and then.words[:3] == ("learn-corr", "--name", "suite-gan")


def test_what_other_machines_have_played_is_in_the_tables_and_not_played_again(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, pair = tmp_path / "suite", "cartpole/padded"
    shutil.copytree(made / "cartpole" / "flipped" / "seed-0", root / pair / "seed-0")
    elsewhere = {"source": 500.0, "random": 20.0, "ours": 500.0, "reuse": 20.0, "paper": 260.0}
    both = [{"pair": pair, "seed": seed, "means": elsewhere, "score": 0.9} for seed in (0, 1)]
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"preset": "default", "played": both}))
    options = ("--pairs", pair, "--seeds", 2, "--methods", "gan,paper", "--known", other)
    command = ("reproduce", "suite", "-p", root, *options)
    assert run_in_process(*command, "--status", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    states = {(cell["seed"], cell["method"]): cell["state"] for cell in result["cells"]}
    assert states == {
        (0, "ours"): "done", (0, "gan"): "done", (0, "paper"): "done",
        (1, "ours"): "done", (1, "gan"): "missing", (1, "paper"): "done",
    }  # fmt: skip
    here, rest, second = result["played"]
    assert here["means"]["ours"] != 500.0  # what was played here counts
    # Beside the agent and the random play that it was played with.
    assert rest["means"] == {"source": 500.0, "random": 20.0, "paper": 260.0}
    assert second["means"] == elsewhere
    methods = {summary["method"]: summary for summary in result["methods"]}
    assert methods["paper"]["interquartile_mean"] == 0.5
    assert methods["paper"]["games_of_seeds"] == 2
    for content, said in (
        (json.dumps({"preset": "tiny", "played": []}), "was played with the preset tiny, not"),
        ("{}", "has no numbers of a suite"),
        ('{"preset": "default", "played": [{"pair": 1}]}', "has no numbers of a suite"),
    ):
        other.write_text(content)
        assert run_in_process(*command, "--status") == 2
        assert said in one_line_error(capsys)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("experiment-1", "--known", "x.json"), "--known is of the suite"),
        (("suite", "--pairs", "chess"), "there is no pair 'chess'"),
        (("suite", "--methods", "chess"), "there is no method 'chess'"),
        (("suite", "--grid"), "are not of the suite"),
        (("experiment-1", "--pairs", "cartpole"), "--pairs is of the suite"),
        (("experiment-1", "--engine", "slurm", "--cell", "1"), "--cell has no effect with --eng"),
        (("experiment-1", "--cell", "1", "--cell", "2"), "--cell is given several numbers"),
        (("suite", "--engine", "slurm", "--fail-fast"), "--fail-fast has no effect with --engine"),
        (("suite", "--slurm", "mem_gb=8"), "--slurm has no effect"),
        (("experiment-1", "--ray-address", "auto"), "--ray-address has no effect"),
    ],
)
def test_wrong_usage(
    words: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_in_process("reproduce", *words, "-p", tmp_path / "x") == 2
    assert said in one_line_error(capsys)
    assert not (tmp_path / "x").exists()
