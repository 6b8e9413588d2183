"""JSON schemas of ``corrtool.toml`` and of what each ``--json`` prints, ``corrtool/schemas/``.

``python -m corrtool.cli.schemas corrtool/schemas``. Made from the settings and from the types of
the results, draft 2020-12. A result may have more than its schema says: later versions add fields.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

from corrtool.cli.type_schemas import Schema, schema_of_results, schema_of_value
from corrtool.settings.base import former_names
from corrtool.settings.common import CommonOptions
from corrtool.settings.preprocessing import Preprocessing
from corrtool.settings.stages import STAGE_SETTINGS, TASK_ROLES

DRAFT = "https://json-schema.org/draft/2020-12/schema"
PROJECT_FILE_SCHEMA = "corrtool"

# What --json prints, by the words of the command: one type, or one of several.
RESULTS = {
    "init": ["corrtool.workflows.init:InitResult"],
    "quickstart": ["corrtool.workflows.quickstart:QuickstartResult"],
    "transfer": [
        "corrtool.workflows.transfer:TransferResult",
        "corrtool.workflows.transfer:TransferPlan",
    ],
    "train-dqn": ["corrtool.runs.results:TrainDqnResult", "corrtool.runs.results:Plan"],
    "collect": ["corrtool.runs.results:CollectResult", "corrtool.runs.results:Plan"],
    "train-model": ["corrtool.runs.results:TrainModelResult", "corrtool.runs.results:Plan"],
    "learn-corr": ["corrtool.runs.results:LearnCorrResult", "corrtool.runs.results:Plan"],
    "evaluate": ["corrtool.runs.results:EvaluateResult", "corrtool.runs.results:Plan"],
    "finetune": ["corrtool.runs.results:FinetuneResult", "corrtool.runs.results:Plan"],
    "explain": ["corrtool.reporting.explanation:Explanation"],
    "import q": [
        "corrtool.exchange.q_result:ImportQResult",
        "corrtool.exchange.q_result:ImportQPlan",
    ],
    "import policy": [
        "corrtool.exchange.q_result:ImportPolicyResult",
        "corrtool.exchange.q_result:ImportQPlan",
    ],
    "import memory": ["corrtool.exchange.memory_import:ImportedMemory"],
    "export q": ["corrtool.exchange.export_result:Exported"],
    "export policy": ["corrtool.exchange.export_result:Exported"],
    "export memory": ["corrtool.exchange.memory_export:ExportedMemory"],
    "sweep": ["corrtool.workflows.sweeps.status:SweepResult"],
    "report": ["corrtool.workflows.report:ReportResult"],
    "reproduce": [
        "corrtool.workflows.report:ReportResult",
        "corrtool.workflows.sweeps.status:SweepResult",
        "corrtool.workflows.suites.suite:SuiteResult",
    ],
    "status": ["corrtool.cli.status:Status"],
    "verify": ["corrtool.cli.verify:VerifyResult"],
    "push": ["corrtool.exchange.hub_push:PushResult"],
    "pull": ["corrtool.exchange.hub_pull:PullResult"],
    "doctor": ["corrtool.workflows.doctor:DoctorResult"],
}


def schemas() -> dict[str, Schema]:
    """Every schema, by the name of its file without ``.schema.json``."""
    made = {PROJECT_FILE_SCHEMA: project_file_schema()}
    for command, names in RESULTS.items():
        types = [_load(name) for name in names]
        head = {"$schema": DRAFT, "title": f"corrtool {command} --json"}
        made[command.replace(" ", "-")] = head | schema_of_results(types)
    return made


def project_file_schema() -> Schema:
    """The schema of ``corrtool.toml``, which knows every name: what it does not, is refused."""
    sections: dict[str, Schema] = {role: _task_schema(role) for role in TASK_ROLES}
    common = _fields_schema(CommonOptions)
    defaults = {name: common[name] for name in ("seed", "device", "preset")}
    sections["defaults"] = _table(defaults, "Of every stage, where nothing else says so.")
    for stage, settings in STAGE_SETTINGS.items():
        named = _fields_schema(settings)
        named |= {
            former: {**named[name], "deprecated": True, "description": f"Now called {name}."}
            for former, name in former_names(settings).items()
        }
        named |= {
            use: {"type": "string", "description": help} for use, help in settings.inputs.items()
        }
        dashed = {name.replace("_", "-"): schema for name, schema in named.items()}
        sections[stage] = _table(
            dashed | named, f"Settings of corrtool {stage}, and what it reads."
        )
    head = {"$schema": DRAFT, "title": "corrtool.toml", "description": "A project of corrtool."}
    return head | _table(sections) | {"required": [*TASK_ROLES]}


def _task_schema(role: str) -> Schema:
    properties: dict[str, Schema] = {
        "id": {
            "type": "string",
            "minLength": 1,
            "description": "Gymnasium id; 'module:Id' imports the module.",
        },
        "views": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Views such as rotate:90, applied in this order.",
        },
        "kwargs": {"type": "object", "description": "Keyword arguments of gymnasium.make."},
        "preprocessing": _table(_fields_schema(Preprocessing), "As the flags of corrtool init."),
    }
    return _table(properties, f"The {role} task.") | {"required": ["id"]}


def _table(properties: dict[str, Schema], description: str | None = None) -> Schema:
    said = {} if description is None else {"description": description}
    return {"type": "object", **said, "properties": properties, "additionalProperties": False}


def _fields_schema(declared: Any) -> dict[str, Schema]:
    """The schema of each field of a settings class, with its range and its help."""
    hints, made = get_type_hints(declared), {}
    for field in dataclasses.fields(declared):
        limits = {
            "minimum": field.metadata["minimum"],
            "exclusiveMinimum": field.metadata["above"],
            "maximum": field.metadata["maximum"],
        }
        made[field.name] = {
            **schema_of_value(hints[field.name], optional=False),
            **{name: limit for name, limit in limits.items() if limit is not None},
            "description": field.metadata["help"],
        }
    return made


def _load(name: str) -> Any:
    module, _, found = name.partition(":")
    return getattr(import_module(module), found)


def write(directory: Path) -> None:
    """Write every schema into ``directory``."""
    for name, schema in schemas().items():
        (directory / f"{name}.schema.json").write_text(text_of(schema), encoding="utf-8")


def text_of(schema: Schema) -> str:
    """A schema as its file has it."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    write(Path(sys.argv[1]))
