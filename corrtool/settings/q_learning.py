"""The settings of the stages that learn a Q-function by playing: ``train-dqn`` and ``finetune``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

from corrtool.errors import UsageError
from corrtool.settings.base import MAX_BATCH_SIZE, Settings, flag_name, setting
from corrtool.settings.compute import (
    compile_setting,
    max_minutes_setting,
    precision_setting,
)
from corrtool.settings.play import max_idle_frames_setting, player_inputs


@dataclass(frozen=True)
class DqnSettings(Settings):
    """Algorithm 2, and its special case Algorithm 1, for ``train-dqn`` and ``finetune``."""

    env_steps: int = setting(300_000, "environment steps to learn for, over all lanes", minimum=1)
    unsolved_env_steps: int = setting(
        0,
        "environment steps to learn for, if more, where by the end of --env-steps no play test "
        "has reached the return that solves the task (Gymnasium's reward_threshold), or, of tasks "
        "that state none, play tests still get better; the schedules stay as they are; 0 for no "
        "more; in the default preset 160,000 for vectors and 600,000 for pictures, unless "
        "--env-steps is given; of tasks that state none it also ends early, from two fifths of "
        "--env-steps on, where two play tests in a row are as good as the best game, to 5 % of "
        "what was learnt",
        minimum=0,
    )
    stop_at_mean_return: float | None = setting(
        None,
        "stop early when the mean return of the last 20 training games, with the random actions of "
        "all lanes, reaches this",
    )
    lanes: int = setting(8, "environments played side by side", minimum=1, maximum=1024)
    learning_rate: float = setting(5e-4, "step size of the optimizer", above=0)
    learning_rate_end: float = setting(
        1e-4, "the same at the end of --env-steps, if that is less", above=0
    )
    constant_share: float = setting(
        0.7,
        "share of --env-steps before the learning rate starts to fall, linearly",
        minimum=0,
        maximum=1,
    )
    optimizer: Literal["adam", "rmsprop", "sgd"] = setting("adam", "optimizer of the Q-function")
    optimizer_epsilon: float = setting(
        1e-8,
        "added to the denominator of Adam and RMSprop; 'nature' and 'paper' need some 1.5e-4 with "
        "Adam, or may die before the first useful reward",
        above=0,
    )
    loss: Literal["huber", "squared"] = setting(
        "huber", "loss of the temporal difference (Algorithm 2, line 16)"
    )
    batch_size: int = setting(
        64, "transitions in a mini-batch (n_B)", minimum=1, maximum=MAX_BATCH_SIZE
    )
    gamma: float = setting(0.99, "discount factor of one environment step", minimum=0, maximum=1)
    n_step: int = setting(
        10,
        "rewards summed before bootstrapping when learning begins: many carry the first rewards "
        "far; 1 is the paper's",
        minimum=1,
        maximum=100,
    )
    n_step_end: int = setting(
        3, "the same in the end, if that is fewer: few are exact", minimum=1, maximum=100
    )
    n_step_env_steps: int = setting(
        80_000, "environment steps over which --n-step falls to --n-step-end", minimum=1
    )
    double_q: bool = setting(
        False, "choose the next action with the learning network (double Q-learning)"
    )
    clip_rewards: bool | None = setting(
        None,
        "learn from the sign of each reward as in [23]; reported returns are never clipped",
        shown="on for Atari games, else off; of finetune as the Q-function learnt",
    )
    replay: bool = setting(
        True, "learn from a replay memory; without it, from each newest transition once"
    )
    target_network: bool = setting(True, "take targets from a slowly updated copy of the network")
    memory_capacity: int = setting(
        40_000, "records in the replay memory (n_M)", minimum=1, maximum=10**9
    )
    priority_exponent: float = setting(
        0.0,
        "exponent α of prioritized replay: how much more often transitions are learnt from whose "
        "targets were missed; 0 for all alike",
        minimum=0,
        maximum=1,
    )
    learning_starts: int = setting(
        2_000, "environment steps played with the first ε before learning begins", minimum=0
    )
    env_steps_per_update: int = setting(
        8, "environment steps played for each gradient step", minimum=1
    )
    target_sync_every: int = setting(
        250, "gradient steps between copies into the target network (n_U)", minimum=1
    )
    weight_ema: float = setting(
        0.999,
        "share of the average of the weights that each gradient step leaves as it was; the "
        "average is what is tested and saved, 0 for the weights themselves",
        minimum=0,
        maximum=0.999_999,
        formerly="weight_average",
    )
    greedy_from: float = setting(
        0.5,
        "share of --env-steps after which the training games are played as they are tested: by "
        "the average of the weights, which early on lags behind, and with --eval-epsilon; 1 for "
        "never",
        minimum=0,
        maximum=1,
    )
    epsilon_start: float = setting(
        1.0, "share of random actions when learning begins", minimum=0, maximum=1
    )
    epsilon_end: float = setting(0.01, "share of random actions in the end", minimum=0, maximum=1)
    epsilon_end_most: float = setting(
        0.0,
        "the same in the lane that explores most, if that is more; those between explore more from "
        "one to the next, by equal ratios",
        minimum=0,
        maximum=1,
    )
    epsilon_env_steps: int = setting(
        40_000, "environment steps over which ε falls linearly", minimum=1
    )
    held_exploration: float = setting(
        0.0,
        "share of the lanes, rounded up, in which a random action is repeated for a number of "
        "steps drawn from a zeta distribution, which finds what takes many steps in one "
        "direction; 0 for none, 0.25 in the default preset of train-dqn",
        minimum=0,
        maximum=1,
    )
    max_gradient_norm: float = setting(
        10.0, "gradients are scaled down to this norm; 0 leaves them alone", minimum=0
    )
    eval_every: int = setting(
        0,
        "environment steps between play tests, of which the best Q is kept; 0 for none",
        minimum=0,
    )
    eval_games: int = setting(
        10,
        "games in a play test; the best so far has to play as many again before it wins against "
        "a later one or solves the task, and in the end",
        minimum=1,
        maximum=1_000_000,
    )
    eval_epsilon: float = setting(
        0.001,
        "share of random actions in a play test, and after --greedy-from",
        minimum=0,
        maximum=1,
    )
    max_idle_frames: int = max_idle_frames_setting()
    precision: Literal["float32", "bf16", "auto"] = precision_setting()
    compile: bool = compile_setting()
    max_minutes: float | None = max_minutes_setting()

    @classmethod
    def settled(cls, values: dict[str, Any], said: set[str]) -> dict[str, Any]:
        if "env_steps" in said and "unsolved_env_steps" not in said:
            return values | {"unsolved_env_steps": 0}  # who says how long means that
        return values

    def check(self) -> None:
        if self.replay and self.memory_capacity < self.lanes * (self.n_step + 2):
            raise UsageError(
                f"--memory-capacity is {self.memory_capacity}",
                f"{self.lanes} lanes with {self.n_step}-step returns need at least "
                f"{self.lanes * (self.n_step + 2)}",
            )
        if self.epsilon_end_most > 0 and self.epsilon_end == 0:
            raise UsageError(
                f"--epsilon-end-most {self.epsilon_end_most} is no multiple of --epsilon-end 0",
                "give --epsilon-end-most 0 as well, or an --epsilon-end above 0",
            )
        if not self.replay and self.n_step != 1:
            raise UsageError(
                f"--no-replay learns from single transitions, but --n-step is {self.n_step}",
                "use --n-step 1",
            )
        if not self.replay and self.env_steps_per_update != self.lanes:
            raise UsageError(
                "--no-replay learns from each newest transition once",
                "set --env-steps-per-update equal to --lanes",
            )

    def clipping_unless_said(self, clips: bool) -> Self:
        """The same, with rewards clipped or not where nobody said it."""
        return self if self.clip_rewards is not None else replace(self, clip_rewards=clips)

    def without_effect(self, state_kind: str, options: dict[str, Any]) -> dict[str, str]:
        unused: dict[str, str] = {}
        if not self.eval_every:
            unused |= dict.fromkeys(
                ("eval_games", "max_idle_frames", "unsolved_env_steps"),
                "there are no play tests without --eval-every",
            )
        if not self.eval_every and self.greedy_from == 1:
            unused["eval_epsilon"] = "there are no play tests without --eval-every"
        if not self.replay:
            unused |= dict.fromkeys(
                ("memory_capacity", "batch_size", "priority_exponent"),
                "--no-replay learns from each newest transition",
            )
        if not self.target_network:
            unused["target_sync_every"] = "--no-target-network"
        if self.lanes == 1:
            unused["epsilon_end_most"] = "--lanes 1 explores with --epsilon-end"
        if self.optimizer == "sgd":
            unused["optimizer_epsilon"] = "--optimizer sgd has none"
        return unused


@dataclass(frozen=True)
class TrainDqnSettings(DqnSettings):
    """Step 1: learn to play the source task."""

    stage: ClassVar[str] = "train-dqn"
    makes: ClassVar[tuple[str, ...]] = ("q", "memory")

    task: Literal["source", "target"] = setting("source", "which task to learn")
    constant_share: float = setting(
        0.4,
        "share of --env-steps before the learning rate starts to fall, linearly",
        minimum=0,
        maximum=1,
    )
    greedy_from: float = setting(
        0.6,
        "share of --env-steps after which the training games are played as they are tested: by "
        "the average of the weights, which early on lags behind, and with --eval-epsilon; 1 for "
        "never",
        minimum=0,
        maximum=1,
    )
    architecture: Literal[
        "auto", "nature", "paper", "small", "medium", "grid", "conv1d", "mlp", "linear"
    ] = setting(
        "auto",
        "Q-function: 'nature', 'paper', 'small' or, for pictures of few pixels, 'medium' (16 a "
        "side or more) or 'grid'; 'conv1d' for signals; 'mlp' or 'linear' for vectors; 'auto' is "
        "the first of small, medium and grid that fits, conv1d or mlp",
    )
    width: int = setting(
        256, "units in each hidden layer of an mlp Q-function", minimum=1, maximum=16_384
    )
    init: Literal["default", "normal"] = setting(
        "default", "first weights: torch's own, or N(0, 0.02) as printed"
    )
    memory_records: int = setting(
        10_000, "newest records to keep as the source memory M_S", minimum=1
    )
    random_records: int = setting(
        0,
        "records of random play of the same task to write as well, as the memory NAME-random: an "
        "agent's own show few of the states that the target's random play does; 0 for none, "
        "10,000 in the default preset",
        minimum=0,
    )
    eval_every: int = setting(
        20_000,
        "environment steps between play tests, of which the best Q is kept, from --greedy-from on "
        "if that is below 1; 0 for none",
        minimum=0,
    )

    def without_effect(self, state_kind: str, options: dict[str, Any]) -> dict[str, str]:
        mlp = self.architecture == "mlp" or (self.architecture == "auto" and state_kind == "vector")
        return super().without_effect(state_kind, options) | (
            {} if mlp else {"width": "only an mlp Q-function has it"}
        )


@dataclass(frozen=True)
class FinetuneSettings(DqnSettings):
    """Step 5: go on learning on the target task with the correspondence held fixed."""

    stage: ClassVar[str] = "finetune"
    inputs: ClassVar[dict[str, str]] = player_inputs()
    makes: ClassVar[tuple[str, ...]] = ("q",)

    task: Literal["source", "target"] = setting("target", "which task to learn")
    env_steps: int = setting(200_000, "environment steps to learn for, over all lanes", minimum=1)
    n_step: int = setting(
        3, "rewards summed before bootstrapping; 1 is the paper's", minimum=1, maximum=100
    )
    memory_capacity: int = setting(
        30_000, "records in the replay memory (n_M)", minimum=1, maximum=10**9
    )
    learning_starts: int = setting(
        2_000, "environment steps played before learning begins", minimum=0
    )
    epsilon_start: float = setting(
        0.01, "share of random actions when learning begins", minimum=0, maximum=1
    )
    learning_rate: float = setting(1e-4, "step size of the optimizer", above=0)
    greedy_from: float = setting(
        1.0,
        "share of --env-steps after which the training games are played as they are tested: by "
        "the average of the weights and with --eval-epsilon; 1 for never",
        minimum=0,
        maximum=1,
    )
    scratch_epsilon_start: float = setting(
        1.0, "with --from-scratch, what takes the place of --epsilon-start", minimum=0, maximum=1
    )
    scratch_epsilon_env_steps: int = setting(
        40_000, "with --from-scratch, what takes the place of --epsilon-env-steps", minimum=1
    )

    def without_effect(self, state_kind: str, options: dict[str, Any]) -> dict[str, str]:
        names = ("epsilon_start", "epsilon_env_steps")
        if options.get("from_scratch"):
            unused = {
                name: f"--from-scratch goes by {flag_name(f'scratch_{name}')}" for name in names
            }
        else:
            unused = {f"scratch_{name}": "it is for --from-scratch" for name in names}
        return super().without_effect(state_kind, options) | unused
