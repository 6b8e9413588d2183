"""The record of each stage says what its function takes."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module

import pytest

from corrtool.project.artifacts import KINDS
from corrtool.settings.stages import MADE_BY, STAGE_INPUTS, STAGE_SETTINGS
from corrtool.stages.registry import STAGES, Stage


def test_there_is_one_for_each_settings_class() -> None:
    assert list(STAGES) == list(STAGE_SETTINGS) == list(STAGE_INPUTS)
    assert all(stage.settings.stage == name for name, stage in STAGES.items())


def test_every_kind_is_made_by_a_stage() -> None:
    assert MADE_BY == {
        "memory": "collect",
        "q": "train-dqn",
        "model": "train-model",
        "corr": "learn-corr",
    }
    assert MADE_BY.keys() == {*KINDS}


@pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: stage.name)
def test_its_function_takes_its_inputs_and_options(stage: Stage) -> None:
    module, _, name = stage.function.partition(":")
    parameters = inspect.signature(getattr(import_module(module), name)).parameters.values()
    taken = {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
    said = dict.fromkeys(stage.inputs)
    assert taken == said | {option.name: option.default for option in stage.options}


def test_listing_them_imports_neither_torch_nor_settings() -> None:
    code = (
        "import sys; from corrtool.stages.registry import STAGES; list(STAGES); "
        "assert not {'torch', 'numpy', 'corrtool.settings.base'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
