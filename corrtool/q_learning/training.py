"""Algorithm 2 (DQN) as ``train-dqn`` and ``finetune`` run it: play, store, sample, update.

:meth:`DqnTraining._step` is one round of its loop. Around it are the logs, the play tests and what
makes a run resumable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from corrtool.layers import copy_of_weights
from corrtool.memory import ReplayMemory, StateStacker
from corrtool.play.games import DirectQValues
from corrtool.play.lane_pool import LanePool
from corrtool.q_learning.exploration import Exploration
from corrtool.q_learning.learner import DqnLearner
from corrtool.q_learning.memory_checkpoint import CheckpointedPriorities, JournalledRows
from corrtool.q_learning.play_tests import PlayTests
from corrtool.q_learning.progress import OngoingGames, Progress, StartingPoint
from corrtool.q_learning.schedules import (
    env_steps_in_all,
    exploration_rates,
    importance_exponent,
    return_length,
    unsolved_note,
    what_is_unfinished,
)
from corrtool.q_learning.training_memory import new_memory
from corrtool.runs.loop import Loop, StopSignals
from corrtool.runs.results import DqnSummary
from corrtool.runs.resumable import Parts, RandomState
from corrtool.runs.run import Run
from corrtool.runtime.console import Console
from corrtool.runtime.seeds import derive_seeds, numpy_generator
from corrtool.settings.stages import DqnSettings
from corrtool.tasks import LaneStep
from corrtool.tasks.environments import LanesLike

LOG_EVERY_ENV_STEPS = 1_000


@dataclass(frozen=True)
class DqnOutcome:
    """Weights, memory and summary that :func:`learn_by_playing` returns.

    Attributes:
        parts, after_checkpoint: as the training's own loop had them, for checkpoints of what a
            stage does after it.
    """

    weights: dict[str, Tensor]
    memory: ReplayMemory
    summary: DqnSummary
    parts: Parts
    after_checkpoint: Callable[[], None]


def learn_by_playing(
    run: Run,
    console: Console,
    stop: StopSignals,
    state: dict[str, Any] | None,
    *,
    settings: DqnSettings,
    q_function: nn.Module,
    make_lanes: Callable[[int], LanesLike],
    lane_pool: LanePool,
    device: torch.device,
    seed: int,
    starting_point: StartingPoint | None = None,
) -> DqnOutcome:
    """Algorithm 2 over several lanes; resumes from ``state``, or goes on from ``starting_point``.

    Play tests are in lanes of ``lane_pool``, which play whole games, also where learning ends them
    at a lost life.
    """
    with make_lanes(settings.lanes) as lanes, lane_pool:
        training = DqnTraining(
            run,
            console,
            lanes,
            lane_pool,
            settings=settings,
            q_function=q_function,
            device=device,
            seed=seed,
            starting_point=starting_point,
        )
        if state is not None:
            run.restore(training.parts, state)
        elif starting_point is not None:
            with run.restoring():
                starting_point.apply_to(run, training.learner, training.memory)
        training.learn(stop)
        return training.outcome()


class DqnTraining:
    """Algorithm 2 on lanes that are open: what it changes, and what it does in each step.

    The emulators step while the network learns. Their state cannot be saved, so after a resumption
    they start new games from seeds that depend on the number of resumptions; all else continues.

    Attributes:
        parts: what a checkpoint holds.
    """

    def __init__(
        self,
        run: Run,
        console: Console,
        lanes: LanesLike,
        test_lanes: LanePool,
        *,
        settings: DqnSettings,
        q_function: nn.Module,
        device: torch.device,
        seed: int,
        starting_point: StartingPoint | None,
    ) -> None:
        self._run, self._console, self._lanes, self._seed = run, console, lanes, seed
        self.settings = settings
        self.progress = Progress() if starting_point is None else starting_point.progress
        self._borrows = settings.eval_every > 0 and test_lanes.open_or_borrow(lanes)
        if self._borrows:
            console.say(
                "no further environment can be opened beside those that train: they play the play "
                "tests too"
            )
        self.memory = new_memory(settings, lanes, device)
        self.learner = DqnLearner(q_function, lanes.spec, settings, device)
        solves = lanes.reward_threshold
        self._tests = PlayTests(run, settings, lanes.spec, test_lanes, device, seed, solves)
        # Nobody has said for how long to learn, neither the user nor, by a threshold, the task.
        self._may_settle = settings.unsolved_env_steps > 0 and solves is None
        # A longer run draws other numbers than the finished one, of the same seed, that it extends.
        self._extended_at = () if starting_point is None else (starting_point.progress.env_steps,)
        self._random = numpy_generator(seed, "dqn", *self._extended_at)
        self._exploration = Exploration(
            lanes.count, lanes.actions, settings.held_exploration, self._random
        )
        self._rows = JournalledRows(self.memory, run, console)
        self.parts = Parts(
            learner=self.learner,
            random=RandomState(self._random),
            progress=self.progress,
            journal=self._rows,
            priorities=CheckpointedPriorities(self.memory),
            **({"exploration": self._exploration} if settings.held_exploration > 0 else {}),
        )
        self._stacker = StateStacker(lanes.spec, lanes.count, device)
        self._loss = torch.zeros((), device=device)  # of the newest update

    def learn(self, stop: StopSignals) -> None:
        """From where the run stands to its last environment step, and that one's play test."""
        settings, progress = self.settings, self.progress
        self._rows.prune()
        self.memory.open_slot(self._start_games(*self._extended_at))
        with Loop(
            self._run,
            self._console,
            stop,
            total=self._env_steps_in_all,
            unit="env steps",
            start=progress.env_steps,
            resumable=self.parts,
            after_checkpoint=self._rows.prune,
        ) as loop:
            while not (progress.solved or self._is_through(loop)):
                self._step(loop)
                if loop.out_of_time():
                    break
            self._tests.finish(self.learner, progress, loop)
        note = unsolved_note(settings, progress.best_mean_return, self._lanes.reward_threshold)
        if note is not None and not self._is_cut:  # then it goes on by itself, and says so
            self._console.say(note)

    @property
    def _env_steps_in_all(self) -> int:
        progress = self.progress
        return env_steps_in_all(
            self.settings,
            progress.env_steps,
            progress.best_mean_return,
            self._lanes.reward_threshold,
            improves=progress.improves,
        )

    @property
    def _is_cut(self) -> bool:
        """True if learning has ended before its time."""
        return self.progress.env_steps < self._env_steps_in_all and not self.progress.solved

    def _is_through(self, loop: Loop) -> bool:
        """True at the last step, which comes later where play tests show that there is more."""
        if self._env_steps_in_all > loop.total and self.progress.evaluated_at < loop.total:
            self._test_now(loop)  # it may be solved by now
        total = self._env_steps_in_all
        if total > loop.total:
            why = what_is_unfinished(self._lanes.reward_threshold)
            self._console.say(f"{why}: learning on, up to {total:,} env steps")
        elif total < loop.total:
            through = "play tests get better no more: learning ends"
            if self._lanes.reward_threshold is not None:
                through = f"a play test has {self.progress.best_mean_return:.1f}: solved"
            self._console.say(through)
        loop.end_at(max(total, self.progress.env_steps))  # a play test tells it afterwards
        return self.progress.env_steps >= total

    def _step(self, loop: Loop) -> None:
        """Lines 4–17 of Algorithm 2, once for all lanes.

        The network learns while the emulators step, from what the memory held before.
        """
        epsilons = exploration_rates(self.settings, self.progress.env_steps)
        actions, epsilon = self._choose_actions(epsilons), float(epsilons.mean())
        self._lanes.send(actions)
        self._learn_from_memory()
        step = self._lanes.receive()
        self._store(actions, step)
        self._learn_from_newest()
        self._count_games(step)
        self._log(loop, epsilon)
        if self._tests.due(self.progress):
            self._test_now(loop)
        numbers = {
            "mean return (20 games)": self.progress.mean_return,
            "games": self.progress.games,
            "ε": epsilon,
            "gradient steps": self.learner.gradient_steps,
        }
        loop.advance(self.progress.env_steps - loop.done, numbers)

    def _start_games(self, *position: int) -> NDArray[Any]:
        """Start games in all lanes, from seeds by ``position``; returns the first frames."""
        lanes = self._lanes
        frames = lanes.reset(
            derive_seeds(self._seed, "train", lanes.count, self._run.resumptions, *position)
        )
        self._states, self._games = self._stacker.push(frames), OngoingGames(lanes.count)
        return frames

    def _choose_actions(self, epsilons: NDArray[np.float64]) -> NDArray[np.int64]:
        """Line 4: random actions with probability ε, else the best ones."""
        network = self.learner.acting_network(self.progress.env_steps)
        with torch.inference_mode():
            q_values = DirectQValues(network, self._lanes.spec)(self._states)
            return self._exploration.choose(q_values, epsilons)

    def _store(self, actions: NDArray[np.int64], step: LaneStep) -> None:
        """Lines 5–7: put the transitions into the memory, in place of the oldest."""
        self.memory.record(actions, step)
        self._states = self._stacker.push(step.frames, step.episode_steps)
        self.progress.env_steps += int(step.valid.sum())

    def _learn_from_memory(self) -> None:
        """Lines 8–17, as often as they are due: once for every ``env_steps_per_update`` steps."""
        settings, learner, env_steps = self.settings, self.learner, self.progress.env_steps
        due = max(0, env_steps - settings.learning_starts) // settings.env_steps_per_update
        n_step = return_length(settings, env_steps)
        can_learn = settings.replay and self.memory.can_sample(n_step)
        for batch in self.memory.sample_batches(
            due - learner.gradient_steps if can_learn else 0,
            settings.batch_size,
            self._random,
            n_step=n_step,
            gamma=settings.gamma,
            clip_rewards=bool(settings.clip_rewards),
            importance_exponent=importance_exponent(settings, env_steps),
        ):
            self._loss, errors = learner.update(batch, env_steps)
            if settings.priority_exponent > 0:
                self.memory.set_errors(batch.rows, errors.cpu().numpy())

    def _learn_from_newest(self) -> None:
        """Algorithm 1, which has no memory to sample from: an update by what was just seen."""
        settings, env_steps = self.settings, self.progress.env_steps
        if settings.replay or env_steps <= settings.learning_starts:
            return
        batch = self.memory.newest(gamma=settings.gamma, clip_rewards=bool(settings.clip_rewards))
        self._loss = self._loss if batch is None else self.learner.update(batch, env_steps)[0]

    def _count_games(self, step: LaneStep) -> None:
        """Log the games that ended, and see whether they are good enough to stop."""
        progress = self.progress
        for game_return, length in self._games.add(step):
            progress.finish_game(game_return)
            self._run.metrics.write(
                progress.env_steps,
                {
                    "event": "game",
                    "game": progress.games,
                    "env_steps": progress.env_steps,
                    "return": game_return,
                    "length": length,
                    "mean_return_20": progress.mean_return,
                },
            )
        progress.solved |= progress.has_reached(self.settings.stop_at_mean_return)

    def _log(self, loop: Loop, epsilon: float) -> None:
        """A line of metrics each time that another thousand environment steps are done."""
        progress = self.progress
        if progress.env_steps // LOG_EVERY_ENV_STEPS == loop.done // LOG_EVERY_ENV_STEPS:
            return
        self._run.metrics.write(
            progress.env_steps,
            {
                "event": "progress",
                "env_steps": progress.env_steps,
                "gradient_steps": self.learner.gradient_steps,
                "games": progress.games,
                "mean_return_20": progress.mean_return,
                "epsilon": epsilon,
                **loop.checked({"loss": float(self._loss.item())}),
                "env_steps_per_second": loop.rate,
            },
        )

    def _test_now(self, loop: Loop) -> None:
        """Play a test; if it takes the lanes, their games end by truncation."""
        self._tests.play(self.learner, self.progress, loop)
        if self._may_settle and self.progress.has_settled(self.settings.env_steps):
            self.progress.solved = True
            self._console.say(f"{self.progress.how_it_settled}: learnt")
        if self._borrows:
            self.memory.restart_episodes(self._start_games(self.progress.env_steps))

    def outcome(self) -> DqnOutcome:
        """The weights of the best play test, without one the newest, and the memory."""
        progress, best = self.progress, self.progress.best_weights
        summary: DqnSummary = {
            "env_steps": progress.env_steps,
            "games": progress.games,
            "gradient_steps": self.learner.gradient_steps,
            "mean_return_20": progress.mean_return,
            "best_mean_return": progress.best_mean_return,
            "stopped_early": progress.solved and progress.env_steps < self.settings.env_steps,
        }
        if self._is_cut:
            summary["cut"] = True
        weights = copy_of_weights(self.learner.ema) if best is None else best
        return DqnOutcome(weights, self.memory, summary, self.parts, self._rows.prune)
