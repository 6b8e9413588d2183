"""What the six stages print and leave, held against what they did before.

Also a project that an older corrtool left. Digests of weights hold on one processor only:
`python tests/golden/compare.py COMMIT` compares them with another commit's.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest
from chain import STAGES, run_chain, shape_of_record
from make_kept_project import INTERRUPTED
from support.commands import run_in_process

from corrtool.correspondence import start_search

HERE = Path(__file__).parent
GOLDEN = HERE / "golden.json"
KEPT = HERE / "kept-646d25c.tar.gz"
TINY = ("--preset", "tiny", "--device", "cpu")
SINCE = {
    "train-dqn": ("--random-records", "0", "--clip-rewards"),
    "evaluate": ("--lanes", "32"),
}  # what is new since


def run(*arguments: str) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert run_in_process(*arguments) == 0
    return printed.getvalue()


def test_results_artifacts_and_metrics_are_those_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`GOLDEN_WRITE=1 pytest tests/golden` stores what they are now.

    Look at the difference before committing it.
    """
    monkeypatch.setattr(start_search, "TURNED_TRANSITIONS", 16)  # a third of the time
    found = shape_of_record(run_chain(tmp_path, run))
    if "GOLDEN_WRITE" in os.environ:
        GOLDEN.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    assert found == json.loads(GOLDEN.read_text())


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    with tarfile.open(KEPT) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


@pytest.mark.parametrize("pair", ["pong", "cartpole"])
def test_a_project_of_an_older_version_is_whole_and_finished(kept: Path, pair: str) -> None:
    lab = kept / pair
    assert json.loads(run("verify", "-p", str(lab), "--json"))["damaged"] == []
    states = {
        artifact["state"]
        for artifact in json.loads(run("status", "-p", str(lab), "--json"))["artifacts"]
    }
    assert states == {"whole"}
    for stage in STAGES:
        asked = (*TINY, *SINCE.get(stage, ()))
        plan = json.loads(run(stage, "-p", str(lab), *asked, "--dry-run", "--json"))
        assert plan["done"], stage


@pytest.mark.parametrize("stage", INTERRUPTED)
def test_what_an_older_version_began_goes_on(
    kept: Path, stage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    lab = kept / "cartpole"
    metrics = lab / "runs" / stage / "interrupted" / "metrics.jsonl"
    before = metrics.read_text()
    asked = (*TINY, *SINCE.get(stage, ()))
    arguments = (stage, "-p", str(lab), *asked, *INTERRUPTED[stage], "--name", "interrupted")
    assert json.loads(run(*arguments, "--dry-run", "--json"))["begun"]
    run(*arguments)
    assert "resuming at" in capfd.readouterr().err
    assert metrics.read_text().startswith(before[: before.rindex("{")])
    assert json.loads(run("verify", "-p", str(lab), "--json"))["damaged"] == []
