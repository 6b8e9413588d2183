"""Training of the environment model F (appendix 6.2): Adam on mini-batches of transitions."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from corrtool.environment_model.network import ScaledModel
from corrtool.environment_model.objective import build_objective
from corrtool.layers import load_optimizer_state
from corrtool.memory import ShuffledRows, Transitions
from corrtool.memory.rows import Rows
from corrtool.runs.loop import Loop, StopSignals
from corrtool.runs.run import Run
from corrtool.runs.steps import learning_rate_share
from corrtool.runtime.console import Console
from corrtool.runtime.optimizers import Adam
from corrtool.runtime.precision import begin_step
from corrtool.runtime.ranks import Ranks
from corrtool.settings.stages import TrainModelSettings

LOG_EVERY_GRADIENT_STEPS = 50
MOST_WARMUP = 0.1  # of a training: a short one is to learn as well


class ModelTraining:
    """A model with its optimizer and its mini-batches.

    Args:
        rows: of ``memory``, whose transitions F learns.
        random: chooses the mini-batches.

    Attributes:
        total: gradient steps in all; fewer than planned where the run's time is over before.
    """

    def __init__(
        self,
        model: ScaledModel,
        memory: Transitions,
        rows: Rows,
        settings: TrainModelSettings,
        random: np.random.Generator,
        ranks: Ranks,
    ) -> None:
        self._model, self._memory, self._settings, self._ranks = model, memory, settings, ranks
        self._objective = build_objective(model, settings, memory.device, ranks)
        self._optimizer = Adam(model.network.parameters(), lr=settings.learning_rate, fused=True)
        self._batches = ShuffledRows(rows, settings.batch_size, random)
        self._steps_per_epoch = max(1, len(rows) // settings.batch_size)
        self._planned = settings.gradient_steps or settings.epochs * self._steps_per_epoch
        self._warmup = min(settings.warmup_gradient_steps, round(MOST_WARMUP * self._planned))
        self.total = self._planned
        self.gradient_steps = 0

    def learn(self, run: Run, console: Console, stop: StopSignals) -> None:
        """From where the training stands to its last gradient step."""
        self._model.train()
        with Loop(
            run,
            console,
            stop,
            total=self.total,
            unit="gradient steps",
            start=self.gradient_steps,
            resumable=self,
            agreed=partial(self._ranks.agreed, device=self._memory.device),
        ) as loop:
            while self.gradient_steps < self.total:
                if loop.out_of_time():
                    self.total = self.gradient_steps + 1  # this step is the last
                loss = self._update()
                loop.advance(1, self._logged(run, loop, loss))

    @property
    def cut(self) -> bool:
        """True if the run's time was over before the planned gradient steps were done."""
        return self.total < self._planned

    def _update(self) -> Tensor:
        """One gradient step; returns this process's loss."""
        memory, rows = self._memory, self._ranks.shard(self._batches.next())
        begin_step(self._settings.compile, memory.device)
        self._set_learning_rate()
        loss = self._objective(
            memory.states(rows), memory.actions(rows), memory.states(memory.next_rows(rows))
        )
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        self.gradient_steps += 1
        newest: Tensor = loss.detach()
        return newest

    def _set_learning_rate(self) -> None:
        settings, step = self._settings, self.gradient_steps
        share = learning_rate_share(step, self._planned, settings.constant_share)
        if step < self._warmup:
            share *= (step + 1) / self._warmup
        for group in self._optimizer.param_groups:
            group["lr"] = settings.learning_rate * share

    def _logged(self, run: Run, loop: Loop, loss: Tensor) -> dict[str, float] | None:
        """The numbers of the newest step, where it is time to log some."""
        step = self.gradient_steps
        if step % LOG_EVERY_GRADIENT_STEPS and step != self.total:
            return None
        epoch = round(step / self._steps_per_epoch, 2)
        numbers = loop.checked({"loss": float(self._ranks.mean(loss).item()), "epoch": epoch})
        run.metrics.write(step, {"event": "progress", "gradient_steps": step, **numbers})
        return numbers

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "batches": self._batches.state(),
            "done": self.gradient_steps,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state`."""
        self._model.load_state_dict(state["model"])
        load_optimizer_state(self._optimizer, state["optimizer"])
        self._batches.load_state(state["batches"])
        self.gradient_steps = int(state["done"])
