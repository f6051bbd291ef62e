"""Features of CIFAR-10 under networks that were adapted in one way or another: what `gains` compares.

Training is that of the package's learners; the trunk's activations and the features found are kept in the cache.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import hashlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panda_core.backbones import find_backbone
from panda_core.backbones.network import Network
from panda_core.config import default_cache_dir
from panda_core.datasets import Images, find_dataset, imagenet_images
from panda_core.datasets.io.images import ArrayImages
from panda_core.datasets.io.smaller import SmallerImages
from panda_core.datasets.one_class import LabelledSplits
from panda_core.errors import DataMissing
from panda_core.events import result_of
from panda_core.features.cache import trunk_activations
from panda_core.features.space import FeatureNorm, tail_features
from panda_core.features.trunk import squared
from panda_core.methods.learner import AuxiliaryImages, Learner, LearnerConfig, TrainingData, batch_rows
from panda_core.methods.sgd import Optimiser
from panda_core.methods.table import find_learner, find_recipe
from panda_core.records import read_arrays, write_atomically
from tests.benchmarks.remedies import NETWORK, drawn
from tests.benchmarks.space import DATA

SIZE, SIDE = 128, 32  # pixels: as the network sees images, and as they are
DIMS = 1024  # of whitening, the default
CPU = torch.device("cpu")
# In place of a recipe: a network learns what the tail says of normal images, a small one or one like the tail.
STUDENT, LARGE_STUDENT = STUDENTS = "student", "student like the tail"
EVERY = 2  # of test images that lie class by class, one in so many is judged: this shares two cores with much else
SHIFT = 12  # pixels of 128 by which a view is shifted


@dataclasses.dataclass(frozen=True)
class Course:
    """How a network is adapted: by the learner and the options of a recipe, for `steps` at `rate`.

    cut: what comes after is adapted. space: of the loss, `levels` being each level whitened by itself. views: of each
    normal image, the first as it is, the others mirrored or shifted. averaged: whether weights are the mean of those
    after each step. set: options that differ from the recipe's. photographed: whether photographs are looked at under
    the adapted network too.
    """

    steps: int = 0
    rate: float = 0.1
    cut: str = "blocks.4"
    recipe: str = "panda-early"
    space: str = "whiten"
    views: int = 1
    averaged: bool = False
    set: tuple[tuple[str, int | float | str], ...] = ()
    network: str = NETWORK
    photographed: bool = False


@dataclasses.dataclass(frozen=True)
class Place:
    """A normal class, the seed that draws its images, their number, and what is judged: `held out`, or `test`."""

    name: str
    seed: int
    judged: str
    count: int = 1_000


@dataclasses.dataclass(frozen=True)
class Found:
    """Features, in no space, of normal (N, D) and of judged images (M, D), and of photographs (P, D).

    own: the recipe's own scores (M,); empty where it has none. seconds: of the training.
    """

    normal: Tensor
    judged: Tensor
    photographs: Tensor
    own: np.ndarray
    seconds: float


def found(course: Course, place: Place, marks: Sequence[int] = ()) -> Found:
    """Return what a course makes of a place, from the cache or computed. marks: earlier steps to be kept as well."""
    if not _file(course, place).exists():
        for step, arrays in _computed(course, place, {*marks, course.steps}).items():
            file = _file(dataclasses.replace(course, steps=step), place)
            write_atomically(file, functools.partial(np.savez, **arrays))  # type: ignore[arg-type]
    arrays = read_arrays(_file(course, place))
    tensors = (torch.from_numpy(arrays[name]) for name in ("normal", "judged", "photographs"))
    return Found(*tensors, arrays["own"], float(arrays["seconds"]))


def _file(course: Course, place: Place) -> Path:
    """Return where the features of a course at a place are kept."""
    name = hashlib.sha256(f"{course} {place} {torch.__version__}".encode()).hexdigest()
    return default_cache_dir() / "adapted" / f"{name[:40]}.npz"


@functools.cache
def splits() -> LabelledSplits:
    return find_dataset("cifar10").open(DATA, "airplane", 0)


def rows_of(place: Place) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of training images that are learned from, and those of images that are judged."""
    normal, held_out = drawn(splits().train_labels, place.seed, place.count)
    return normal[place.name], held_out if place.judged == "held out" else np.arange(0, len(splits().test), EVERY)


def is_anomaly(place: Place) -> np.ndarray:
    """Return who is anomalous of the judged images (M,)."""
    labels = splits().train_labels if place.judged == "held out" else splits().test_labels
    return (labels[rows_of(place)[1]] != place.name).astype(np.uint8)


def photographs() -> Images:
    """Return photographs of ImageNet, shrunk to the size of the normal images."""
    labelled = imagenet_images(DATA)
    if labelled is None:
        raise DataMissing(f"{DATA} has no images of ImageNet.")
    return SmallerImages(labelled.images, SIDE)


@functools.cache
def _photographs(network: str, cut: str) -> np.ndarray:
    return activations(photographs(), find_backbone(network).load(cut))


def network_of(course: Course) -> Network:
    return find_backbone(course.network).load(course.cut)


def activations(images: Images, network: Network) -> np.ndarray:
    """Return the trunk's activations (N, C, h, w) of images."""
    kept = trunk_activations(
        images, network, split="", image_size=SIZE, dtype="float16", device=CPU, cache_dir=default_cache_dir()
    )
    return np.asarray(result_of(kept).values)


def _computed(course: Course, place: Place, marks: set[int]) -> dict[int, dict[str, np.ndarray]]:
    """Return what is known after each step of `marks`, by step."""
    network, (normal, judged) = network_of(course), rows_of(place)
    train, test = splits().train, splits().test if place.judged == "test" else splits().train
    sets = [activations(images, network) for images in (train.subset(normal), test.subset(judged))]
    sets.append(_photographs(course.network, course.cut))
    if not course.steps:
        return {0: _arrays([features(network.tail, values) for values in sets], np.empty(0, np.float32), 0.0)}
    before = found(Course(network=course.network), place)
    frozen = [before.normal, before.judged]
    views = [sets[0], *(activations(one, network) for one in _views(train.subset(normal), course.views))]
    learner = _learner(course, place, network)
    data = _data(course, network, np.concatenate(views), frozen[0], sets[2])
    learner.begin(data, np.tile(data.norm(frozen[0]).numpy(), (course.views, 1)))
    kept, seconds, began = {}, 0.0, time.process_time()
    for step, tail in _trained(course, place, learner):
        if step in marks:
            seconds += time.process_time() - began
            now = list(frozen) if course.recipe in STUDENTS else [features(tail, values) for values in sets[:2]]
            now.append(features(tail, sets[2]) if course.photographed else before.photographs[:0])
            own = np.empty(0, np.float32)
            if course.recipe == "panda-oe":
                own = result_of(learner.scores(sets[1], data.norm(now[1]).numpy()))
            if course.recipe in STUDENTS:
                said = features(tail, sets[1])
                own = (said - data.norm(frozen[1])).square().sum(dim=1).log().numpy()
            kept[step], began = _arrays(now, own, seconds), time.process_time()
    learner.close()
    return kept


def _arrays(sets: list[Tensor], own: np.ndarray, seconds: float) -> dict[str, np.ndarray]:
    named = dict(zip(("normal", "judged", "photographs"), (one.numpy() for one in sets), strict=True))
    return {**named, "own": own, "seconds": np.array(seconds)}


@torch.no_grad()
def features(tail: nn.Module, values: np.ndarray) -> Tensor:
    """Return the features (N, D) of activations (N, ...)."""
    return result_of(tail_features(tail, values, CPU))


def _views(images: Images, count: int) -> list[ArrayImages]:
    """Return further views of images, `count` - 1 of each: mirrored, and shifted each way with mirrored rims."""
    if count == 1:
        return []
    prepared = find_backbone(NETWORK).load("blocks.4").preprocessing
    seen = np.stack([squared(images.load(row), SIZE, prepared) for row in range(len(images))])
    made = []
    for number in range(1, count):
        rng = np.random.default_rng([number, 9])
        view = seen[:, :, ::-1] if number % 2 else seen
        padded = np.pad(view, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), mode="reflect")
        places = rng.integers(0, 2 * SHIFT + 1, (len(seen), 2))
        moved = [one[top : top + SIZE, left : left + SIZE] for one, (top, left) in zip(padded, places, strict=True)]
        made.append(ArrayImages(np.stack(moved), [f"{number}: {row}" for row in range(len(moved))]))
    return made


class Levels:
    """Each level of unit length and whitened by itself."""

    def __init__(self, features: Tensor, widths: tuple[int, ...]) -> None:
        self.widths = list(widths)
        self.parts = [
            FeatureNorm.fit("whiten", one, (one.shape[1],), DIMS) for one in features.split(self.widths, dim=1)
        ]

    def __call__(self, features: Tensor) -> Tensor:
        return torch.cat([norm(one) for norm, one in zip(self.parts, features.split(self.widths, 1), strict=True)], 1)


class Student(Learner):
    """A small network of its own learns to say of normal images what the tail says, in the run's space."""

    def begin(self, data: TrainingData, features: np.ndarray | None) -> None:
        super().begin(data, features)
        self.targets = torch.from_numpy(features)
        torch.manual_seed(self.config.seed)
        self.network = self.untaught(data.values.shape[1], self.targets.shape[1])

    def untaught(self, channels: int, width: int) -> nn.Module:
        """Return the student before it was taught: activations (B, channels, h, w) -> (B, width)."""
        return nn.Sequential(
            nn.Conv2d(channels, 256, 3, padding=1), nn.ReLU(), nn.Conv2d(256, 256, 3, stride=2), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, width),
        )  # fmt: skip

    def loss(self, rows: np.ndarray, step: int) -> Tensor:
        batch = torch.from_numpy(np.asarray(self.data.values[rows], np.float32))
        return F.mse_loss(self.network(batch), self.targets[torch.from_numpy(rows)])

    def optimiser(self, parameters: list[Tensor], lr: float) -> Optimiser:
        return torch.optim.Adam(self.network.parameters(), lr)


class LargeStudent(Student):
    """A student with the layers of the tail, all weights random and no statistics to normalise by."""

    def untaught(self, channels: int, width: int) -> nn.Module:
        network = self.config.network
        tail = copy.deepcopy(network.tail)
        for part in tail.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            if isinstance(part, nn.BatchNorm2d):
                part.reset_parameters()
        return nn.Sequential(tail, nn.Linear(sum(network.level_widths), width))


def _learner(course: Course, place: Place, network: Network) -> Learner:
    recipe = find_recipe("panda-early" if course.recipe in STUDENTS else course.recipe)
    options = {key: option.default for key, option in recipe.options.items()} | dict(course.set)
    config = LearnerConfig(network, options, SIZE, recipe.batch_size, course.steps, place.seed, CPU)
    taught = {STUDENT: Student, LARGE_STUDENT: LargeStudent}
    return taught[course.recipe](config) if course.recipe in taught else find_learner(course.recipe)(config)


def _data(
    course: Course, network: Network, values: np.ndarray, frozen: Tensor, photographs: np.ndarray
) -> TrainingData:
    """Return what a learner learns from. values: of all views. frozen: features (N, D) of the first."""
    if course.space == "levels":
        norm = Levels(frozen, network.level_widths)
    else:
        norm = FeatureNorm.fit(course.space, frozen, network.level_widths, DIMS)
    images = splits().train
    return TrainingData(
        values=values,
        train_rows=np.arange(len(values)),
        image=images.load,
        norm=norm,  # type: ignore[arg-type]
        center=norm(frozen).mean(dim=0),
        auxiliary=AuxiliaryImages(photographs, None),
    )


def _trained(course: Course, place: Place, learner: Learner) -> Iterator[tuple[int, nn.Module]]:
    """Yield (step, tail) after every step."""
    config, tail = learner.config, learner.config.network.tail
    if course.recipe in STUDENTS:
        tail = learner.network
    tail.requires_grad_(True)
    parameters = [*tail.parameters(), *(value for value in learner.head.values() if value.requires_grad)]
    optimiser = learner.optimiser(parameters, course.rate)
    mean = copy.deepcopy(tail) if course.averaged else tail
    for step in range(course.steps):
        loss = learner.loss(batch_rows(learner.data.train_rows, config.batch_size, place.seed, step), step)
        optimiser.zero_grad()
        loss.backward()
        if "clip" in config.options and course.recipe not in STUDENTS:
            torch.nn.utils.clip_grad_norm_(parameters, float(config.options["clip"]))
        optimiser.step()
        if course.averaged:
            with torch.no_grad():
                for one, now in zip(mean.parameters(), tail.parameters(), strict=True):
                    one.lerp_(now, 1 / (step + 1))
        yield step + 1, mean
