"""What ``export q`` and ``export policy`` have done, as ``--json`` prints it and as text."""

from __future__ import annotations

from typing import Literal, TypedDict

from corrtool.exchange.played_values import OBSERVATION

Format = Literal["onnx", "sb3", "torch"]


class Check(TypedDict):
    """How a file's values differ from corrtool's.

    Attributes:
        by: the program that computed them.
        states: where the states are from: a memory, or random ones.
        max_difference: max |ΔQ|; ``relative`` divided by max |Q|.
    """

    by: str
    states: str
    batches: list[int]
    max_difference: float
    relative: float


class Exported(TypedDict, total=False):
    """What was written, or with ``dry_run`` would be.

    Attributes:
        input: shape of one state and type of its numbers.
        output: what comes out: ``"q_values"``, or ``"logits"`` of a policy.
        actions: the name of each action, in the order of the values.
        state: ``"written"``, ``"there already"``, or ``"planned"`` in a dry run.
        check: of what was written now; None where the program that reads it is not installed.
    """

    dry_run: bool
    to: Format
    path: str
    task: str
    q: str
    corr: str | None
    input: dict[str, object]
    output: str
    actions: list[str]
    state: str
    bytes: int
    sha256: str
    check: Check | None


def export_lines(result: Exported) -> list[str]:
    """The result as text."""
    shape = " × ".join(map(str, result["input"]["shape"]))  # type: ignore[call-overload]
    who = result["q"] if result["corr"] is None else f"{result['q']} through {result['corr']}"
    of = f"{who}, of {result['task']}: {OBSERVATION} (batch × {shape}) {result['input']['dtype']}"
    lines = [f"{of} → {result['output']} (batch × {len(result['actions'])})"]
    if result["state"] == "there already":
        return [*lines, f"{result['path']} is there already: {result['bytes']:,} bytes"]
    if result["state"] == "planned":
        return [*lines, f"would write {result['path']}"]
    if (check := result["check"]) is None:
        lines.append("not tried: the program that reads it is not installed")
    else:
        batches = " and ".join(map(str, check["batches"]))
        lines.append(
            f"largest difference {check['max_difference']:.2g} ({check['relative']:.2g} of the "
            f"greatest value) by {check['by']}, batches {batches}, states: {check['states']}"
        )
    return [*lines, f"{result['path']}: {result['bytes']:,} bytes"]
