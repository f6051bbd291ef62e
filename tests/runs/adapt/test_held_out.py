"""Held-out normal images stand for fresh ones: nothing that a score depends on may know them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from panda_core import RunConfig
from panda_core.datasets import OneClassTask
from panda_core.runs.calibration import held_out_rows
from panda_core.runs.kinds import open_task, resolve

Finish = Callable[..., Any]
Tiny = Callable[..., RunConfig]


@pytest.mark.parametrize("norm", ["none", "l2", "whiten"])
@pytest.mark.parametrize("recipe", ["frozen", "panda-early", "panda-ses", "panda-alarm"])
def test_a_held_out_image_scores_as_a_test_image_does(tiny: Tiny, finish: Finish, recipe: str, norm: str) -> None:
    """A whitening, a center or a gallery that has seen the images which set the threshold: in few dimensions too
    little, with fewer images than dimensions far too high, so that no anomaly is found."""
    config = tiny(recipe=recipe, feature_norm=norm, steps=None if recipe == "frozen" else 4)
    train = open_task(resolve(config)).train
    same = train.subset(held_out_rows(len(train), config.seed))
    folder, _ = finish(config, task=OneClassTask(train, same, np.zeros(len(same), np.uint8)))
    final = folder.final()
    assert len(final.scores) == 2 and (final.scores > 0).all()
    np.testing.assert_allclose(final.held_out_scores, final.scores, rtol=1e-4)
