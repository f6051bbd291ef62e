"""The flow: invertible, its determinant right, finite and the same at every start; position codes; its losses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal

from panda_core.few_shot.estimating import MARGIN, Boundary, boundary_loss, chunks, likelihood_loss, two_centre_loss
from panda_core.few_shot.flow import PositionFlow, position_code


def flow_of(width: int, seed: int = 0) -> PositionFlow:
    """Return a flow whose weights are not those of the start."""
    flow = PositionFlow(width, blocks=3, condition=8, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in flow.named_parameters():
            if "w_perm" not in name:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return flow


def given(width: int, count: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, width, generator=generator), torch.randn(count, 8, generator=generator)


@pytest.mark.parametrize("width", [2, 5, 16])
def test_there_and_back(width: int) -> None:
    """A rotation whose stored inverse is another one's."""
    flow, (x, condition) = flow_of(width), given(width)
    z, log_det = flow(x, condition)
    back, undone = flow(z, condition, inverse=True)
    assert torch.allclose(back, x, atol=1e-4)
    assert torch.allclose(log_det, -undone, atol=1e-4)


def test_the_determinant_is_the_jacobians() -> None:
    """A likelihood that leaves a part of the determinant out, as of the global scale."""
    flow, (x, condition) = flow_of(4), given(4, 3)
    _, log_det = flow(x, condition)
    for row in range(3):
        c = condition[row : row + 1]
        jacobian = torch.autograd.functional.jacobian(lambda one, c=c: flow(one[None], c)[0][0], x[row])
        assert float(torch.linalg.slogdet(jacobian).logabsdet) == pytest.approx(float(log_det[row]), abs=1e-4)


def test_likelihoods_are_of_two_normal_distributions() -> None:
    """A likelihood not divided by the dimensions, or an abnormal centre elsewhere than at all ones."""
    flow, (x, condition) = flow_of(4), given(4)
    z, log_det = flow(x, condition)
    for found, centre in zip(flow.log_likelihoods(x, condition), (0.0, 1.0), strict=True):
        wanted = MultivariateNormal(torch.full((4,), centre), torch.eye(4)).log_prob(z) + log_det
        assert torch.allclose(found, wanted / 4, atol=1e-5)


def test_a_new_flow_is_finite_and_follows_its_seed_alone() -> None:
    """Permutations drawn from numpy's global state: another model after anything else has drawn from it."""
    x, condition = given(12)
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
    right = two_centre_loss(likely, unlikely, torch.tensor([False, False]))
    wrong = two_centre_loss(unlikely, likely, torch.tensor([False, False]))
    assert right < wrong
