"""Residuals to the nearest reference, against a slow twin and the properties that ResAD rests on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from panda_core.errors import UsageError
from panda_core.few_shot.residuals import References, residual


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def test_the_nearest_reference_is_that_of_a_slow_search() -> None:
    """A search by distance instead of angle, or one whose rows point at other positions."""
    pool, features = random(3, 2, 4, 5), random(2, 2, 4, 5, seed=1)
    found = References([pool]).nearest(0, features, k=2)
    flat = pool.reshape(-1, 5).numpy()
    for place in np.ndindex(2, 2, 4):
        one = features[place].numpy()
        cosines = flat @ one / np.linalg.norm(flat, axis=1) / np.linalg.norm(one)
        assert found.rows[place].tolist() == np.argsort(-cosines)[:2].tolist()
        assert np.allclose(found.cosines[place].numpy(), np.sort(cosines)[::-1][:2], atol=1e-5)


def test_one_neighbour_and_several_agree_on_the_first() -> None:
    """The fast way for one neighbour that finds another than the slow one."""
    references, features = References([random(3, 4, 4, 6)]), random(2, 4, 4, 6, seed=2)
    assert torch.equal(references.nearest(0, features).rows, references.nearest(0, features, k=3).rows[..., :1])


def test_an_image_that_is_its_own_reference_leaves_nothing() -> None:
    """References that are normalised before they are taken away, so that even an equal feature leaves a residual."""
    features = 7 * random(1, 3, 3, 5)
    references = References([features])
    matched = references.pools[0][references.nearest(0, features).rows[..., 0]]
    for kind in ("signed", "squared"):
        assert torch.equal(residual(kind, features, matched), torch.zeros_like(features))


@given(st.integers(0, 1000))
def test_more_references_never_lower_the_best_cosine(seed: int) -> None:
    """A search that loses what it found when a reference image is added."""
    pool, features = random(3, 2, 2, 4, seed=seed), random(1, 2, 2, 4, seed=seed + 1)
    few, more = (References([part]).nearest(0, features).cosines for part in (pool[:2], pool))
    assert (more >= few - 1e-6).all()


def test_scaled_references_are_matched_alike_and_subtracted_as_they_are() -> None:
    """A residual that forgets the references' lengths, or a match that depends on them."""
    pool, features = random(2, 3, 3, 4), random(1, 3, 3, 4, seed=3)
    near, far = References([pool]), References([3 * pool])
    rows = near.nearest(0, features).rows
    assert torch.equal(rows, far.nearest(0, features).rows)
    left = [residual("signed", features, one.pools[0][rows[..., 0]]) for one in (near, far)]
    assert not torch.allclose(left[0], left[1])


def test_kinds_of_residuals() -> None:
    """Squares of the length instead of each element, a sign turned round, or features that are changed by `none`."""
    features, matched = torch.tensor([[1.0, -2.0]]), torch.tensor([[3.0, 1.0]])
    assert residual("signed", features, matched).tolist() == [[-2.0, -3.0]]
    assert residual("squared", features, matched).tolist() == [[4.0, 9.0]]
    assert residual("none", features, matched) is features


def test_origins_name_image_row_and_column() -> None:
    """A neighbour that is shown in another place of another reference than the one it was found at."""
    pool = random(3, 2, 4, 5)
    references = References([pool])
    rows = torch.arange(24)
    for row, (image, turn, down, right) in zip(rows, references.origins(0, rows).tolist(), strict=True):
        assert turn == 0
        assert torch.equal(pool[image, down, right], references.pools[0][row])


def test_no_references_are_refused() -> None:
    """A judge without anything to compare with that scores all the same."""
    with pytest.raises(UsageError, match="At least 1 reference"):
        References([random(0, 2, 2, 3)])
