"""The settings of each stage: one frozen dataclass, the single source of defaults, help texts and ranges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from corrtool.errors import UsageError
from corrtool.settings import Settings, flag_name, setting

MOST_IN_A_BATCH = 65_536

TASK_ROLES = ("source", "target")


@dataclass(frozen=True)
class CollectSettings(Settings):
    """Step 2 of the experiments: play a task and keep the records."""

    stage: ClassVar[str] = "collect"

    task: Literal["source", "target"] = setting("target", "which task to play")
    policy: str = setting("random", "who plays: 'random', or 'q:NAME' for a trained Q-function")
    epsilon: float = setting(0.05, "share of random actions when a Q-function plays", minimum=0, maximum=1)
    records: int = setting(10_000, "valid transitions to write, exactly", minimum=1)
    lanes: int = setting(8, "environments played side by side", minimum=1, maximum=1024)

    def check(self) -> None:
        if self.policy != "random" and not (self.policy.startswith("q:") and len(self.policy) > 2):
            raise UsageError(f"--policy is {self.policy!r}", "give 'random' or 'q:NAME'")

    def without_effect(self, state_kind: str, options: dict[str, Any]) -> dict[str, str]:
        return {"epsilon": "random play has no other"} if self.policy == "random" else {}


@dataclass(frozen=True)
class DqnSettings(Settings):
    """Algorithm 2, and Algorithm 1 as its special case; shared by ``train-dqn`` and ``finetune``."""

    env_steps: int = setting(300_000, "environment steps to learn for, over all lanes", minimum=1)
    stop_at_mean_return: float | None = setting(
        None, "stop early when the mean return of the last 20 training games reaches this"
    )
    lanes: int = setting(8, "environments played side by side", minimum=1, maximum=1024)
    learning_rate: float = setting(5e-4, "step size of the optimizer", above=0)
    learning_rate_end: float = setting(1e-4, "the same at the end of --env-steps, if that is less", above=0)
    constant_share: float = setting(
        0.7, "share of --env-steps before the learning rate starts to fall, linearly", minimum=0, maximum=1
    )
    optimizer: Literal["adam", "rmsprop", "sgd"] = setting("adam", "optimizer of the Q-function")
    optimizer_epsilon: float = setting(
        1e-8,
        "added to the denominator of Adam and RMSprop; 'nature' and 'paper' need some 1.5e-4 with Adam, or may die before "
        "the first useful reward",
        above=0,
    )
    loss: Literal["huber", "squared"] = setting("huber", "loss of the temporal difference (Algorithm 2, line 16)")
    batch_size: int = setting(64, "transitions in a mini-batch (n_B)", minimum=1, maximum=MOST_IN_A_BATCH)
    gamma: float = setting(0.99, "discount factor of one environment step", minimum=0, maximum=1)
    n_step: int = setting(
        10,
        "rewards summed before bootstrapping when learning begins: many carry the first rewards far; 1 is the paper's",
        minimum=1,
        maximum=100,
    )
    n_step_end: int = setting(3, "the same in the end, if that is fewer: few are exact", minimum=1, maximum=100)
    n_step_env_steps: int = setting(80_000, "environment steps over which --n-step falls to --n-step-end", minimum=1)
    double_q: bool = setting(False, "choose the next action with the learning network (double Q-learning)")
    clip_rewards: bool = setting(
        True, "learn from the sign of each reward as in [23]; reported returns are never clipped"
    )
    replay: bool = setting(True, "learn from a replay memory; without it, from each newest transition once")
    target_network: bool = setting(True, "take targets from a slowly updated copy of the network")
    memory_capacity: int = setting(40_000, "records in the replay memory (n_M)", minimum=1, maximum=10**9)
    priority_exponent: float = setting(
        0.0,
        "α of prioritized replay: how much more often transitions are learnt from whose targets were missed; 0 for all alike",
        minimum=0,
        maximum=1,
    )
    learning_starts: int = setting(2_000, "environment steps played with the first ε before learning begins", minimum=0)
    env_steps_per_update: int = setting(8, "environment steps played for each gradient step", minimum=1)
    target_sync_every: int = setting(250, "gradient steps between copies into the target network (n_U)", minimum=1)
    weight_average: float = setting(
        0.999,
        "share of the average of the weights that each gradient step leaves as it was; the average is what is tested and saved, "
        "0 for the weights themselves",
        minimum=0,
        maximum=0.999_999,
    )
    greedy_from: float = setting(
        0.5,
        "share of --env-steps after which the training games are played as they are tested: by the average of the weights, which early "
        "on lags behind, and with --eval-epsilon; 1 for never",
        minimum=0,
        maximum=1,
    )
    epsilon_start: float = setting(1.0, "share of random actions when learning begins", minimum=0, maximum=1)
    epsilon_end: float = setting(0.01, "share of random actions in the end", minimum=0, maximum=1)
    epsilon_env_steps: int = setting(40_000, "environment steps over which ε falls linearly", minimum=1)
    max_gradient_norm: float = setting(10.0, "gradients are scaled down to this norm; 0 leaves them alone", minimum=0)
    eval_every: int = setting(
        0, "environment steps between play tests, of which the best Q is kept; 0 for none", minimum=0
    )
    eval_games: int = setting(
        10,
        "games in a play test; one that looks better than the best so far plays as many again",
        minimum=1,
        maximum=1_000_000,
    )
    eval_epsilon: float = setting(
        0.001, "share of random actions in a play test, and after --greedy-from", minimum=0, maximum=1
    )

    def check(self) -> None:
        if self.replay and self.memory_capacity < self.lanes * (self.n_step + 2):
            raise UsageError(
                f"--memory-capacity is {self.memory_capacity}",
                f"{self.lanes} lanes with {self.n_step}-step returns need at least {self.lanes * (self.n_step + 2)}",
            )
        if not self.replay and self.n_step != 1:
            raise UsageError(
                f"--no-replay learns from single transitions, but --n-step is {self.n_step}", "use --n-step 1"
            )
        if not self.replay and self.env_steps_per_update != self.lanes:
            raise UsageError(
                "--no-replay learns from each newest transition once",
                "set --env-steps-per-update equal to --lanes",
            )

    def without_effect(self, state_kind: str, options: dict[str, Any]) -> dict[str, str]:
        idle: dict[str, str] = {}
        if not self.eval_every:
            idle["eval_games"] = "there are no play tests without --eval-every"
        if not self.eval_every and self.greedy_from == 1:
            idle["eval_epsilon"] = "there are no play tests without --eval-every"
        if not self.replay:
            idle |= dict.fromkeys(
                ("memory_capacity", "batch_size", "priority_exponent"), "--no-replay learns from each newest transition"
            )
        if not self.target_network:
            idle["target_sync_every"] = "--no-target-network"
        if self.optimizer == "sgd":
            idle["optimizer_epsilon"] = "--optimizer sgd has none"
        return idle


@dataclass(frozen=True)
class TrainDqnSettings(DqnSettings):
    """Step 1: learn to play the source task."""

    stage: ClassVar[str] = "train-dqn"

    task: Literal["source", "target"] = setting("source", "which task to learn")
    constant_share: float = setting(
        0.4, "share of --env-steps before the learning rate starts to fall, linearly", minimum=0, maximum=1
    )
    greedy_from: float = setting(
        0.6,
        "share of --env-steps after which the training games are played as they are tested: by the average of the weights, which early "
        "on lags behind, and with --eval-epsilon; 1 for never",
        minimum=0,
        maximum=1,
    )
    architecture: Literal["auto", "nature", "paper", "small", "mlp", "linear"] = setting(
        "auto",
        "Q-function: 'nature', 'paper' or 'small' for images, 'mlp' or 'linear' for vectors; 'auto' is small or mlp",
    )
    width: int = setting(256, "units in each hidden layer of an mlp Q-function", minimum=1, maximum=16_384)
    init: Literal["default", "normal"] = setting("default", "first weights: torch's own, or N(0, 0.02) as printed")
    memory_records: int = setting(10_000, "newest records to keep as the source memory M_S", minimum=1)
    eval_every: int = setting(
        20_000,
        "environment steps between play tests, of which the best Q is kept, from --greedy-from on if that is below 1; 0 for none",
        minimum=0,
    )

    def without_effect(self, state_kind: str, options: dict[str, Any]) -> dict[str, str]:
        mlp = self.architecture == "mlp" or (self.architecture == "auto" and state_kind != "image")
        return super().without_effect(state_kind, options) | ({} if mlp else {"width": "only an mlp Q-function has it"})


@dataclass(frozen=True)
class FinetuneSettings(DqnSettings):
    """Step 5: go on learning on the target task with the correspondence held fixed."""

    stage: ClassVar[str] = "finetune"

    task: Literal["source", "target"] = setting("target", "which task to learn")
    env_steps: int = setting(200_000, "environment steps to learn for, over all lanes", minimum=1)
    n_step: int = setting(3, "rewards summed before bootstrapping; 1 is the paper's", minimum=1, maximum=100)
    memory_capacity: int = setting(30_000, "records in the replay memory (n_M)", minimum=1, maximum=10**9)
    learning_starts: int = setting(2_000, "environment steps played before learning begins", minimum=0)
    epsilon_start: float = setting(0.01, "share of random actions when learning begins", minimum=0, maximum=1)
    learning_rate: float = setting(1e-4, "step size of the optimizer", above=0)
    greedy_from: float = setting(
        1.0,
        "share of --env-steps after which the training games are played as they are tested: by the average of the weights and with "
        "--eval-epsilon; 1 for never",
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
            idle = {name: f"--from-scratch goes by {flag_name(f'scratch_{name}')}" for name in names}
        else:
            idle = {f"scratch_{name}": "it is for --from-scratch" for name in names}
        return super().without_effect(state_kind, options) | idle


@dataclass(frozen=True)
class TrainModelSettings(Settings):
    """Learn the environment model F of the source task (appendix 6.1)."""

    stage: ClassVar[str] = "train-model"

    architecture: Literal["auto", "resnet", "mlp"] = setting(
        "auto", "'resnet' for images, 'mlp' for vectors; 'auto' is resnet or mlp"
    )
    filters: int = setting(
        16,
        "filters of the first convolution, units of a hidden layer for vectors; the paper has 64",
        minimum=1,
        maximum=16_384,
    )
    blocks: int = setting(4, "residual blocks, hidden layers for vectors; the paper has 9", minimum=1, maximum=256)
    action_block: int = setting(
        0,
        "residual block that gets the action, from 1; 0 takes the middle one (the paper's fifth of nine)",
        minimum=0,
    )
    norm: Literal["batch", "instance"] = setting(
        "batch", "normalisation of the convolutions; 'instance' removes the action from every block that gets it"
    )
    prediction: Literal["residual", "state"] = setting(
        "residual",
        "what F puts out for images: the change of the newest frame, the others being known, or the whole next state as printed",
    )
    skips: bool = setting(
        False,
        "for images: the last layers of F also see the first ones' features, which keep small things sharp; the paper has none",
    )
    loss: Literal["mse", "l1"] = setting("mse", "error that F minimises; the authors' code has mse")
    learning_rate: float = setting(1e-3, "step size of Adam", above=0)
    batch_size: int = setting(16, "transitions in a mini-batch", minimum=1, maximum=MOST_IN_A_BATCH)
    epochs: int = setting(4, "passes over the training records; the paper has 50", minimum=1)
    gradient_steps: int | None = setting(None, "gradient steps in all; overrides --epochs", minimum=1)
    validation_share: float = setting(0.1, "share of the records held out for validation", above=0, maximum=0.9)

    def check(self) -> None:
        if self.action_block > self.blocks:
            raise UsageError(f"--action-block is {self.action_block}", f"there are only {self.blocks} blocks")

    def without_effect(self, state_kind: str, options: dict[str, Any]) -> dict[str, str]:
        idle = {"epochs": "--gradient-steps says how long"} if self.gradient_steps else {}
        if state_kind != "image":
            idle |= dict.fromkeys(("action_block", "norm", "prediction", "skips"), "it is for the F of images")
        return idle


_SPATIAL_GENERATORS = ("rotation", "affine", "resnet-rotation", "affine-resnet")  # those with a spatial layer


@dataclass(frozen=True)
class LearnCorrSettings(Settings):
    """Steps 3 and 4: learn the correspondence function, eq. (8)–(13)."""

    stage: ClassVar[str] = "learn-corr"

    lambda_cyc: float = setting(1.0, "weight of the cycle loss (9)", minimum=0)
    lambda_q: float = setting(1.0, "weight of the Q loss (10)", minimum=0)
    lambda_m: float = setting(1.0, "weight of the model loss (11)", minimum=0)
    generator: Literal["auto", "resnet", "rotation", "resnet-rotation", "affine", "affine-resnet", "linear", "mlp"] = (
        setting(
            "auto",
            "kind of generator: 'linear' and 'mlp' for vectors, the others for images; 'auto' is resnet or linear",
        )
    )
    angle_init: float = setting(
        0.0, "angle at which a rotation layer starts, in degrees counter-clockwise", minimum=-360, maximum=360
    )
    angle_starts: int | None = setting(
        None,
        "angles, evenly spaced from --angle-init, of which the one with the least relative model loss becomes the start of a "
        "rotation or affine layer (affine: also of the mirror image, and the best of either turned by a degree); 1 for none but "
        "--angle-init; by default 120 where there is a model loss and both tasks' states have one shape",
        minimum=1,
        maximum=3_600,
    )
    spatial_learning_rate: float = setting(
        1e-3, "step size of Adam for the angle of a rotation layer, in radians, or the matrix of an affine one", above=0
    )
    filters: int = setting(
        8,
        "filters of a resnet generator's first convolution, units of an mlp's layers; the paper has 64",
        minimum=1,
        maximum=16_384,
    )
    blocks: int = setting(
        3, "residual blocks of a resnet generator, hidden layers of an mlp; the paper has 9", minimum=0, maximum=256
    )
    skips: bool = setting(
        True,
        "resnet generators: the last layers also see the first ones' features, which keep small things sharp; the paper has none",
    )
    framewise: bool = setting(
        True,
        "resnet generators: translate each frame of a state by itself, all with the same weights; the paper takes the frames as "
        "channels of one picture",
    )
    discriminator_filters: int = setting(
        16, "filters of a discriminator's first convolution, units of its layers for vectors", minimum=1, maximum=16_384
    )
    norm: Literal["instance", "batch"] = setting("instance", "normalisation of the convolutions; 'batch' is as printed")
    gan_loss: Literal["lsgan", "log"] = setting(
        "lsgan", "least squares as in CycleGAN, or the log loss as printed in (8)"
    )
    cycle_loss: Literal["printed", "surprise"] = setting(
        "surprise",
        "the cycle loss as in (9), or with half of its weight on what is unusual in a state, by its distance from the memory's mean "
        "in standard deviations: for small things on which everything depends",
    )
    model_loss: Literal["printed", "relative"] = setting(
        "printed",
        "the model loss as in (11), or over what changes only, as a share of that change: for targets on which F is noisy",
    )
    learning_rate: float = setting(5e-4, "step size of Adam, for generators and discriminators", above=0)
    constant_share: float = setting(
        0.5, "share of the training before the learning rate starts to fall to zero", minimum=0, maximum=1
    )
    batch_size: int = setting(1, "states of each task in a mini-batch", minimum=1, maximum=MOST_IN_A_BATCH)
    pool_size: int = setting(50, "generated states remembered for the discriminators; 0 for none", minimum=0)
    epochs: int = setting(1, "instead of --gradient-steps: passes over the larger memory; the paper has 4", minimum=1)
    gradient_steps: int | None = setting(1_500, "gradient steps in all, unless there is --epochs", minimum=1)
    eval_every: int = setting(
        250,
        "gradient steps between play tests on the target task; there is one at the end as well",
        minimum=1,
    )
    eval_games: int = setting(5, "games in a play test; 0 for no play tests", minimum=0, maximum=1_000_000)
    eval_epsilon: float = setting(0.001, "share of random actions in a play test", minimum=0, maximum=1)

    def check(self) -> None:
        if self.angle_init != 0 and self.generator not in _SPATIAL_GENERATORS:
            raise UsageError(
                f"--angle-init is {self.angle_init:g}", f"--generator {self.generator} has no angle; leave it out"
            )
        if (self.angle_starts or 1) > 1 and not self.can_search_angles:
            raise UsageError(
                f"--angle-starts is {self.angle_starts}",
                "only the generators with a rotation or affine layer and --lambda-m above 0 have a use for it",
            )

    def without_effect(self, state_kind: str, options: dict[str, Any]) -> dict[str, str]:
        idle = {"epochs": "--gradient-steps says how long"} if self.gradient_steps else {}
        if not self.eval_games:
            idle |= dict.fromkeys(("eval_every", "eval_epsilon"), "--eval-games is 0")
        if self.generator in ("rotation", "affine") or (self.generator in ("auto", "linear") and state_kind != "image"):
            idle |= dict.fromkeys(("filters", "blocks"), f"--generator {self.generator} has none")
        if "resnet" not in self.generator and not (self.generator == "auto" and state_kind == "image"):
            idle |= dict.fromkeys(("skips", "framewise"), "it is for generators with a resnet")
        if state_kind != "image":
            idle["norm"] = "it is for the convolutions of images"
        if self.generator not in _SPATIAL_GENERATORS:
            idle["spatial_learning_rate"] = "it is for generators with a rotation or affine layer"
        return idle

    @property
    def can_search_angles(self) -> bool:
        """Whether the generator has a spatial layer, and the model loss can tell where that should start."""
        return self.generator in _SPATIAL_GENERATORS and self.lambda_m > 0


@dataclass(frozen=True)
class EvaluateSettings(Settings):
    """Play games that chose nothing, and report every one."""

    stage: ClassVar[str] = "evaluate"

    task: Literal["source", "target"] = setting("target", "which task to play")
    policy: Literal["q", "random"] = setting("q", "who plays: a Q-function, or random actions")
    games: int = setting(30, "games to play; every game that is begun counts", minimum=1, maximum=1_000_000)
    epsilon: float = setting(
        0.001,
        "share of random actions; a little keeps a greedy agent out of endless loops",
        minimum=0,
        maximum=1,
    )

    def without_effect(self, state_kind: str, options: dict[str, Any]) -> dict[str, str]:
        return {"epsilon": "random play has no other"} if self.policy == "random" else {}


STAGE_SETTINGS: dict[str, type[Settings]] = {
    settings.stage: settings
    for settings in (
        CollectSettings,
        TrainDqnSettings,
        TrainModelSettings,
        LearnCorrSettings,
        EvaluateSettings,
        FinetuneSettings,
    )
}
