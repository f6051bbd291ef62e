"""MHRot: the 36 views, the three heads, the score, and its features compared view by view."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from panda_core.backbones import find_backbone
from panda_core.events import result_of
from panda_core.features.space import FeatureNorm
from panda_core.methods.geometric_views import HEADS, VIEWS, classes, shifted, view
from panda_core.methods.learner import LearnerConfig, TrainingData
from panda_core.methods.mhrot import MHRot, correct_probability, heads_loss, neighbour_distances
from panda_core.methods.table import find_recipe

CPU = torch.device("cpu")


def noise(count: int, side: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3, side, side)).astype(np.float32)


@pytest.fixture
def make() -> Callable[..., MHRot]:
    """Return a function (values, options...) -> a learner on a small network that has begun and never stepped."""

    def build(values: np.ndarray, steps: int = 20, seed: int = 0, **options: Any) -> MHRot:
        network = find_backbone("rotnet").load("input")
        defaults = {key: option.default for key, option in find_recipe("mhrot").options.items()}
        config = LearnerConfig(network, {**defaults, **options}, values.shape[-1], 8, steps, seed, CPU)
        learner = MHRot(config)
        list(learner.pretrain(values, np.arange(len(values))))
        network.tail.requires_grad_(True)
        norm, rows = FeatureNorm("none", network.level_widths), np.arange(len(values))
        data = TrainingData(values, rows, lambda row: values[row], norm, torch.zeros(128), None)
        learner.begin(data, np.zeros((len(values), 128), np.float32))
        return learner

    return build


def read(learner: MHRot, seed: int = 3) -> MHRot:
    """Give the heads random weights and return the learner."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(10, 128, generator=generator)
    learner.keep(weight=weight, bias=torch.randn(10, generator=generator))
    return learner


def test_there_are_36_different_views_and_one_is_the_image() -> None:
    """A view that is there twice, or none that leaves the image as it is."""
    x = torch.from_numpy(noise(2))
    assert len(set(VIEWS)) == 36 and VIEWS[0] == (0, 0, 0)
    assert len({classes(*place) for place in VIEWS}) == 36
    views = [view(x, *place) for place in VIEWS]
    assert len({found.numpy().tobytes() for found in views}) == 36
    assert torch.equal(views[0], x)


def test_four_quarter_turns_are_the_identity() -> None:
    """Turns by other angles."""
    x = torch.from_numpy(noise(2))
    turned = x
    for number in range(4):
        assert torch.equal(view(x, number, 0, 0), turned)
        turned = view(turned, 1, 0, 0)
    assert torch.equal(turned, x)


@pytest.mark.parametrize(("across", "down"), [(1, 0), (0, 1), (-1, 1)])
def test_a_shift_moves_by_a_quarter_and_mirrors_the_rest(across: int, down: int) -> None:
    """Axes swapped, a sign, zeros or a copy of the other side in what a shift uncovers: against one pixel at a time."""
    x = torch.from_numpy(noise(1))
    found, side, step = shifted(x, across, down), 16, 4
    for row in range(side):
        for column in range(side):
            there, here = row - step * down, column - step * across
            mirrored = [
                place if 0 <= place < side else (-place if place < 0 else 2 * (side - 1) - place)
                for place in (there, here)
            ]
            assert torch.equal(found[0, :, row, column], x[0, :, mirrored[0], mirrored[1]])


def test_a_shift_is_8_pixels_of_32() -> None:
    """Another distance than the published one."""
    x = torch.zeros(1, 3, 32, 32)
    x[0, 0, 16, 16] = 1
    assert shifted(x, 1, -1)[0, 0].nonzero().tolist() == [[8, 24]]


def test_an_image_is_shifted_before_it_is_turned() -> None:
    """The other order, in which a head could name the shift without knowing the turn."""
    x = torch.from_numpy(noise(1))
    assert torch.equal(view(x, 1, 1, 0), torch.rot90(shifted(x, 1, 0), 1, dims=(2, 3)))
    assert not torch.equal(view(x, 1, 1, 0), shifted(torch.rot90(x, 1, dims=(2, 3)), 1, 0))


def test_guessing_gives_33_and_knowing_108(make: Callable[..., MHRot]) -> None:
    """A head counted twice, or a wrong head for a label: 36 (1/4 + 1/3 + 1/3) = 33 and 36 x 3 = 108."""
    learner = make(noise(5))
    np.testing.assert_allclose(result_of(learner.scores(noise(5), np.zeros((5, 128)))), -33, rtol=1e-6)
    logits = {
        place: torch.cat([50 * F.one_hot(torch.tensor(c), n) for c, n in zip(classes(*place), HEADS, strict=True)])
        for place in VIEWS
    }
    assert sum(
        correct_probability(logits[place].float()[None], classes(*place)).item() for place in VIEWS
    ) == pytest.approx(108)
    uniform = sum(correct_probability(torch.zeros(1, 10), classes(*place)).item() for place in VIEWS)
    assert uniform == pytest.approx(33, rel=1e-6)


def test_the_loss_is_the_mean_of_three_cross_entropies() -> None:
    """Heads that overlap, or a sum in place of the mean: worked out one view at a time."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(6, 10))
    labels = np.stack([rng.integers(0, size, 6) for size in HEADS], axis=1)
    expected = 0.0
    for row, wanted in zip(logits, labels, strict=True):
        for begin, end, place in ((0, 4, wanted[0]), (4, 7, wanted[1]), (7, 10, wanted[2])):
            expected -= np.log(np.exp(row[begin + place]) / np.exp(row[begin:end]).sum()) / 3 / 6
    assert heads_loss(torch.from_numpy(logits), torch.from_numpy(labels)).item() == pytest.approx(expected)


def test_one_head_knows_nothing_of_anothers_labels() -> None:
    """Gradients of the horizontal head that change when the vertical shifts are labelled otherwise."""
    logits = torch.randn(5, 10, generator=torch.Generator().manual_seed(0))
    gradients = []
    for vertical in (0, 2):
        free = logits.clone().requires_grad_(True)
        heads_loss(free, torch.tensor([[1, 0, vertical]] * 5)).backward()
        gradients.append(free.grad)
    first, second = gradients
    assert first is not None and second is not None
    assert torch.equal(first[:, :7], second[:, :7]) and not torch.equal(first[:, 7:], second[:, 7:])


def test_the_score_is_that_of_one_image_and_one_view_at_a_time(make: Callable[..., MHRot]) -> None:
    """Views added to the wrong image where there are more images than a batch holds; polarity the other way round."""
    values = noise(70)
    learner = read(make(values))
    found = result_of(learner.scores(values, np.zeros((70, 128))))
    assert found.dtype == np.float32 and len(np.unique(found)) == 70
    for row in (0, 63, 64, 69):
        total = 0.0
        for turns, across, down in VIEWS:
            x = torch.rot90(shifted(torch.from_numpy(values[row : row + 1]), across, down), turns, dims=(2, 3))
            with torch.no_grad():
                logits = learner.config.network.tail(x)[0] @ learner.head["weight"].T + learner.head["bias"]
            wanted = (turns, (0, -1, 1).index(across), (0, -1, 1).index(down))
            total += sum(
                float(part.softmax(0)[place]) for part, place in zip(logits.split((4, 3, 3)), wanted, strict=True)
            )
        assert found[row] == pytest.approx(-total, rel=1e-4)


@pytest.mark.parametrize("way", ["classify", "knn"])
def test_answers_are_counted_by_head_image_and_view(make: Callable[..., MHRot], way: str) -> None:
    """Heads swapped, a mean over images, or answers of other images: against one image and one view at a time."""
    values = noise(5)
    learner = read(make(values, mhrot_score=way))
    expected = np.zeros((5, 3))
    for turns, across, down in VIEWS:
        x = torch.rot90(shifted(torch.from_numpy(values), across, down), turns, dims=(2, 3))
        with torch.no_grad():
            logits = (learner.config.network.tail(x) @ learner.head["weight"].T + learner.head["bias"]).numpy()
        heads = logits[:, :4].argmax(1), logits[:, 4:7].argmax(1), logits[:, 7:].argmax(1)
        wanted = turns, (0, -1, 1).index(across), (0, -1, 1).index(down)
        expected += np.stack([head == place for head, place in zip(heads, wanted, strict=True)], axis=1) / 36
    assert len(np.unique(expected)) > 3
    features = np.zeros((5, 128))
    result_of(learner.scores(values, features))
    result_of(learner.scores(noise(2, seed=1), features[:2]))
    found = result_of(learner.auxiliary_accuracy(values, features))
    assert list(found) == ["rotation", "horizontal", "vertical"]
    np.testing.assert_allclose(np.stack(list(found.values()), axis=1), expected, atol=1e-9)
    fresh = result_of(read(make(values, mhrot_score=way)).auxiliary_accuracy(values, features))
    np.testing.assert_allclose(np.stack(list(fresh.values()), axis=1), expected, atol=1e-9)


def test_answers_are_not_asked_for_twice_but_again_after_a_step(make: Callable[..., MHRot]) -> None:
    """Minutes of views looked at a second time; answers of the network as it was before a step."""
    values, looked = noise(4), []
    learner = read(make(values))
    look = learner._batches

    def batches(*arguments: Any) -> Any:
        looked.append(1)
        return look(*arguments)

    learner._batches = batches  # type: ignore[method-assign]
    result_of(learner.scores(values, np.zeros((4, 128))))
    result_of(learner.auxiliary_accuracy(values, np.zeros((4, 128))))
    assert len(looked) == 1
    learner.loss(np.arange(4), 0)
    result_of(learner.auxiliary_accuracy(values, np.zeros((4, 128))))
    assert len(looked) == 2


def test_untrained_heads_guess(make: Callable[..., MHRot]) -> None:
    """A network that has learned nothing and is said to know more than chance: a quarter, a third, a third."""
    found = result_of(make(noise(3)).auxiliary_accuracy(noise(3), np.zeros((3, 128))))
    assert {name: shares.tolist() for name, shares in found.items()} == {
        "rotation": [1 / 4] * 3,
        "horizontal": [1 / 3] * 3,
        "vertical": [1 / 3] * 3,
    }


@pytest.mark.parametrize("way", ["classify", "knn", "knn-difference"])
def test_scoring_can_be_stopped_between_batches(make: Callable[..., MHRot], way: str) -> None:
    """Thousands of views that nobody can end."""
    learner = read(make(noise(8), mhrot_score=way))
    scoring = learner.scores(noise(130), np.zeros((130, 128)))
    assert [next(scoring) for _ in range(3)] == [None] * 3
    scoring.close()


@pytest.mark.parametrize("way", ["knn", "knn-difference"])
def test_features_are_compared_with_the_same_view(make: Callable[..., MHRot], way: str) -> None:
    """Galleries of other views, roots, or the query's own gallery among the others: against loops over all pairs."""
    values, queries = noise(6, 8), noise(2, 8, seed=1)
    learner = make(values, mhrot_score=way)

    def features(images: np.ndarray, place: tuple[int, int, int]) -> np.ndarray:
        with torch.no_grad():
            return learner.config.network.tail(view(torch.from_numpy(images), *place)).double().numpy()

    galleries = [features(values, place) for place in VIEWS]
    expected = np.zeros(2)
    for number, place in enumerate(VIEWS):
        found = features(queries, place)
        far = [np.sort(((found[:, None] - gallery[None]) ** 2).sum(axis=2))[:, :2].sum(axis=1) for gallery in galleries]
        others = np.mean([row for other, row in enumerate(far) if other != number], axis=0)
        expected += (far[number] - (others if way == "knn-difference" else 0)) / 36
    np.testing.assert_allclose(result_of(learner.scores(queries, np.zeros((2, 128)))), expected, rtol=1e-3)
    detector = MHRot(learner.config)
    detector.keep(**learner.head)
    np.testing.assert_allclose(result_of(detector.scores(queries, np.zeros((2, 128)))), expected, rtol=1e-3)


def test_galleries_are_made_anew_after_a_step(make: Callable[..., MHRot]) -> None:
    """Queries of the network as it is compared with normal images of the network as it was."""
    values = noise(6, 8)
    learner = read(make(values, mhrot_score="knn"))
    result_of(learner.scores(values, np.zeros((6, 128))))
    first = learner.head["galleries"].clone()
    learner.loss(np.arange(6), 0).backward()
    with torch.no_grad():
        for value in learner.config.network.tail.parameters():
            value.sub_(0.1 * value.grad)  # type: ignore[operator]
    result_of(learner.scores(values, np.zeros((6, 128))))
    assert first.shape == (36, 6, 128) and not learner.head["galleries"].requires_grad
    assert not torch.allclose(learner.head["galleries"], first)


def test_neighbours_far_from_the_origin() -> None:
    """Distances that drown in rounding where all features are alike; a failure with a gallery of one image."""
    rng = np.random.default_rng(0)
    gallery, queries = (rng.normal(size=(count, 5)).astype(np.float32) + np.float32(500) for count in (9, 4))
    brute = ((queries[:, None].astype(np.float64) - gallery[None]) ** 2).sum(axis=2)
    found = neighbour_distances(torch.from_numpy(gallery), torch.from_numpy(queries)).numpy()
    np.testing.assert_allclose(found, np.sort(brute)[:, :2].sum(axis=1), rtol=1e-4)
    alone = neighbour_distances(torch.from_numpy(gallery[:1]), torch.from_numpy(queries)).numpy()
    np.testing.assert_allclose(alone, brute[:, 0], rtol=1e-4)


def test_a_step_shows_each_image_four_ways_and_draws_anew(
    make: Callable[..., MHRot], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Turns left out, labels of another image's view, or the same shifts in every step."""
    values, seen = noise(8, 8), []
    learner = make(values)

    def look(views: torch.Tensor) -> torch.Tensor:
        seen.append(views.clone())
        return torch.zeros(len(views), 128)

    monkeypatch.setattr(learner, "_features", look)
    monkeypatch.setattr(
        "panda_core.methods.mhrot.heads_loss", lambda logits, labels: seen.append(labels) or logits.sum()
    )
    for step in (0, 0, 1):
        learner.loss(np.arange(8), step)
    views, labels = seen[0], seen[1]
    assert views.shape == (32, 3, 8, 8) and labels.shape == (32, 3)
    for row, (found, wanted) in enumerate(zip(views, labels, strict=True)):
        place = (int(wanted[0]), (0, -1, 1)[wanted[1]], (0, -1, 1)[wanted[2]])
        image = torch.from_numpy(values[row % 8])
        assert any(torch.equal(found, view(source[None], *place)[0]) for source in (image, image.flip(-1)))
    assert torch.equal(seen[2], views) and not torch.equal(seen[4], views)


def test_it_learns_to_tell_normal_images_apart(make: Callable[..., MHRot]) -> None:
    """A network that never learns which view it sees: a lasting slope of brightness tells all of them."""
    rows = torch.linspace(-1, 1, 16)
    slope = (2 * rows[:, None] + rows[None]).expand(3, 16, 16) + (rows[:, None] > 0.2) * 1.0
    values = (slope[None] + 0.1 * torch.from_numpy(noise(12))).numpy()
    learner = make(values, steps=15)
    parameters = [*learner.config.network.tail.parameters(), *learner.head.values()]
    optimiser = learner.optimiser(parameters, 0.05)
    assert optimiser.nesterov and optimiser.momentum == 0.9
    losses = []
    for step in range(15):
        learner.config.network.tail.train()
        loss = learner.loss(np.arange(12), step)
        optimiser.zero_grad()
        loss.backward()
        optimiser.param_groups[0]["lr"] = 0.05 * learner.rate(step)
        optimiser.step()
        losses.append(loss.item())
    learner.config.network.tail.eval()
    assert losses[0] == pytest.approx((np.log(4) + 2 * np.log(3)) / 3, rel=1e-5)
    assert losses[-1] < 0.7 * losses[0]
    normal, other = (result_of(learner.scores(images, np.zeros((12, 128)))) for images in (values, noise(12, seed=7)))
    assert normal.mean() < other.mean()


def test_the_rate_is_half_a_cosine(make: Callable[..., MHRot]) -> None:
    """A rate that does not fall, or falls below zero."""
    learner = make(noise(2, 8), steps=20)
    rates = [learner.rate(step) for step in range(20)]
    assert rates[0] == 1 and rates[10] == pytest.approx(0.5) and 0 < rates[-1] < 0.01
    assert (np.diff(rates) < 0).all()
