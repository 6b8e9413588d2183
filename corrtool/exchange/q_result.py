"""What ``import q`` and ``import policy`` tell: result, plan, and both as lines for people."""

from __future__ import annotations

from typing import cast

from corrtool.project.manifests import Imported
from corrtool.runs.results import Plan, StageResult


class ImportQResult(StageResult):
    """The result of ``import q`` and of ``import policy``.

    Attributes:
        preprocessing: that of the task, in words; what was said of the agent's is in the settings.
        imported: the file, and what it says.
        notes: what was assumed, and what is left to do, in lines.
    """

    q: str
    sha256: str
    architecture: str
    parameters: int
    preprocessing: str
    imported: Imported
    notes: list[str]


class ImportPolicyResult(ImportQResult):
    """The result of ``import policy``; ``critic`` says whether the file has V(s)."""

    critic: bool


class ImportQPlan(Plan):
    """What a dry run tells instead."""

    preprocessing: str
    imported: Imported
    notes: list[str]


def import_q_lines(result: ImportQResult | ImportQPlan, what: str = "Q-function") -> list[str]:
    """The outcome of an import, or its plan, as lines for people."""
    imported, settings = result["imported"], result["settings"]
    says = ", ".join(f"{name} {value}" for name, value in imported.get("says", {}).items())
    lines = [f"  the file says: {says or 'nothing but the weights'}"]
    lines.append(f"  the {settings['task']} task has {result['preprocessing']}")
    lines += [f"  {note}" for note in result["notes"]]
    if "dry_run" in result:
        plan = cast(ImportQPlan, result)
        state = "is there already" if plan["done"] else "would be written"
        return [
            f"{what} {plan['name']} {state}, from {imported['file']}",
            *lines,
            *(f"  missing: {what}" for what in plan["missing"]),
        ]
    return [
        f"{what} {result['q']}: {result['architecture']}, {result['parameters']:,} parameters, "
        f"from {imported['file']}",
        *lines,
    ]
