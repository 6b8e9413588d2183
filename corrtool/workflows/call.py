"""One stage as a command line or a script asks for it: from what is said of it to its result."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, cast

from corrtool.errors import MissingInputError, UsageError
from corrtool.project.artifacts import check_name
from corrtool.project.defaults import project_device, project_seed, resolve_settings
from corrtool.project.directory import Project
from corrtool.runs.context import StageContext
from corrtool.runs.results import Plan, StageResult
from corrtool.runtime.console import Console
from corrtool.runtime.ranks import Ranks
from corrtool.settings.base import Settings
from corrtool.settings.common import CommonOptions
from corrtool.stages.registry import Stage


@dataclass(frozen=True)
class StageCall:
    """A stage, and what is said of it. What is None is not given.

    Attributes:
        settings: those that flags or arguments give.
        options: the stage's inputs and its options that are not settings.
        environment: settings that environment variables give.
        from_environment: those of ``options`` that environment variables give.
    """

    stage: Stage
    common: CommonOptions
    settings: dict[str, Any]
    options: dict[str, Any]
    environment: dict[str, Any] = field(default_factory=dict)
    from_environment: frozenset[str] = frozenset()

    def execute(self, project: Project, console: Console) -> StageResult:
        """Run the stage, or plan it in a dry run; of several ranks only the first has a result.

        What is wrong with the settings comes first, then the device, then the inputs.

        Raises:
            CorrtoolError: see ``corrtool.errors``.
        """
        settings = resolve_settings(
            project,
            self.stage.settings,
            self.common.preset,
            self.settings,
            self.environment,
            self.options,
            console.say,
        )
        context = self._context(project, console)
        try:
            return self.stage.run(context, settings, **self._with_named_inputs(project, settings))
        except MissingInputError as error:
            if not self.common.dry_run:
                raise
            return cast(StageResult, _plan_without_inputs(context, settings, error))

    def _context(self, project: Project, console: Console) -> StageContext:
        common, ranks = self.common, Ranks.from_environment()
        if ranks.count > 1:
            self._check_torchrun()
        context = StageContext(
            project=project,
            console=console if ranks.first else replace(console, quiet=True),
            device=project_device(project, common.device),
            seed=project_seed(project, common.seed),
            name=common.name,
            overwrite=common.overwrite,
            dry_run=common.dry_run,
            tensorboard=common.tensorboard,
            keep_checkpoints=common.keep_checkpoints,
            ranks=ranks,
        )
        if common.name is not None:
            check_name(common.name)
        return context

    def _check_torchrun(self) -> None:
        """Raise :class:`UsageError` where several processes have nothing to share."""
        device = self.common.device
        if not self.stage.splits:
            raise UsageError(
                f"{self.stage.name} is for one process",
                "use torchrun with train-model and learn-corr only",
            )
        if device is not None and ":" in device:
            raise UsageError(
                f"--device {device} is one device for all processes",
                "use --device cuda: each takes its own",
            )

    def _with_named_inputs(self, project: Project, settings: Settings) -> dict[str, Any]:
        """The options, with the inputs that ``corrtool.toml`` alone names.

        What a flag excludes, such as ``--no-corr`` a correspondence, is not taken from either.
        """
        chosen, excluded = self.options, set[str]()
        if chosen.get("no_corr") or getattr(settings, "task", None) == "source":
            excluded = {"corr"}
        if chosen.get("from_scratch") or getattr(settings, "policy", None) == "random":
            excluded = {"q", "corr"}
        if getattr(settings, "mixed_memories", None) is False:
            excluded = {"random_memory"}
        named = project.stage_inputs(self.stage.name)
        named |= {name: chosen[name] for name in self.stage.inputs if chosen[name] is not None}
        flags = {
            name for name in named if chosen[name] is not None and name not in self.from_environment
        }
        return chosen | {
            name: value if name in flags or name not in excluded else None
            for name, value in named.items()
        }


def _plan_without_inputs(
    context: StageContext, settings: Settings, error: MissingInputError
) -> Plan:
    """The plan of a dry run without its inputs; the name of the run may depend on them."""
    return {
        "dry_run": True,
        "done": False,
        "begun": False,
        "stage": settings.stage,
        "name": context.name,
        "device": str(context.device),
        "seed": context.seed,
        "settings": settings.to_json(),
        "inputs": {},
        "produces": [],
        "missing": [f"{what}; {hint}" for what, hint in error.missing],
    }
