"""The settings of ``learn-corr``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from corrtool.errors import UsageError
from corrtool.settings.base import MAX_BATCH_SIZE, Settings, setting
from corrtool.settings.compute import (
    compile_setting,
    max_minutes_setting,
    precision_setting,
)
from corrtool.settings.correspondence_unused import unused_settings
from corrtool.settings.generators import GAIN_SHIFT, SPATIAL, TONED, Generator
from corrtool.settings.play import max_idle_frames_setting
from corrtool.settings.recipes import ACTIONS_LEARNED, DECIDED, RECIPES

_MAPS = ("identity", "learned", "auto")  # all other maps of actions are lists or files with one
_OF_RECIPES = ("recipe_trial_steps", "recipe_enough", "recipe_patience")


@dataclass(frozen=True)
class LearnCorrSettings(Settings):
    """Steps 3 and 4: learn the correspondence function, eq. (8)–(13)."""

    stage: ClassVar[str] = "learn-corr"
    inputs: ClassVar[dict[str, str]] = {
        "q": "Q-function of the source task; otherwise the newest",
        "model": "environment model of the source task; otherwise the newest",
        "source_memory": "memory of the source task; otherwise the newest, with --match-play "
        "played as the target's was",
        "target_memory": "memory of the target task; otherwise the newest",
    }
    makes: ClassVar[tuple[str, ...]] = ("corr",)

    recipe: Literal["none", "auto"] = setting(
        "none",
        "'auto' tries several generators and losses for a short time each, simple ones first, and "
        "learns with the one that explains the target best; for 'none' they are those of the "
        "settings, and so they are wherever one of these is given: --generator, a λ, --model-loss, "
        "--angle-init, --angle-starts, --spatial-learning-rate, --tone",
    )
    recipe_trial_steps: int = setting(100, "gradient steps for which a recipe is tried", minimum=1)
    recipe_enough: float = setting(
        0.9, "score at which no further recipe is tried", minimum=0, maximum=1
    )
    recipe_patience: int = setting(
        0,
        "scores in a row, no better than the best before by more than 0.02, and that one at least "
        "--recipe-enough, after which learning ends; 0 for any number",
        minimum=0,
    )
    lambda_cyc: float = setting(1.0, "weight of the cycle loss (9)", minimum=0)
    lambda_q: float = setting(1.0, "weight of the Q loss (10)", minimum=0)
    q_loss: Literal["auto", "q", "logits", "value"] = setting(
        "auto",
        "what the Q loss compares: 'q' Q-values, 'logits' those of a policy less their mean, "
        "'value' V(s) of its critic, or the greatest Q-value; 'auto' is 'q', of a policy 'logits'",
    )
    lambda_m: float = setting(
        1.0,
        "weight of the model loss (11), a mean over all frames of a state, of which only the "
        "newest is news: with K frames it acts on that as a K-th of it, 10 as 2.5 for Pong's four",
        minimum=0,
    )
    generator: Generator = setting(
        "auto",
        "kind of generator: 'linear' and 'mlp' for vectors, 'resnet', 'gain-shift' and "
        "'gain-shift-resnet' for signals, the others and 'resnet' for images; 'auto' is resnet or "
        "linear",
    )
    angle_init: float = setting(
        0.0,
        "angle at which a rotation layer starts, in degrees counter-clockwise",
        minimum=-360,
        maximum=360,
    )
    angle_starts: int | None = setting(
        None,
        "angles, evenly spaced from --angle-init, of which the one with the least relative model "
        "loss becomes the start of a rotation or affine layer (affine: also of the mirror image, "
        "and the best of either turned by a degree); 1 for none but --angle-init; by default 120 "
        "where there is a model loss and both tasks' states have one shape",
        minimum=1,
        maximum=3_600,
    )
    linear_starts: int = setting(
        1,
        "maps, signed permutations and random rotations, from which a generator of vectors starts "
        "in descent on the relative model loss; the best goes on, 1 for none of them",
        minimum=1,
        maximum=100_000,
    )
    signal_starts: int = setting(
        96,
        "pitches and delays, of a whole grid those that make the target sound most like the "
        "source, of which the one with the least relative model loss becomes the start of a "
        "gain-and-shift layer; 1 for none of them",
        minimum=1,
        maximum=100_000,
    )
    spatial_learning_rate: float = setting(
        1e-3,
        "step size of Adam for the angle of a rotation layer, in radians, the matrix of an affine "
        "one and its tone layer, or all of a gain-and-shift layer",
        above=0,
    )
    tone: bool = setting(
        False,
        "affine generators: a layer on the values and channels of each frame as well, so that they "
        "may be inverted, scaled or exchanged, and of another number; its start is searched for "
        "with that of the affine layer; on in the recipes of --recipe auto",
    )
    filters: int = setting(
        8,
        "filters of a resnet generator's first convolution, units of an mlp's layers; the paper "
        "has 64",
        minimum=1,
        maximum=16_384,
    )
    blocks: int = setting(
        3,
        "residual blocks of a resnet generator, hidden layers of an mlp; the paper has 9",
        minimum=0,
        maximum=256,
    )
    skips: bool = setting(
        True,
        "resnet generators: the last layers also see the first ones' features, which keep small "
        "things sharp; the paper has none",
    )
    framewise: bool = setting(
        True,
        "resnet generators: translate each frame of a state by itself, all with the same weights; "
        "the paper takes the frames as channels of one picture",
    )
    folded: bool = setting(
        False,
        "resnet generators of large pictures: see two by two pixels as channels, with twice as "
        "many filters, and have no layer at full resolution, which takes half the time; without "
        "skips and normalisation; on in the default preset",
    )
    discriminator_filters: int = setting(
        16,
        "filters of a discriminator's first convolution, units of its layers for vectors",
        minimum=1,
        maximum=16_384,
    )
    norm: Literal["instance", "batch"] = setting(
        "instance", "normalisation of the convolutions; 'batch' is as printed"
    )
    gan_loss: Literal["lsgan", "log"] = setting(
        "lsgan", "least squares as in CycleGAN, or the log loss as printed in (8)"
    )
    cycle_loss: Literal["printed", "surprise"] = setting(
        "surprise",
        "the cycle loss as in (9), or with half of its weight on what is unusual in a state, by "
        "its distance from the memory's mean in standard deviations: for small things on which "
        "everything depends",
    )
    model_loss: Literal["printed", "relative"] = setting(
        "printed",
        "the model loss as in (11), or over what changes only, as a share of that change: for "
        "targets on which F is noisy",
    )
    action_map: str = setting(
        "identity",
        "which source action each target action is: 'identity' for tasks with the same actions, "
        "'learned' to find it along with the generators, 'auto' to do so where the identity does "
        "not explain the target, "
        "or a file with a JSON list, or the list itself, with a source action, counted from 0, "
        "for each target action, such as [2, 0, 1, 1]",
    )
    learning_rate: float = setting(
        5e-4, "step size of Adam, for generators and discriminators", above=0
    )
    constant_share: float = setting(
        0.5,
        "share of the training before the learning rate starts to fall to zero",
        minimum=0,
        maximum=1,
    )
    batch_size: int = setting(
        1, "states of each task in a mini-batch", minimum=1, maximum=MAX_BATCH_SIZE
    )
    pool_size: int = setting(
        50, "generated states remembered for the discriminators; 0 for none", minimum=0
    )
    epochs: int = setting(
        1, "instead of --gradient-steps: passes over the larger memory; the paper has 4", minimum=1
    )
    gradient_steps: int | None = setting(
        1_500, "gradient steps in all, unless there is --epochs", minimum=1
    )
    eval_every: int = setting(
        250,
        "gradient steps between play tests on the target task, and between scores; there is one at "
        "the end as well",
        minimum=1,
    )
    eval_games: int = setting(
        5,
        "games in a play test, of which the best decides; 0 for no play tests, where the score "
        "decides",
        minimum=0,
        maximum=1_000_000,
    )
    eval_epsilon: float = setting(
        0.001, "share of random actions in a play test", minimum=0, maximum=1
    )
    max_idle_frames: int = max_idle_frames_setting()
    match_play: bool = setting(
        False,
        "take the newest memory of the source that was played as the target's was, at random or "
        "by an agent, where there is one: the losses compare the two; on in the default preset",
        chooses=True,
    )
    precision: Literal["float32", "bf16", "auto"] = precision_setting()
    compile: bool = compile_setting()
    max_minutes: float | None = max_minutes_setting()

    def check(self) -> None:
        if self.action_map == "learned" and "model" not in self.loss_weights:
            raise UsageError(
                "--action-map is learned, but --lambda-m is 0",
                "only the model loss knows actions; give --lambda-m or the map",
            )
        if self.angle_init != 0 and self.generator not in SPATIAL:
            raise UsageError(
                f"--angle-init is {self.angle_init:g}",
                f"--generator {self.generator} has no angle; leave it out",
            )
        if (self.angle_starts or 1) > 1 and not self.can_search_angles:
            raise UsageError(
                f"--angle-starts is {self.angle_starts}",
                "it needs a generator with a rotation or affine layer and --lambda-m above 0",
            )

    @classmethod
    def settled(cls, values: dict[str, Any], said: set[str]) -> dict[str, Any]:
        if "skips" in said and "folded" not in said:
            values = values | {"folded": False}  # who speaks of skips means the resnet with them
        if "recipe" in said or not said & set(DECIDED):
            return values
        printed = {} if "action_map" in said else {"action_map": "identity"}
        return values | {"recipe": "none"} | printed

    @classmethod
    def in_project(cls, values: dict[str, Any], root: Path) -> dict[str, Any]:
        located = dict(values)
        for key in ("action-map", "action_map"):
            said = values.get(key)
            if isinstance(said, str) and said not in _MAPS and not said.lstrip().startswith("["):
                located[key] = str(root / said)
        return located

    def without_effect(self, state_kind: str, options: dict[str, Any]) -> dict[str, str]:
        if self.recipe == "auto":
            return self._without_effect_on_any(state_kind, options)
        return unused_settings(self, state_kind) | dict.fromkeys(_OF_RECIPES, "--recipe is none")

    def _without_effect_on_any(self, state_kind: str, options: dict[str, Any]) -> dict[str, str]:
        """What no recipe uses, and what they decide themselves."""
        tried = self.candidates(state_kind, same_actions=True).values()
        unused = [settings.without_effect(state_kind, options) for settings in tried]
        by_all = set.intersection(*map(set, unused)) - set(_OF_RECIPES)
        decided = dict.fromkeys(DECIDED, "--recipe auto chooses it")
        return {name: unused[0][name] for name in by_all} | decided

    def candidates(self, state_kind: str, *, same_actions: bool) -> dict[str, LearnCorrSettings]:
        """The settings to try, by name: those of all recipes, or of these alone.

        With the map of actions open, each that begins with a search is tried with the identity
        first, and then with one that is found along with the map of states.
        """
        recipes = {"": self}
        if self.recipe == "auto":
            recipes = {
                r.name: replace(self, recipe="none", **r.settings) for r in RECIPES[state_kind]
            }
        if self.action_map != "auto":
            return recipes
        tried: dict[str, LearnCorrSettings] = {}
        for name, settings in recipes.items():
            if same_actions:
                tried[name] = replace(settings, action_map="identity")
            if not same_actions or settings.finds_actions(state_kind):
                named = f"{name}, {ACTIONS_LEARNED}".removeprefix(", ")
                tried[named] = replace(settings, action_map="learned")
        return tried

    def finds_actions(self, state_kind: str) -> bool:
        """True if the search for a start can find the map of actions too."""
        if state_kind == "vector":
            return self.can_search_linear
        return self.can_search_angles or self.can_search_signals

    def may_need(self, term: str) -> bool:
        """True if a recipe that may be chosen, or this one, has a term that needs the network."""
        kinds = RECIPES if self.recipe == "auto" else ("vector",)  # of one recipe any will do
        return any(
            term in candidate.loss_weights
            for kind in kinds
            for candidate in self.candidates(kind, same_actions=True).values()
        )

    @property
    def loss_weights(self) -> dict[str, float]:
        """The weight of each term of eq. (12) that is to be computed: those whose λ is not 0."""
        lambdas = {"cycle": self.lambda_cyc, "q": self.lambda_q, "model": self.lambda_m}
        return {"gan": 1.0} | {term: weight for term, weight in lambdas.items() if weight > 0}

    def has_tone(self, state_kind: str) -> bool:
        """True if the generators of such states get a tone layer: the setting is for some only."""
        return self.tone and self.generator in TONED and state_kind != "vector"

    @property
    def can_search_angles(self) -> bool:
        """True if the generator has a spatial layer, and the model loss can choose its start."""
        return self.generator in SPATIAL and "model" in self.loss_weights

    @property
    def can_search_signals(self) -> bool:
        """True if a gain-and-shift layer has several starts, and the model loss to choose one."""
        has_layer = self.generator in GAIN_SHIFT
        return has_layer and self.signal_starts > 1 and "model" in self.loss_weights

    @property
    def can_search_linear(self) -> bool:
        """True if a generator of vectors has several starts, and the model loss to choose one."""
        return self.linear_starts > 1 and "model" in self.loss_weights
