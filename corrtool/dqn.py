"""Algorithm 2 (DQN); Algorithm 1 is its special case without replay memory and target network."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from corrtool.config import DqnSettings
from corrtool.correspondence import copy_of_weights
from corrtool.losses import temporal_difference_loss, temporal_difference_target
from corrtool.memory import MemoryJournal, ReplayMemory, StateStacker, TransitionBatch
from corrtool.project.checkpoints import load_optimizer_state
from corrtool.project.runs import Run
from corrtool.reporting.console import Console
from corrtool.runtime import derive_seeds, numpy_generator
from corrtool.stages.loop import Loop, StopSignals
from corrtool.stages.play import LanesLike, choose_actions, direct_q_values, play_games
from corrtool.states import IMAGE, StateSpec, raw_to_q
from corrtool.statistics import moving_mean

LOG_EVERY_ENV_STEPS = 1_000


def exploration_rate(settings: DqnSettings, env_steps: int) -> float:
    """ε after ``env_steps``: ε_start until learning begins, then linearly to ε_end."""
    share = min(1.0, max(0.0, (env_steps - settings.learning_starts) / settings.epsilon_env_steps))
    return settings.epsilon_start + share * (settings.epsilon_end - settings.epsilon_start)


def learning_rate(settings: DqnSettings, env_steps: int) -> float:
    """The optimizer's step size after ``env_steps``: learning_rate for a while, then linearly to learning_rate_end if that is less."""
    end = min(settings.learning_rate, settings.learning_rate_end)
    constant = settings.constant_share * settings.env_steps
    share = min(1.0, max(0.0, (env_steps - constant) / max(1.0, settings.env_steps - constant)))
    return settings.learning_rate + share * (end - settings.learning_rate)


def return_length(settings: DqnSettings, env_steps: int) -> int:
    """n of the n-step returns after ``env_steps``: from n_step when learning begins, linearly to n_step_end if that is less."""
    end = min(settings.n_step, settings.n_step_end)
    share = min(1.0, max(0.0, (env_steps - settings.learning_starts) / settings.n_step_env_steps))
    return round(settings.n_step + share * (end - settings.n_step))


class DqnLearner:
    """The learning network, its target network, its average and the optimizer.

    Attributes:
        average: the network that is tested and kept: an exponential average of the weights on the way, which plays more
            steadily than the weights of any one moment; the learning network itself where ``weight_average`` is 0. Training
            games are played by the learning network, whose mistakes are news (docs/results.md).
    """

    def __init__(self, q_function: nn.Module, spec: StateSpec, settings: DqnSettings) -> None:
        if spec.kind == IMAGE:  # a quarter less time per update on a CPU
            q_function = q_function.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.q_function = q_function
        self.target = copy.deepcopy(q_function).requires_grad_(False) if settings.target_network else q_function
        self.average = copy.deepcopy(q_function).requires_grad_(False) if settings.weight_average > 0 else q_function
        self.settings, self._spec = settings, spec
        self.optimizer = _optimizer(q_function, settings)
        self.gradient_steps = 0

    def update(self, batch: TransitionBatch, env_steps: int = 0) -> Tensor:
        """Lines 9–17 of Algorithm 2 on one mini-batch; returns the loss, detached, still on the device."""
        settings = self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(settings, env_steps)
        with torch.no_grad():
            next_states = raw_to_q(self._spec, batch.next_states)
            next_values = self.target(next_states)
            if settings.double_q:
                best = self.q_function(next_states).argmax(dim=1, keepdim=True)
                next_best = next_values.gather(1, best).squeeze(1)
            else:
                next_best = next_values.max(dim=1).values
            targets = temporal_difference_target(batch.returns, batch.terminated, next_best, batch.discounts)
        q_values = self.q_function(raw_to_q(self._spec, batch.states)).gather(1, batch.actions[:, None]).squeeze(1)
        loss = temporal_difference_loss(q_values, targets, settings.loss)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if settings.max_gradient_norm > 0:
            nn.utils.clip_grad_norm_(self.q_function.parameters(), settings.max_gradient_norm)
        self.optimizer.step()
        if self.average is not self.q_function:
            with torch.no_grad():
                own: list[Tensor] = list(self.average.parameters())
                torch._foreach_lerp_(own, list(self.q_function.parameters()), 1.0 - self._average_share())
        self.gradient_steps += 1
        if settings.target_network and self.gradient_steps % settings.target_sync_every == 0:
            self.target.load_state_dict(self.q_function.state_dict())
        return loss.detach()

    def _average_share(self) -> float:
        """What a gradient step leaves of the average: less at first, so that a short run's is not that of its first weights."""
        return min(self.settings.weight_average, (1 + self.gradient_steps) / (10 + self.gradient_steps))

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "q_function": self.q_function.state_dict(),
            "target": self.target.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "gradient_steps": self.gradient_steps,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state`."""
        self.q_function.load_state_dict(state["q_function"])
        self.target.load_state_dict(state["target"])
        self.average.load_state_dict(state["average"])
        load_optimizer_state(self.optimizer, state["optimizer"])
        self.gradient_steps = int(state["gradient_steps"])


def _ring_slots(settings: DqnSettings, spec: StateSpec, lanes: int) -> int:
    """Slots that hold ``memory_capacity`` records: besides them a ring has the open slot, the frames that its oldest
    states need, and a row for each reset (one in a hundred leaves room for the games of Atari)."""
    return spec.stack + settings.n_step + 2 - (-settings.memory_capacity * 101 // (100 * lanes))


def _optimizer(network: nn.Module, settings: DqnSettings) -> torch.optim.Optimizer:
    parameters = list(network.parameters())
    match settings.optimizer:
        case "adam":
            return torch.optim.Adam(parameters, lr=settings.learning_rate, eps=settings.optimizer_epsilon, fused=True)
        case "rmsprop":
            return torch.optim.RMSprop(parameters, lr=settings.learning_rate, eps=settings.optimizer_epsilon)
        case "sgd":
            return torch.optim.SGD(parameters, lr=settings.learning_rate)


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
    make_lanes: Callable[[int], LanesLike],
    device: torch.device,
    seed: int,
) -> DqnOutcome:
    """Algorithm 2 over several lanes: play, store, sample, update; resumes from ``state``.

    The emulators step while the network learns. Their state cannot be saved, so after a resumption they start new
    games from seeds that depend on the number of resumptions; everything else continues.
    """
    with make_lanes(settings.lanes) as lanes:
        spec, count = lanes.spec, lanes.count
        memory = ReplayMemory(spec, count, _ring_slots(settings, spec, count), device)
        learner = DqnLearner(q_function.to(device).train(), spec, settings)
        random = numpy_generator(seed, "dqn")
        progress = Progress()
        journal = MemoryJournal(run.directory / "journal", None if state is None else state["journal"])
        if state is not None:
            learner.load_state(state["learner"])
            random.bit_generator.state = state["random"]
            progress = Progress(**state["progress"])
            journal.load(memory)
        journal.prune()

        def checkpoint() -> dict[str, Any]:
            return {
                "learner": learner.state(),
                "random": random.bit_generator.state,
                "progress": dict(progress.__dict__),
                "journal": journal.save(memory),
            }

        frames = lanes.reset(derive_seeds(seed, "train", count, run.resumptions))
        memory.open_slot(frames)
        stacker = StateStacker(spec, count, device)
        states = stacker.push(frames)
        q_values = direct_q_values(learner.q_function, spec)
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
                    loss = learner.update(
                        memory.sample(
                            settings.batch_size,
                            random,
                            n_step=n_step,
                            gamma=settings.gamma,
                            clip_rewards=settings.clip_rewards,
                        ),
                        progress.env_steps,
                    )

            while progress.env_steps < total and not progress.solved:
                epsilon = exploration_rate(settings, progress.env_steps)
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
                    loss = learner.update(batch, progress.env_steps)

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
                    "games": progress.games,
                    "mean return (20 games)": progress.mean_return,
                    "ε": epsilon,
                    "gradient steps": learner.gradient_steps,
                }
                if progress.env_steps // LOG_EVERY_ENV_STEPS > loop.done // LOG_EVERY_ENV_STEPS:
                    _log(run, progress, learner, epsilon, loop.rate, loss)
                if (
                    settings.eval_every
                    and progress.env_steps // settings.eval_every > progress.evaluated_at // settings.eval_every
                ):
                    _play_test(run, loop, progress, settings, spec, learner, make_lanes, seed, device)
                loop.advance(progress.env_steps - loop.done, numbers)

            if settings.eval_every and progress.evaluated_at != progress.env_steps:
                _play_test(run, loop, progress, settings, spec, learner, make_lanes, seed, device)

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


def _log(run: Run, progress: Progress, learner: DqnLearner, epsilon: float, rate: float, loss: Tensor) -> None:
    run.metrics.write(
        progress.env_steps,
        {
            "event": "progress",
            "env_steps": progress.env_steps,
            "gradient_steps": learner.gradient_steps,
            "games": progress.games,
            "mean_return_20": progress.mean_return,
            "epsilon": epsilon,
            "loss": float(loss.item()),
            "env_steps_per_second": rate,
        },
    )


def _play_test(
    run: Run,
    loop: Loop,
    progress: Progress,
    settings: DqnSettings,
    spec: StateSpec,
    learner: DqnLearner,
    make_lanes: Callable[[int], LanesLike],
    seed: int,
    device: torch.device,
) -> None:
    """Plays games that choose among the Q-functions of this run, and keeps the best one's weights."""
    returns = play_games(
        make_lanes,
        direct_q_values(learner.average, spec),
        seeds=derive_seeds(seed, "select", settings.eval_games, progress.env_steps),
        epsilon=settings.eval_epsilon,
        random=numpy_generator(seed, "select", progress.env_steps),
        device=device,
        poll=loop.poll,
    )
    progress.evaluated_at = progress.env_steps
    mean = float(np.mean(returns))
    if progress.best_mean_return is None or mean >= progress.best_mean_return:
        progress.best_mean_return, progress.best_weights = mean, copy_of_weights(learner.average)
    run.metrics.write(
        progress.env_steps,
        {"event": "play_test", "env_steps": progress.env_steps, "returns": returns, "mean_return": mean},
    )
