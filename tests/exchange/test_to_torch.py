"""Agents as programs of ``torch.export``."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest
import torch
from support.agents import ACTION_MAP, AGENTS, raw_states, small_agent
from support.commands import run_python

from corrtool.exchange.played_values import compare
from corrtool.exchange.to_torch import to_torch, torch_runner


@pytest.mark.parametrize("name", AGENTS)
def test_the_values_are_the_same_with_any_batch(name: str) -> None:
    network, _ = small_agent(name, ACTION_MAP)
    _, run = torch_runner(to_torch(network, {}))
    states = raw_states(network.spec)
    assert compare(run, network, states).relative < 1e-5
    assert run(states[:3]).shape == (3, 5)


LOAD = """
import json, sys, torch
metadata = {{"corrtool.json": ""}}
program = torch.export.load({path!r}, extra_files=metadata)
assert not any(name.startswith("corrtool") for name in sys.modules)
values = program.module()(torch.ones(5, 6)).tolist()
print(json.dumps([values, json.loads(metadata["corrtool.json"])]))
"""


def test_it_is_loaded_without_corrtool(tmp_path: Path) -> None:
    network, _ = small_agent("linear", ACTION_MAP)
    path = tmp_path / "agent.pt2"
    path.write_bytes(to_torch(network, {"q": "mine"}))
    done = run_python(LOAD.format(path=str(path)))
    assert done.returncode == 0, done.stderr
    values, metadata = json.loads(done.stdout)
    torch.testing.assert_close(torch.tensor(values), network(torch.ones(5, 6)))
    assert metadata == {"q": "mine"}


def test_nothing_in_it_is_pickled() -> None:
    network, _ = small_agent("linear")
    with zipfile.ZipFile(io.BytesIO(to_torch(network, {}))) as archive:
        contents = [archive.read(name) for name in archive.namelist()]
    assert not any(content.startswith((b"\x80", b"PK")) for content in contents)
