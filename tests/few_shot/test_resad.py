"""The parts of ResAD: residuals to the nearest reference, the constraintor's losses, and the flow."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import MultivariateNormal

from panda_core.errors import UsageError
from panda_core.few_shot.constraintor import Constraintor, amplitude, hypersphere_loss, shell_loss
from panda_core.few_shot.estimating import MARGIN, Boundary, boundary_loss, chunks, likelihood_loss, two_center_loss
from panda_core.few_shot.flow import PositionFlow, position_code
from panda_core.few_shot.residuals import References, residual


def flow_of(width: int, seed: int = 0) -> PositionFlow:
    """Return a flow whose weights are not those of the start."""
    flow = PositionFlow(width, blocks=3, condition=8, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in flow.named_parameters():
            if "w_perm" not in name:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return flow


def conditioned(width: int, count: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, width, generator=generator), torch.randn(count, 8, generator=generator)


@pytest.mark.parametrize("width", [2, 5, 16])
def test_there_and_back(width: int) -> None:
    """A rotation whose stored inverse is another one's."""
    flow, (x, condition) = flow_of(width), conditioned(width)
    z, log_det = flow(x, condition)
    back, undone = flow(z, condition, inverse=True)
    assert torch.allclose(back, x, atol=1e-4)
    assert torch.allclose(log_det, -undone, atol=1e-4)


def test_the_determinant_is_the_jacobians() -> None:
    """A likelihood that leaves a part of the determinant out, as of the global scale."""
    flow, (x, condition) = flow_of(4), conditioned(4, 3)
    _, log_det = flow(x, condition)
    for row in range(3):
        c = condition[row : row + 1]
        jacobian = torch.autograd.functional.jacobian(lambda one, c=c: flow(one[None], c)[0][0], x[row])
        assert float(torch.linalg.slogdet(jacobian).logabsdet) == pytest.approx(float(log_det[row]), abs=1e-4)


def test_likelihoods_are_of_two_normal_distributions() -> None:
    """A likelihood not divided by the dimensions, or an abnormal center elsewhere than at all ones."""
    flow, (x, condition) = flow_of(4), conditioned(4)
    z, log_det = flow(x, condition)
    for found, center in zip(flow.log_likelihoods(x, condition), (0.0, 1.0), strict=True):
        wanted = MultivariateNormal(torch.full((4,), center), torch.eye(4)).log_prob(z) + log_det
        assert torch.allclose(found, wanted / 4, atol=1e-5)


def test_a_new_flow_is_finite_and_follows_its_seed_alone() -> None:
    """Permutations drawn from numpy's global state: another model after anything else has drawn from it."""
    x, condition = conditioned(12)
    first = PositionFlow(12, blocks=2, condition=8, seed=3).log_likelihoods(x, condition)[0]
    np.random.seed(7)
    before = torch.random.get_rng_state()
    again = PositionFlow(12, blocks=2, condition=8, seed=3).log_likelihoods(x, condition)[0]
    other = PositionFlow(12, blocks=2, condition=8, seed=4).log_likelihoods(x, condition)[0]
    assert torch.isfinite(first).all()
    assert torch.equal(first, again) and not torch.allclose(first, other)
    assert torch.equal(before, torch.random.get_rng_state())


def test_every_place_has_a_code_of_its_own() -> None:
    """A code that tells rows apart and not columns."""
    code = position_code((5, 7), 16)
    assert code.shape == (5, 7, 16)
    assert len(torch.unique(code.reshape(35, 16), dim=0)) == 35
    assert torch.equal(code[0, :, :8], code[0, :1, :8].expand(7, 8))


@pytest.mark.parametrize(("count", "size"), [(10, 4), (8, 4), (3, 4), (1, 1), (0, 5)])
def test_no_position_is_dropped(count: int, size: int) -> None:
    """The released code drops what is left over, and with it the whole deepest level: 6,272 places of 8,192."""
    covered = [place for part in chunks(count, size) for place in range(count)[part]]
    assert covered == list(range(count))
    assert all(part.stop - part.start <= size for part in chunks(count, size))


def test_the_boundary_begins_where_the_normals_are() -> None:
    """A running average that begins at 0, far from the first likelihoods."""
    boundary = Boundary()
    assert boundary.update(torch.arange(101.0)) == pytest.approx(5.0)
    assert boundary.update(torch.arange(101.0) + 10) == pytest.approx(6.0)
    assert boundary.update(torch.empty(0)) == pytest.approx(6.0)


def test_only_those_on_the_wrong_side_of_the_boundary_count() -> None:
    """Pulling at normals that are likely enough, or pushing abnormals that are far below already."""
    clear = boundary_loss(torch.tensor([1.0, -1.0]), torch.tensor([False, True]), 0.0)
    assert clear.item() == 0
    low = boundary_loss(torch.tensor([-0.5]), torch.tensor([False]), 0.0)
    assert low.item() == pytest.approx(float(-torch.nn.functional.logsigmoid(torch.tensor(-0.5))))
    high = boundary_loss(torch.tensor([0.0]), torch.tensor([True]), 0.0)
    assert high.item() == pytest.approx(float(-torch.nn.functional.logsigmoid(torch.tensor(-MARGIN))))


def test_likelier_normals_cost_less() -> None:
    """A loss with its sign turned round."""
    likely, unlikely = torch.tensor([2.0, 3.0]), torch.tensor([-2.0, -3.0])
    assert likelihood_loss(likely) < likelihood_loss(unlikely)
    right = two_center_loss(likely, unlikely, torch.tensor([False, False]))
    wrong = two_center_loss(unlikely, likely, torch.tensor([False, False]))
    assert right < wrong


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


NORMAL, ABNORMAL = torch.tensor([False]), torch.tensor([True])


def of_amplitude(value: float, width: int = 4) -> torch.Tensor:
    """Return one residual whose A is `value`."""
    return torch.full((1, width), ((value + 1) ** 2 - 1) / math.sqrt(width))


def test_amplitude_takes_the_length_unsquared() -> None:
    """The usual pseudo-Huber form, sqrt(|r|^2 + 1) - 1, in place of the released one."""
    assert amplitude(torch.tensor([[3.0, 4.0]])).item() == pytest.approx(math.sqrt(6) - 1, rel=1e-5)


def test_amplitude_has_a_finite_slope_at_zero() -> None:
    """One image that is its own reference and turns all weights into NaN."""
    zero = torch.zeros(2, 3, requires_grad=True)
    amplitude(zero).sum().backward()
    assert zero.grad is not None and torch.isfinite(zero.grad).all()


@pytest.mark.parametrize(("value", "inside"), [(0.398, True), (0.3999, True), (0.42, False), (0.38, False)])
def test_the_shell_is_free_between_its_radii(value: float, inside: bool) -> None:
    """A ball instead of a shell: normals near the center must be pushed out, those between the radii left alone."""
    one = of_amplitude(value)
    loss = shell_loss(one, one, NORMAL).item()
    assert (loss == 0) == inside and loss >= 0


def test_the_shell_stays_below_the_nearest_abnormal() -> None:
    """A radius that ignores the batch's abnormal positions: it is 0.9 of the smallest A where that is under 0.4."""
    residuals = torch.cat([of_amplitude(0.179), of_amplitude(0.2)])
    free = shell_loss(residuals, residuals, torch.tensor([False, True]))
    pushed = torch.cat([of_amplitude(0.3), of_amplitude(0.2)])
    assert shell_loss(pushed, pushed, torch.tensor([False, True])) > free


def test_abnormals_are_to_stay_as_they_were() -> None:
    """A loss that draws abnormal residuals to the center with the normal ones."""
    residuals = of_amplitude(0.8)
    for loss in (hypersphere_loss, shell_loss):
        assert loss(residuals, residuals, ABNORMAL).item() == pytest.approx(0, abs=1e-6)
        assert loss(0.5 * residuals, residuals, ABNORMAL) > 0.01


def test_the_hypersphere_draws_normals_to_its_center() -> None:
    """A loss that grows towards the center, or that compares normals with what they were."""
    residuals = of_amplitude(0.8)
    losses = [hypersphere_loss(share * residuals, residuals, NORMAL).item() for share in (1.0, 0.5, 0.0)]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] == pytest.approx(0.8, rel=1e-5)
    assert losses[2] == pytest.approx(0, abs=1e-5)


def test_signed_residuals_can_stay_negative() -> None:
    """The released code's last ReLU on signed residuals, which abnormal ones could never get through unchanged."""
    residuals = torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    signed, squared = (Constraintor(4, positive=positive)(residuals) for positive in (False, True))
    assert (signed < 0).any()
    assert (squared >= 0).all()


def test_a_new_constraintor_changes_nothing_but_the_scale() -> None:
    """Random weights at the start, which a few hundred steps do not bring near the identity."""
    residuals = torch.randn(4, 9, 3, 3, generator=torch.Generator().manual_seed(0))
    found = Constraintor(9, positive=False).eval()(residuals)
    assert torch.allclose(found, residuals / 3, atol=1e-4)
