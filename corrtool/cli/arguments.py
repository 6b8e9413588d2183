"""The keyword arguments of each stage as types, ``corrtool/arguments.py``.

``python -m corrtool.cli.arguments``.

Made from the settings, as ``--help`` and docs/cli.md are, so that editors complete them and type
checkers check them.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from corrtool.settings.common import LEARNING_OPTIONS, CommonOptions
from corrtool.settings.preprocessing import Preprocessing
from corrtool.stages.registry import STAGES, Stage

LINE_LENGTH = 100

_HEAD = '''\
"""The keyword arguments of each stage as types; see docs/cli.md or ``corrtool STAGE --help``.

Made from the settings by `python -m corrtool.cli.arguments > corrtool/arguments.py`; a test fails
when it drifts.
"""

from __future__ import annotations

from os import PathLike
from typing import Literal, TypedDict

from corrtool.settings.base import Preset
from corrtool.settings.generators import Generator
'''


def arguments() -> str:
    """The whole module as text."""
    common = _kinds_of(CommonOptions)
    parts = [
        _HEAD,
        _typed_dict("PreprocessingArguments", "TypedDict", _kinds_of(Preprocessing)),
        _typed_dict(
            "CommonArguments",
            "TypedDict",
            {n: kind for n, kind in common.items() if n not in LEARNING_OPTIONS},
        ),
        _typed_dict(
            "LearningArguments",
            "CommonArguments",
            {name: common[name] for name in LEARNING_OPTIONS},
        ),
    ]
    for stage in STAGES.values():
        base = "LearningArguments" if stage.learns else "CommonArguments"
        parts.append(_typed_dict(class_name(stage), base, _kinds(stage)))
    return "\n\n".join(parts)


def class_name(stage: Stage) -> str:
    """``train-dqn`` → ``TrainDqnArguments``."""
    return stage.name.title().replace("-", "") + "Arguments"


def _kinds(stage: Stage) -> dict[str, str]:
    """The types of a stage's own arguments, as written."""
    kinds = dict.fromkeys(stage.inputs, "str | None")
    kinds |= {
        option.name: "bool" if option.kind is bool else "str | PathLike[str] | None"
        for option in stage.options
    }
    return kinds | _kinds_of(stage.settings)


def _kinds_of(declared: Any) -> dict[str, str]:
    """The types of a dataclass's fields, as written."""
    return {field.name: str(field.type).replace("'", '"') for field in dataclasses.fields(declared)}


def _typed_dict(name: str, base: str, kinds: dict[str, str]) -> str:
    lines = "".join(f"{_annotation(argument, kind)}\n" for argument, kind in kinds.items())
    return f"class {name}({base}, total=False):\n{lines}"


def _annotation(argument: str, kind: str) -> str:
    """Return one line of a class, broken as the formatter breaks it where it is too long."""
    line = f"    {argument}: {kind}"
    if len(line) <= LINE_LENGTH:
        return line
    head, _, rest = line.partition("[")
    items = rest.removesuffix("]")
    if len(f"        {items}") > LINE_LENGTH:
        items = items.replace(", ", ",\n        ") + ","
    return f"{head}[\n        {items}\n    ]"


if __name__ == "__main__":
    print(arguments(), end="")
