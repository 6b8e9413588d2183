"""The keyword arguments of each stage as types; see docs/cli.md or ``corrtool STAGE --help``.

Made from the settings by `python -m corrtool.cli.arguments > corrtool/arguments.py`; a test fails
when it drifts.
"""

from __future__ import annotations

from os import PathLike
from typing import Literal, TypedDict

from corrtool.settings.base import Preset
from corrtool.settings.generators import Generator


class PreprocessingArguments(TypedDict, total=False):
    frame_skip: int
    max_pool: bool
    noop_max: int
    repeat_action_probability: float
    fire_reset: bool
    terminal_on_life_loss: bool
    full_action_space: bool
    max_episode_frames: int
    max_episode_steps: int | None
    screen_size: int | None
    channels_axis: Literal["first", "last"] | None
    observation_key: str | None
    signal: bool
    time_axis: Literal["first", "last"] | None
    grayscale: bool
    stack: int


class CommonArguments(TypedDict, total=False):
    seed: int | None
    device: str | None
    preset: Preset | None
    name: str | None
    overwrite: bool
    dry_run: bool


class LearningArguments(CommonArguments, total=False):
    tensorboard: bool
    track: Literal["trackio", "wandb"] | None
    keep_checkpoints: int


class TrainDqnArguments(LearningArguments, total=False):
    extend: bool
    env_steps: int
    unsolved_env_steps: int
    stop_at_mean_return: float | None
    lanes: int
    learning_rate: float
    learning_rate_end: float
    constant_share: float
    optimizer: Literal["adam", "rmsprop", "sgd"]
    optimizer_epsilon: float
    loss: Literal["huber", "squared"]
    batch_size: int
    gamma: float
    n_step: int
    n_step_end: int
    n_step_env_steps: int
    double_q: bool
    clip_rewards: bool | None
    replay: bool
    target_network: bool
    memory_capacity: int
    priority_exponent: float
    learning_starts: int
    env_steps_per_update: int
    target_sync_every: int
    weight_ema: float
    greedy_from: float
    epsilon_start: float
    epsilon_end: float
    epsilon_end_most: float
    epsilon_env_steps: int
    held_exploration: float
    max_gradient_norm: float
    eval_every: int
    eval_games: int
    eval_epsilon: float
    max_idle_frames: int
    precision: Literal["float32", "bf16", "auto"]
    compile: bool
    max_minutes: float | None
    task: Literal["source", "target"]
    architecture: Literal[
        "auto", "nature", "paper", "small", "medium", "grid", "conv1d", "mlp", "linear"
    ]
    width: int
    init: Literal["default", "normal"]
    memory_records: int
    random_records: int


class CollectArguments(CommonArguments, total=False):
    task: Literal["source", "target"]
    policy: str
    epsilon: float
    records: int
    lanes: int


class TrainModelArguments(LearningArguments, total=False):
    memory: str | None
    random_memory: str | None
    architecture: Literal["auto", "resnet", "folded", "mlp"]
    filters: int
    blocks: int
    action_block: int
    norm: Literal["batch", "instance"]
    prediction: Literal["residual", "state"]
    skips: bool
    loss: Literal["mse", "l1"]
    learning_rate: float
    warmup_gradient_steps: int
    constant_share: float
    batch_size: int
    epochs: int
    gradient_steps: int | None
    validation_share: float
    mixed_memories: bool
    precision: Literal["float32", "bf16", "auto"]
    compile: bool
    max_minutes: float | None


class LearnCorrArguments(LearningArguments, total=False):
    q: str | None
    model: str | None
    source_memory: str | None
    target_memory: str | None
    recipe: Literal["none", "auto"]
    recipe_trial_steps: int
    recipe_enough: float
    recipe_patience: int
    lambda_cyc: float
    lambda_q: float
    q_loss: Literal["auto", "q", "logits", "value"]
    lambda_m: float
    generator: Generator
    angle_init: float
    angle_starts: int | None
    linear_starts: int
    signal_starts: int
    spatial_learning_rate: float
    tone: bool
    filters: int
    blocks: int
    skips: bool
    framewise: bool
    folded: bool
    discriminator_filters: int
    norm: Literal["instance", "batch"]
    gan_loss: Literal["lsgan", "log"]
    cycle_loss: Literal["printed", "surprise"]
    model_loss: Literal["printed", "relative"]
    action_map: str
    learning_rate: float
    constant_share: float
    batch_size: int
    pool_size: int
    epochs: int
    gradient_steps: int | None
    eval_every: int
    eval_games: int
    eval_epsilon: float
    max_idle_frames: int
    match_play: bool
    precision: Literal["float32", "bf16", "auto"]
    compile: bool
    max_minutes: float | None


class EvaluateArguments(CommonArguments, total=False):
    q: str | None
    corr: str | None
    no_corr: bool
    video: str | PathLike[str] | None
    task: Literal["source", "target"]
    policy: Literal["q", "random"]
    games: int
    epsilon: float
    repeat_action_probability: float | None
    lanes: int
    max_idle_frames: int


class FinetuneArguments(LearningArguments, total=False):
    q: str | None
    corr: str | None
    no_corr: bool
    from_scratch: bool
    env_steps: int
    unsolved_env_steps: int
    stop_at_mean_return: float | None
    lanes: int
    learning_rate: float
    learning_rate_end: float
    constant_share: float
    optimizer: Literal["adam", "rmsprop", "sgd"]
    optimizer_epsilon: float
    loss: Literal["huber", "squared"]
    batch_size: int
    gamma: float
    n_step: int
    n_step_end: int
    n_step_env_steps: int
    double_q: bool
    clip_rewards: bool | None
    replay: bool
    target_network: bool
    memory_capacity: int
    priority_exponent: float
    learning_starts: int
    env_steps_per_update: int
    target_sync_every: int
    weight_ema: float
    greedy_from: float
    epsilon_start: float
    epsilon_end: float
    epsilon_end_most: float
    epsilon_env_steps: int
    held_exploration: float
    max_gradient_norm: float
    eval_every: int
    eval_games: int
    eval_epsilon: float
    max_idle_frames: int
    precision: Literal["float32", "bf16", "auto"]
    compile: bool
    max_minutes: float | None
    task: Literal["source", "target"]
    scratch_epsilon_start: float
    scratch_epsilon_env_steps: int
