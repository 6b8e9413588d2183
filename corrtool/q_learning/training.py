"""Algorithm 2 (DQN) as ``train-dqn`` and ``finetune`` run it: play, store, sample, update; with logs, play tests and resumption."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from corrtool.layers import copy_of_weights
from corrtool.memory import MemoryJournal, MemoryRows, ReplayMemory, StateStacker
from corrtool.memory.rows import ring_bytes
from corrtool.play.games import (
    Game,
    GameLimits,
    KeptLanes,
    choose_actions,
    counted,
    direct_q_values,
    play_games,
    returns_of,
)
from corrtool.q_learning.learner import DqnLearner
from corrtool.q_learning.schedules import exploration_rate, importance_exponent, return_length
from corrtool.runs.loop import Loop, StopSignals
from corrtool.runs.run import Run
from corrtool.runtime.console import Console
from corrtool.runtime.free_memory import check_memory_is_free
from corrtool.runtime.seeds import derive_seeds, numpy_generator
from corrtool.settings.stages import DqnSettings
from corrtool.states import StateSpec
from corrtool.statistics import moving_mean
from corrtool.tasks import Task
from corrtool.tasks.environments import LanesLike

LOG_EVERY_ENV_STEPS = 1_000


@dataclass
class Progress:
    """Where learning stands; everything but the memory and the learner that a checkpoint holds."""

    env_steps: int = 0
    games: int = 0
    recent_returns: list[float] = field(default_factory=list)
    evaluated_at: int = 0
    best_mean_return: float | None = None
    best_weights: dict[str, Tensor] | None = None
    solved: bool = False

    def finish_game(self, game_return: float) -> None:
        """Counts one training game."""
        self.games += 1
        self.recent_returns = [*self.recent_returns, game_return][-20:]

    @property
    def mean_return(self) -> float | None:
        """Mean return of the last 20 training games."""
        return moving_mean(self.recent_returns)


@dataclass(frozen=True)
class Beginning:
    """What a run that makes a finished one longer begins with; see :mod:`corrtool.stages.extending`.

    Attributes:
        rows: the newest of the finished run's memory.
        gradient_steps: how many led to the ``weights``.
        metrics: what the finished run logged.
    """

    weights: dict[str, Tensor]
    rows: MemoryRows
    progress: Progress
    gradient_steps: int
    metrics: list[dict[str, Any]]

    def put_into(self, run: Run, learner: DqnLearner, memory: ReplayMemory) -> None:
        """Makes ``learner``, ``memory`` and the metrics those of the finished run, whose games end here by truncation."""
        for network in (learner.q_function, learner.target, learner.average):
            network.load_state_dict(self.weights)
        learner.gradient_steps = self.gradient_steps
        memory.restore([self.rows], len(self.rows.frames) // self.rows.lanes)
        memory.truncate_before(memory.slots_written - 1)  # the newest slot is what was seen last: no transition
        for line in self.metrics:
            run.metrics.write(int(line.get("env_steps", 0)), line)


@dataclass(frozen=True)
class DqnOutcome:
    """What :func:`learn_by_playing` leaves."""

    weights: dict[str, Tensor]
    memory: ReplayMemory
    summary: dict[str, Any]


def learn_by_playing(
    run: Run,
    console: Console,
    stop: StopSignals,
    state: dict[str, Any] | None,
    *,
    settings: DqnSettings,
    q_function: nn.Module,
    task: Task,
    make_lanes: Callable[[Task, int], LanesLike],
    device: torch.device,
    seed: int,
    beginning: Beginning | None = None,
) -> DqnOutcome:
    """Algorithm 2 over several lanes: play, store, sample, update; resumes from ``state``, or goes on from ``beginning``.

    The emulators step while the network learns. Their state cannot be saved, so after a resumption they start new
    games from seeds that depend on the number of resumptions; everything else continues. Play tests are of whole games.
    """
    whole_games = KeptLanes(lambda count: make_lanes(task.whole_games(), count))
    with make_lanes(task, settings.lanes) as lanes, whole_games as test_lanes:
        borrowed = settings.eval_every > 0 and test_lanes.open_or_borrow(lanes)
        if borrowed:
            console.say("no further environment can be opened beside those that train: they play the play tests too")
        spec, count = lanes.spec, lanes.count
        slots = _ring_slots(settings, spec, count)
        check_memory_is_free(
            ring_bytes(spec, slots * count), device, f"a memory of {settings.memory_capacity:,} records",
            "use a smaller --memory-capacity",
        )  # fmt: skip
        memory = ReplayMemory(spec, count, slots, device, settings.priority_exponent)
        learner = DqnLearner(q_function, spec, settings, device)
        went_on_at = () if beginning is None else (beginning.progress.env_steps,)
        random = numpy_generator(seed, "dqn", *went_on_at)
        progress = Progress() if beginning is None else beginning.progress
        with run.going_on():
            journal = MemoryJournal(
                run.directory / "journal", None if state is None else state["journal"], run.keep_checkpoints
            )
            if state is not None:
                learner.load_state(state["learner"])
                random.bit_generator.state = state["random"]
                progress = Progress(**state["progress"])
                with console.passing_progress("reading the replay memory", journal.slots, "slots") as reading:
                    journal.load(memory, reading.advance)
                memory.load_priorities(state["priorities"])
            elif beginning is not None:
                beginning.put_into(run, learner, memory)
        journal.prune()

        def checkpoint() -> dict[str, Any]:
            return {
                "learner": learner.state(),
                "random": random.bit_generator.state,
                "progress": dict(progress.__dict__),
                "journal": journal.save(memory),
                "priorities": memory.priorities(),
            }

        frames = lanes.reset(derive_seeds(seed, "train", count, run.resumptions, *went_on_at))
        memory.open_slot(frames)
        stacker = StateStacker(spec, count, device)
        states = stacker.push(frames)
        totals, lengths = np.zeros(count), np.zeros(count, np.int64)
        loss = torch.zeros((), device=device)
        total = settings.env_steps

        with Loop(
            run, console, stop, total=total, unit="env steps", start=progress.env_steps, state=checkpoint,
            after_checkpoint=journal.prune,
        ) as loop:  # fmt: skip

            def learn() -> None:
                nonlocal loss
                due = max(0, progress.env_steps - settings.learning_starts) // settings.env_steps_per_update
                n_step = return_length(settings, progress.env_steps)
                while settings.replay and learner.gradient_steps < due and memory.can_sample(n_step):
                    batch = memory.sample(
                        settings.batch_size,
                        random,
                        n_step=n_step,
                        gamma=settings.gamma,
                        clip_rewards=settings.clip_rewards,
                        importance_exponent=importance_exponent(settings, progress.env_steps),
                    )
                    loss, errors = learner.update(batch, progress.env_steps)
                    if settings.priority_exponent > 0:
                        memory.set_errors(batch.rows, errors.cpu().numpy())

            while progress.env_steps < total and not progress.solved:
                epsilon = exploration_rate(settings, progress.env_steps)
                q_values = direct_q_values(learner.player(progress.env_steps), spec)
                with torch.inference_mode():
                    actions = choose_actions(q_values(states), count, lanes.actions, epsilon, random)
                lanes.send(actions)
                learn()  # while the emulators step
                step = lanes.receive()
                memory.record(actions, step)
                states = stacker.push(step.frames, step.episode_steps)
                progress.env_steps += int(step.valid.sum())
                if (
                    not settings.replay
                    and progress.env_steps > settings.learning_starts
                    and (batch := memory.newest(gamma=settings.gamma, clip_rewards=settings.clip_rewards))
                ):
                    loss, _ = learner.update(batch, progress.env_steps)

                totals += np.where(step.valid, step.rewards, 0.0)
                lengths += step.valid
                for lane in np.flatnonzero(step.valid & (step.terminated | step.truncated)):
                    progress.finish_game(float(totals[lane]))
                    run.metrics.write(
                        progress.env_steps,
                        {
                            "event": "game",
                            "game": progress.games,
                            "env_steps": progress.env_steps,
                            "return": float(totals[lane]),
                            "length": int(lengths[lane]),
                            "mean_return_20": progress.mean_return,
                        },
                    )
                    totals[lane], lengths[lane] = 0.0, 0
                target_mean = settings.stop_at_mean_return
                if target_mean is not None and progress.games >= 20 and (progress.mean_return or 0.0) >= target_mean:
                    progress.solved = True
                numbers = {
                    "mean return (20 games)": progress.mean_return,
                    "games": progress.games,
                    "ε": epsilon,
                    "gradient steps": learner.gradient_steps,
                }
                if progress.env_steps // LOG_EVERY_ENV_STEPS > loop.done // LOG_EVERY_ENV_STEPS:
                    _log(run, loop, progress, learner, epsilon, loss)
                if play_test_due(settings, progress):
                    _play_test(run, loop, progress, settings, spec, learner, test_lanes, seed, device)
                    if borrowed:
                        frames = lanes.reset(derive_seeds(seed, "train", count, run.resumptions, progress.env_steps))
                        memory.begin_anew(frames)
                        states = stacker.push(frames)
                        totals[:], lengths[:] = 0.0, 0
                loop.advance(progress.env_steps - loop.done, numbers)

            if settings.eval_every and progress.evaluated_at != progress.env_steps:
                _play_test(run, loop, progress, settings, spec, learner, test_lanes, seed, device)

    weights = progress.best_weights if progress.best_weights is not None else copy_of_weights(learner.average)
    summary = {
        "env_steps": progress.env_steps,
        "games": progress.games,
        "gradient_steps": learner.gradient_steps,
        "mean_return_20": progress.mean_return,
        "best_mean_return": progress.best_mean_return,
        "stopped_early": progress.solved,
    }
    return DqnOutcome(weights, memory, summary)


def _log(run: Run, loop: Loop, progress: Progress, learner: DqnLearner, epsilon: float, loss: Tensor) -> None:
    run.metrics.write(
        progress.env_steps,
        {
            "event": "progress",
            "env_steps": progress.env_steps,
            "gradient_steps": learner.gradient_steps,
            "games": progress.games,
            "mean_return_20": progress.mean_return,
            "epsilon": epsilon,
            **loop.checked({"loss": float(loss.item())}),
            "env_steps_per_second": loop.rate,
        },
    )


def play_test_due(settings: DqnSettings, progress: Progress) -> bool:
    """Whether the next multiple of ``eval_every`` environment steps is reached; where the average of the weights plays from some
    step on, there are no play tests before."""
    if not settings.eval_every:
        return False
    if settings.greedy_from < 1 and progress.env_steps < settings.greedy_from * settings.env_steps:
        return False
    return progress.env_steps // settings.eval_every > progress.evaluated_at // settings.eval_every


def _play_test(
    run: Run,
    loop: Loop,
    progress: Progress,
    settings: DqnSettings,
    spec: StateSpec,
    learner: DqnLearner,
    open_lanes: KeptLanes,
    seed: int,
    device: torch.device,
) -> None:
    """Plays games that choose among the Q-functions of this run, and keeps the best one's weights.

    One that looks better than the best so far plays as many games again, and all of them count: the best of twenty means of ten
    games is mostly luck.
    """
    loop.save()  # an environment that fails costs no learning
    q_values = direct_q_values(learner.average, spec)
    games: list[Game] = []
    for stage in ("select", "select again"):
        games += play_games(
            open_lanes,
            q_values,
            seeds=derive_seeds(seed, stage, settings.eval_games, progress.env_steps),
            epsilon=settings.eval_epsilon,
            random=numpy_generator(seed, stage, progress.env_steps),
            device=device,
            limits=GameLimits(settings.max_idle_frames),
            poll=loop.poll,
            show=lambda numbers: loop.show(0, {"play test": f"step {numbers['steps']:,}"} | numbers),
        )
        returns = returns_of(games)
        mean = float(np.mean(returns))
        better = progress.best_mean_return is None or mean >= progress.best_mean_return
        if not better:
            break
    progress.evaluated_at = progress.env_steps
    if better:
        progress.best_mean_return, progress.best_weights = mean, copy_of_weights(learner.average)
    loop.note({"best play test": progress.best_mean_return})
    run.metrics.write(
        progress.env_steps,
        {
            "event": "play_test",
            "env_steps": progress.env_steps,
            "returns": returns,
            "mean_return": mean,
            **counted(games),
        },
    )


def _ring_slots(settings: DqnSettings, spec: StateSpec, lanes: int) -> int:
    """Slots that hold ``memory_capacity`` records: besides them a ring has the open slot, the frames that its oldest
    states need, and a row for each reset (one in a hundred leaves room for the games of Atari)."""
    return spec.stack + settings.n_step + 2 - (-settings.memory_capacity * 101 // (100 * lanes))
