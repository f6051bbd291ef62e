"""How far a detector can be trusted: the sentence agrees with the numbers in it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from panda_core.metrics import auroc, auroc_interval
from panda_core.runs.trust import CHANCE, judged


def test_a_coin_is_called_a_coin() -> None:
    """A detector that guesses, shown without a word on it."""
    trust = judged(0.58, 0.31, 0.83, normal=9, anomalous=7)
    assert trust.level == "none"
    assert trust.sentence.startswith("AUROC 0.58, interval 0.31 to 0.83: perhaps no better than guessing. Try ")


@pytest.mark.parametrize(("normal", "anomalous"), [(0, 4), (4, 0), (0, 0)])
def test_without_both_kinds_nobody_knows(normal: int, anomalous: int) -> None:
    """An AUROC that is undefined and yet judged."""
    trust = judged(None, None, None, normal=normal, anomalous=anomalous)
    assert trust.level == "unknown" and ("no bad image" in trust.sentence) == (anomalous == 0)


@pytest.mark.parametrize(("normal", "anomalous"), list(itertools.product((1, 2, 3, 4, 8), (1, 2, 3, 8))))
def test_a_perfect_result_of_few_images_may_be_chance(normal: int, anomalous: int) -> None:
    """ "1.00, interval 1.00 to 1.00" of two photos, as if it were sure. Against all orders there are, counted."""
    orders = list(itertools.islice(itertools.combinations(range(normal + anomalous), anomalous), 200_000))
    best = [order for order in orders if min(order) == normal]
    assert len(best) == 1
    trust = judged(1.0, 1.0, 1.0, normal=normal, anomalous=anomalous)
    assert (trust.level == "unknown") == (1 / len(orders) > CHANCE)
    assert trust.level != "good" and f"{anomalous} bad and {normal} good" in trust.sentence
    assert "interval" not in trust.sentence and "every bad one above every good one" in trust.sentence


def test_many_images_tell() -> None:
    """A detector that is as good as they get, and still called uncertain."""
    assert judged(0.98, 0.95, 1.0, normal=30, anomalous=12).level == "good"
    assert judged(0.98, 0.85, 1.0, normal=30, anomalous=12).level == "some"


def test_guessing_is_hardly_ever_called_good() -> None:
    """A sentence that praises noise: drawn a hundred times over."""
    rng = np.random.default_rng(0)
    praised = 0
    for _ in range(100):
        scores, labels = rng.normal(size=14), np.r_[np.zeros(8, int), np.ones(6, int)]
        low, high = auroc_interval(scores, labels, rng=rng, resamples=200)
        praised += judged(auroc(scores, labels), low, high, normal=8, anomalous=6).level in ("some", "good")
    assert praised <= 8
