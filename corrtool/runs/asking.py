"""A stage asked for its request: inputs chosen and checked, and nothing begun."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, cast

from corrtool.runs.context import StageContext, Work
from corrtool.runs.requests import RunRequest
from corrtool.runs.results import StageResult

R = TypeVar("R", bound=StageResult)


@dataclass(frozen=True)
class AskingContext(StageContext):
    """A context in which a stage plans, and leaves its request in ``asked`` instead of working.

    Unlike a dry run this reads no artifact's bytes: a sweep asks hundreds of times for the same.
    """

    asked: list[RunRequest] = field(default_factory=list)

    def execute(self, request: RunRequest, work: Work[R]) -> R:
        self.asked.append(request)
        return cast(R, {})
