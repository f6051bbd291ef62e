"""The label-free alarm."""

from __future__ import annotations

import numpy as np

from panda_core.methods.alarm import alarm
from panda_core.metrics import effective_rank, spectrum


def ranks(widths: list[np.ndarray], seed: int = 0) -> list[float]:
    """Return the effective rank of 200 normal features whose directions are scaled by each of `widths`."""
    x = np.random.default_rng(seed).normal(size=(200, 20))
    return [effective_rank(spectrum(x * width)) for width in widths]


def test_collapse_onto_a_line_and_onto_a_point_is_called() -> None:
    """Features that end on one line, while the alarm stays silent."""
    others = np.arange(20) > 0
    line = ranks([np.where(others, 0.6**step, 1.0) for step in range(12)])
    called = [alarm(line[: end + 1]) for end in range(12)]
    assert called[0] == "adapting" and called[-1] == "collapsing"
    assert called.index("collapsing") == called.count("adapting"), "once called, it stays called while ranks fall"
    assert alarm([*ranks([np.ones(20)]), effective_rank(spectrum(np.full((200, 20), 3.0)))]) == "collapsing"


def test_noise_and_plain_shrinking_are_not_called() -> None:
    """An alarm at every wobble, or at features that shrink evenly, which loses no direction."""
    rng = np.random.default_rng(1)
    noise = ranks([1 + 0.1 * rng.normal(size=20) for _ in range(30)])
    assert {alarm(noise[: end + 1]) for end in range(30)} == {"adapting"}
    shrinking = ranks([np.full(20, 0.5**step) for step in range(15)])
    assert {alarm(shrinking[: end + 1]) for end in range(15)} == {"adapting"}


def test_growing_rank_is_not_called() -> None:
    """An alarm for the opposite of a collapse."""
    assert alarm([3.0, 4.0, 9.0]) == "adapting"
    assert alarm([0.0]) == "adapting"
