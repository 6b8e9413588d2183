"""The JSON schemas that corrtool ships, as tests use them: what they do not name is an error."""

from __future__ import annotations

import copy
import json
from importlib import resources
from typing import Any

import jsonschema


def shipped(name: str) -> Any:
    """A schema of the installed package."""
    path = resources.files("corrtool") / "schemas" / f"{name}.schema.json"
    return json.loads(path.read_text(encoding="utf-8"))


def closed(schema: Any) -> Any:
    """The schema with objects that have no more than it names, as a test of this version wants."""
    made = copy.deepcopy(schema)
    for definition in made.get("$defs", {}).values():
        definition.setdefault("additionalProperties", False)
    return made


def check_result(command: str, printed: str) -> Any:
    """What a command printed with ``--json``, which is an object that its schema describes."""
    result = json.loads(printed)
    schema = closed(shipped(command))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(result)
    return result
