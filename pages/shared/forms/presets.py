"""Four settings worth seeing, each a question. A preset is nothing but an address: every value is in the URL.

And the example of the Segment page, which starts with one click.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

Value = str | int | float

# One small task for all four, so that their curves compare: 20 to 30 seconds on two idle cores. Gradients are clipped,
# so every step is as long as the learning rate allows, and momentum lengthens it tenfold. No weight decay: at such
# rates it alone would shrink all features to a point, until only rounding is left.
_TASK: Mapping[str, Value] = {
    "normal_class": "9",
    "image_size": 64,
    "test_limit": 300,
    "batch_size": 16,
    "set_cut": "blocks.2",  # a long tail: much of the network is free to move
    "set_weight_decay": 0.0,
}
_FAR: Mapping[str, Value] = {**_TASK, "lr": 60.0, "steps": 95, "eval_every": 5}

# Where adapting first helps and then destroys, as in Figure 1 of the paper: ships of CIFAR-10. Of digits little is lost
# however far a network is adapted to nines: others are still told from them when all lie at one distance.
_SHIPS: Mapping[str, Value] = {
    "dataset": "cifar10",
    "normal_class": "ship",
    "image_size": 64,
    "train_limit": 200,
    "test_limit": 300,
    "batch_size": 16,
    "set_cut": "blocks.2",
    "set_weight_decay": 0.0,
}


@dataclasses.dataclass(frozen=True)
class Preset:
    """A run that one click sets up.

    key: its name in code.
    settings: values by the key of a widget of the Adapt page; all others are at their default.
    """

    key: str
    title: str
    question: str
    icon: str
    settings: Mapping[str, Value]


PRESETS: tuple[Preset, ...] = (
    Preset(
        "gentle",
        "Adapt gently",
        "Do the features get better when the steps are small?",
        ":material/spa:",
        {**_TASK, "lr": 2.0, "steps": 60, "eval_every": 5},
    ),
    Preset(
        "break",
        "Go too far",
        "What happens when adapting goes on and on, in large steps?",
        ":material/bolt:",
        _FAR,
    ),
    Preset(
        "ewc",
        "Save it with EWC",
        "The same large steps: do springs on the weights that matter hold the features?",
        ":material/anchor:",
        {**_FAR, "recipe": "panda-ewc"},
    ),
    Preset(
        "ses",
        "Save it with sample-wise stopping",
        "Is it enough to choose, for each image, the step at which it stands out most?",
        ":material/timer_off:",
        {**_FAR, "recipe": "panda-ses"},
    ),
)

# The strengths of elastic weights whose runs come with the program: no hold at all, then ever firmer.
STRENGTHS: tuple[float, ...] = (0.0, 1.0, 10.0, 1e2, 1e3, 1e4)


def elastic_settings(strength: float) -> dict[str, Value]:
    """Return the settings of the run with this strength: far enough to collapse where nothing holds the weights."""
    far: dict[str, Value] = {"recipe": "panda-ewc", "lr": 5.0, "steps": 150, "eval_every": 10}
    return {**_SHIPS, **far, "set_fisher_images": 200, "set_ewc_strength": strength}


def strength_key(strength: float) -> str:
    """Return the id of the recorded run with this strength."""
    return f"ewc-{strength:.0f}-cifar10-ship"


def ship_settings(recipe: str) -> dict[str, Value]:
    """Return the settings of the recorded run of a recipe on ships, in the space in which its ratio rises and falls.

    The loss of features of unit length is some 80 times smaller than in the default space, and so is the strength.
    """
    held: dict[str, Value] = {"set_fisher_images": 200, "set_ewc_strength": 0.1} if recipe == "panda-ewc" else {}
    return {**_SHIPS, "recipe": recipe, "feature_norm": "l2", "lr": 2.0, "steps": 180, "eval_every": 10, **held}


# A race: the same far way for three recipes, with neither of what only one of them would know.
RACED: Mapping[str, Value] = {
    **_TASK,
    "train_limit": 300,
    "lr": 50.0,
    "steps": 95,
    "eval_every": 6,
    "set_momentum": 0.0,
    "rivals": "panda-ses,panda-ewc",
}

# Fields of a `RunConfig`: some 15 seconds on two cores, for solar cells that come with the program.
EXAMPLE: Mapping[str, Any] = {
    "recipe": "patchcore",
    "dataset": "synthetic:elpv",
    "normal_class": "mono",
    "train_limit": 40,
    "test_limit": 24,
    "name": "Solar cells, synthetic defects",
}


def query_of(preset: Preset) -> dict[str, str]:
    """Return the query parameters of a preset's address."""
    return address_of(preset.settings)


def address_of(settings: Mapping[str, Value]) -> dict[str, str]:
    """Return settings as query parameters of the Adapt page."""
    return {key: f"{value:g}" if isinstance(value, float) else str(value) for key, value in settings.items()}
