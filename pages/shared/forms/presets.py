"""Four settings worth seeing, each a question. A preset is nothing but an address: every value is in the URL.

And the example of the Segment page, which starts with one click.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

Value = str | int | float

# One small task for all four, so that their curves compare: 20 to 30 seconds on two idle cores. Gradients are clipped,
# so every step is as long as the learning rate allows, and momentum lengthens it tenfold: elastic weights are then
# pulled back and forth over their pretrained values, and weight decay pulls them to zero, away from these. Hence the
# EWC preset has neither.
_TASK: Mapping[str, Value] = {
    "normal_class": "9",
    "image_size": 64,
    "test_limit": 300,
    "set_cut": "blocks.2",  # a long tail: much of the network is free to move
}
_FAR: Mapping[str, Value] = {**_TASK, "lr": 20.0, "steps": 95, "eval_every": 5}


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
        "Break it",
        "What happens when adapting goes on and on, in large steps?",
        ":material/bolt:",
        _FAR,
    ),
    Preset(
        "ewc",
        "Save it with EWC",
        "The same large steps: do springs on the weights that matter hold the features?",
        ":material/anchor:",
        {**_FAR, "recipe": "panda-ewc", "set_ewc_strength": 10.0, "set_momentum": 0.0, "set_weight_decay": 0.0},
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
STRENGTHS: tuple[float, ...] = (0.0, 10.0, 1e2, 1e3, 1e4, 1e5)


def elastic_settings(strength: float) -> dict[str, Value]:
    """Return the settings of the run with this strength: far enough to collapse where nothing holds the weights.

    Neither momentum nor weight decay, so that what is seen is the work of the elastic weights alone.
    """
    far: dict[str, Value] = {"recipe": "panda-ewc", "lr": 100.0, "steps": 150, "eval_every": 10}
    return {**_TASK, **far, "set_momentum": 0.0, "set_weight_decay": 0.0, "set_ewc_strength": strength}


def strength_key(strength: float) -> str:
    """Return the id of the recorded run with this strength."""
    return f"ewc-{strength:.0f}-digits-9"


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
