"""JSON schemas of Python types: typed dictionaries, lists, dictionaries, unions and literals."""

from __future__ import annotations

import re
import types
from importlib import import_module
from typing import (
    Any,
    Literal,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

Schema = dict[str, Any]

_PLAIN = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
}
# Types that results name, whose modules they import for type checkers only.
_NAMED_LATE = {
    "ArtifactStatus": "corrtool.runs.overview",
    "EvaluateResult": "corrtool.runs.results",
    "TaskDescription": "corrtool.tasks.task",
    "PlayedGames": "corrtool.runs.overview",
    "UnfinishedRun": "corrtool.runs.overview",
}


def schema_of_results(results: list[Any]) -> Schema:
    """The schema of a value that is of one of these typed dictionaries, with ``$defs``."""
    definitions: dict[str, Schema] = {}
    found = [schema_of_value(result, definitions) for result in results]
    made = found[0] if len(found) == 1 else {"anyOf": found}
    return {**made, "$defs": dict(sorted(definitions.items()))}


def schema_of_value(
    hint: Any, definitions: dict[str, Schema] | None = None, *, optional: bool = True
) -> Schema:
    """The schema of a value of a type.

    Args:
        definitions: gets the schema of each typed dictionary that is met, by its name.
        optional: whether a type that may be None may be null: in TOML nothing is.

    Raises:
        TypeError: a type that has no schema here.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any or hint is object:
        return {}
    if hint in _PLAIN:
        return dict(_PLAIN[hint])
    if is_typeddict(hint) and definitions is not None:
        return _reference(hint, definitions)
    if origin is NotRequired:
        return schema_of_value(arguments[0], definitions)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        kinds = [kind for kind in arguments if optional or kind is not type(None)]
        return _any_of([schema_of_value(kind, definitions) for kind in kinds])
    if origin is list:
        return {"type": "array", "items": schema_of_value(arguments[0], definitions)}
    if origin is dict:
        return {
            "type": "object",
            "additionalProperties": schema_of_value(arguments[1], definitions),
        }
    raise TypeError(f"{hint} has no schema")


def _any_of(schemas: list[Schema]) -> Schema:
    """One of several; of plain types in one word."""
    if len(schemas) == 1:
        return schemas[0]
    if all(schema.keys() == {"type"} for schema in schemas):
        return {"type": [schema["type"] for schema in schemas]}
    return {"anyOf": schemas}


def _reference(declared: Any, definitions: dict[str, Schema]) -> Schema:
    """A reference to a typed dictionary, which is defined where it was not yet."""
    name = declared.__name__
    if name not in definitions:
        definitions[name] = {}  # it may name itself
        definitions[name] = _typed_dict_schema(declared, definitions)
    return {"$ref": f"#/$defs/{name}"}


def _typed_dict_schema(declared: Any, definitions: dict[str, Schema]) -> Schema:
    late = {name: getattr(import_module(module), name) for name, module in _NAMED_LATE.items()}
    hints = get_type_hints(declared, localns=late, include_extras=True)
    described = attribute_texts(declared.__doc__ or "")
    properties = {}
    for name, hint in hints.items():
        schema = schema_of_value(hint, definitions)
        properties[name] = schema | ({"description": described[name]} if name in described else {})
    # Where annotations are texts, Python counts a NotRequired one among those required.
    required = [
        name
        for name, hint in hints.items()
        if name in declared.__required_keys__ and get_origin(hint) is not NotRequired
    ]
    summary = (declared.__doc__ or "").partition("\n\n")[0]
    return {
        "type": "object",
        "description": _plain(summary),
        "properties": properties,
        "required": required,
    }


def attribute_texts(docstring: str) -> dict[str, str]:
    """What the section ``Attributes`` of a docstring says of each name."""
    section = docstring.partition("Attributes:\n")[2].partition("\n\n")[0]
    texts: dict[str, str] = {}
    for names, text in re.findall(
        r"^ {8}(\w+(?:, \w+)*): (.*(?:\n {9,}.*)*)", section, flags=re.MULTILINE
    ):
        texts |= dict.fromkeys(names.split(", "), _plain(text))
    return texts


def _plain(text: str) -> str:
    """A text of a docstring in one line, without its markup."""
    return re.sub(r":\w+:`~?([^`]*)`|``([^`]*)``", r"\1\2", " ".join(text.split()))
