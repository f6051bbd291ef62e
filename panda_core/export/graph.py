"""A detector as one graph: resized pixels in, anomaly scores out. Network, space, gallery and stop rule are inside."""

from __future__ import annotations

import copy
import math
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from panda_core.backbones import Preprocessing
from panda_core.errors import UsageError
from panda_core.features.background import Background
from panda_core.features.joined import JoinedNorm
from panda_core.features.trunk import counted
from panda_core.linalg import center_of
from panda_core.methods.deep_svdd import DeepSVDD
from panda_core.methods.geometric_views import VIEWS, classes, view
from panda_core.methods.mhrot import CLASSIFY, DIFFERENCE, NEIGHBOURS, MHRot, correct_probability
from panda_core.methods.outlier_exposure import OutlierExposure
from panda_core.methods.stopping import SMALLEST_SPREAD
from panda_core.region import PAINT
from panda_core.runs.adapt.opened import Adapted, Checkpoint
from panda_core.scoring.joined import JoinedScorer
from panda_core.scoring.knn import KNNScorer
from panda_core.scoring.mahalanobis import MahalanobisScorer
from panda_core.scoring.means import KMeansScorer, MeanScorer
from panda_core.scoring.ocsvm import FLAT, OneClassSVMScorer
from panda_core.scoring.relative_mahalanobis import SMALLEST, RelativeMahalanobisScorer

INSTEAD = "Use `--format bundle`, which keeps every run whole."


def _kept(values: np.ndarray | Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.as_tensor(values).detach().cpu().to(dtype).contiguous()


class Nearest(nn.Module):
    """Features (B, D) -> (B,): sum of the squared distances to the k nearest of `rows` (N, D).

    A product finds the nearest; their distances are then differences. Both around the center of the rows.
    """

    def __init__(self, rows: np.ndarray, k: int) -> None:
        super().__init__()
        center = center_of(rows)
        self.k = k
        self.register_buffer("center", _kept(center))
        self.register_buffer("rows", _kept(rows.astype(np.float32) - center))
        self.register_buffer("lengths", self.rows.square().sum(dim=1))

    center: Tensor
    rows: Tensor
    lengths: Tensor

    def forward(self, features: Tensor) -> Tensor:
        queries = features - self.center
        # Without the queries' own lengths, which change no order.
        order = self.lengths - 2 * queries @ self.rows.T
        found = order.topk(self.k, dim=1, largest=False).indices
        return (queries[:, None] - self.rows[found]).square().sum(dim=(1, 2))


class Distance(nn.Module):
    """Features (B, D) -> (B,): squared distance to `point` (D,), minus `offset`."""

    point: Tensor

    def __init__(self, point: np.ndarray | Tensor, offset: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("point", _kept(point))
        self.offset = offset

    def forward(self, features: Tensor) -> Tensor:
        return (features - self.point).square().sum(dim=1) - self.offset


class Mahalanobis(nn.Module):
    """Features (B, D) -> (B,): squared length around `mean` (D,) after `whitening` (D, D), in float64 as fitted."""

    mean: Tensor
    whitening: Tensor

    def __init__(self, mean: np.ndarray, whitening: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("mean", _kept(mean, torch.float64))
        self.register_buffer("whitening", _kept(whitening, torch.float64))

    def forward(self, features: Tensor) -> Tensor:
        whitened = (features.double() - self.mean) @ self.whitening
        return whitened.square().sum(dim=1).float()


class RelativeMahalanobis(nn.Module):
    """Features (B, D) -> (B,): `RelativeMahalanobisScorer` as tensors, in float64 as fitted."""

    def __init__(self, scorer: RelativeMahalanobisScorer) -> None:
        super().__init__()
        self.normal = Mahalanobis(scorer.normal_.mean_, scorer.normal_.whitening_)
        self.background, self.near = cast("Background", scorer.background), scorer.near_

    def forward(self, features: Tensor) -> Tensor:
        if not self.near:
            return (self.normal(features).double() / max(self.background.far, SMALLEST)).float()
        return (self.normal(features).double() / self.background(features).clamp(min=SMALLEST)).float()


class OneClassSVM(nn.Module):
    """Features (B, D) -> (B,): minus the decision function of a one-class SVM, in float64 as fitted."""

    mean: Tensor
    components: Tensor
    vectors: Tensor
    lengths: Tensor
    weights: Tensor

    def __init__(self, scorer: OneClassSVMScorer) -> None:
        super().__init__()
        svm, double = scorer.svm_, torch.float64
        dims = len(scorer.mean_)
        self.contrast, self.reduces = scorer.contrast, scorer.components_ is not None
        self.gamma, self.intercept = float(svm._gamma), float(svm.intercept_[0])
        self.register_buffer("mean", _kept(scorer.mean_, double))
        components = scorer.components_ if scorer.components_ is not None else np.zeros((dims, 0))
        self.register_buffer("components", _kept(components, double))
        self.register_buffer("vectors", _kept(svm.support_vectors_, double))
        self.register_buffer("lengths", self.vectors.square().sum(dim=1))
        self.register_buffer("weights", _kept(svm.dual_coef_[0], double))

    def forward(self, features: Tensor) -> Tensor:
        rows = features.double()
        if self.contrast:
            rows = rows - rows.mean(dim=1, keepdim=True)
            rows = rows / rows.abs().mean(dim=1, keepdim=True).clamp(min=FLAT)
        if self.reduces:
            rows = (rows - self.mean) @ self.components
        squares = rows.square().sum(dim=1, keepdim=True) + self.lengths - 2 * rows @ self.vectors.T
        return -((-self.gamma * squares).exp() @ self.weights + self.intercept).float()


class Joined(nn.Module):
    """Features (B, D) of several networks -> (B,): `JoinedScorer` as tensors."""

    def __init__(self, scorer: JoinedScorer) -> None:
        super().__init__()
        self.parts = nn.ModuleList(scoring_module(part) for part in scorer.scorers)
        self.widths, self.positive = list(scorer.widths), scorer.positive

    def forward(self, features: Tensor) -> Tensor:
        shares = features.split(self.widths, dim=1)
        scores = [part(share).double() for part, share in zip(self.parts, shares, strict=True)]
        if not self.positive:
            return (sum(scores[1:], scores[0]) / len(scores)).float()
        return (math.prod(scores[1:], start=scores[0]) ** (1 / len(scores))).float()


class Logits(nn.Module):
    """Features (B, D) -> (B, K), or (B,) where the weight is (D,): w x + b."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", _kept(weight.mT if weight.ndim == 2 else weight))
        self.register_buffer("bias", _kept(bias))

    def forward(self, features: Tensor) -> Tensor:
        return features @ self.weight + self.bias


def scoring_module(scorer: object) -> nn.Module:
    """Return a fitted scorer as the module features (B, D) -> scores (B,); `UsageError` where there is none."""
    if isinstance(scorer, JoinedScorer):
        return Joined(scorer)
    if isinstance(scorer, KNNScorer):
        return Nearest(scorer.gallery_, scorer.k)
    if isinstance(scorer, KMeansScorer):
        return Nearest(scorer.means_, 1)
    if isinstance(scorer, MeanScorer):
        return Distance(scorer.mean_)
    if isinstance(scorer, MahalanobisScorer):
        return Mahalanobis(scorer.mean_, scorer.whitening_)
    if isinstance(scorer, RelativeMahalanobisScorer):
        return RelativeMahalanobis(scorer)
    if isinstance(scorer, OneClassSVMScorer):
        return OneClassSVM(scorer)
    raise _no_graph(scorer)


def scoring_of(adapted: Adapted, checkpoint: Checkpoint) -> nn.Module:
    """Return the module features (B, D) -> scores (B,) of a checkpoint; `UsageError` where there is none."""
    head = checkpoint.head
    if checkpoint.scorer is not None:
        return scoring_module(checkpoint.scorer)
    if isinstance(adapted.learner, OutlierExposure):
        return Logits(head["weight"], head["bias"])
    if isinstance(adapted.learner, DeepSVDD):
        return Distance(head["center"], float(head["radius"]) ** 2)
    raise _no_graph(adapted.learner)


def _no_graph(scores: object) -> UsageError:
    return UsageError(f"Scores of `{type(scores).__name__}` cannot be written as one graph. {INSTEAD}")


class Branch(nn.Module):
    """One checkpoint: activations (B, C, h, w) -> scores (B,), divided by what normal images score on average."""

    def __init__(self, tail: nn.Module, norm: JoinedNorm, scoring: nn.Module, divisor: float) -> None:
        super().__init__()
        self.tail, self.norm, self.scoring, self.divisor = tail, norm, scoring, divisor

    def forward(self, activations: Tensor) -> Tensor:
        scores: Tensor = self.scoring(self.norm(self.tail(activations)))
        return scores / self.divisor


class Views(nn.Module):
    """MHRot: activations (B, C, S, S) -> scores (B,), from the 36 views of each image, by its heads or by galleries."""

    def __init__(self, tail: nn.Module, learner: MHRot, head: dict[str, Tensor]) -> None:
        super().__init__()
        way = str(learner.config.options["mhrot_score"])
        if way == DIFFERENCE:
            raise UsageError(
                f"With `mhrot_score={DIFFERENCE}` each of 36 views is compared with all 36 galleries, too much for one "
                f"graph. {INSTEAD}"
            )
        self.tail, self.heads = tail, Logits(head["weight"], head["bias"])
        galleries = [] if way == CLASSIFY else [gallery.numpy() for gallery in head["galleries"].cpu()]
        self.galleries = nn.ModuleList(Nearest(rows, min(NEIGHBOURS, len(rows))) for rows in galleries)

    def forward(self, activations: Tensor) -> Tensor:
        scores = []
        for number, moves in enumerate(VIEWS):
            features = self.tail(view(activations, *moves))
            if self.galleries:
                scores.append(self.galleries[number](features) / len(VIEWS))
            else:
                scores.append(-correct_probability(self.heads(features), classes(*moves)))
        return torch.stack(scores).sum(dim=0)


def branch_of(adapted: Adapted, checkpoint: Checkpoint, tail: nn.Module, divisor: float) -> nn.Module:
    """Return the module activations (B, C, h, w) -> scores (B,) of a checkpoint whose network ends with `tail`."""
    if checkpoint.scorer is None and isinstance(adapted.learner, MHRot):
        return Views(tail, adapted.learner, checkpoint.head)
    return Branch(tail, adapted.norm, scoring_of(adapted, checkpoint), divisor)


class DetectorGraph(nn.Module):
    """uint8 RGB pixels (B, S, S, 3) of resized images -> float32 `outputs`, higher = more anomalous.

    uint8, because a graph of floats would take images of 0 to 1 for images of 0 to 255 without a word. side: S.
    preprocessing: how images become as large, outside: no resize of ONNX gives the bits of Pillow's. What lies outside
    of its region is painted over inside the graph.
    """

    mean: Tensor
    std: Tensor
    counts: Tensor | None
    paint: Tensor | None
    outputs: tuple[str, ...] = ("scores",)

    def __init__(self, side: int, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.side, self.preprocessing = side, preprocessing
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(preprocessing.std).view(1, 3, 1, 1))
        counts = counted(side, preprocessing)
        inside = None if counts is None else torch.from_numpy(counts.astype(np.float32)).view(1, 1, side, side)
        self.register_buffer("counts", inside)
        self.register_buffer(
            "paint", None if inside is None else (1 - inside) * _kept(np.array(PAINT)).view(1, 3, 1, 1)
        )

    def normalised(self, images: Tensor) -> Tensor:
        """Return the network's input (B, 3, S, S)."""
        pixels = images.permute(0, 3, 1, 2).to(torch.float32)
        if self.counts is not None and self.paint is not None:
            pixels = pixels * self.counts + self.paint
        return (pixels / 255 - self.mean) / self.std


class ScoreGraph(DetectorGraph):
    """A network that was adapted or not, at the checkpoints of its stop rule: scores (B,)."""

    def __init__(self, adapted: Adapted, branches: list[nn.Module]) -> None:
        super().__init__(adapted.image_size, adapted.network.preprocessing)
        self.averages = adapted.stop == "alarm"
        self.trunk, self.branches = copy.deepcopy(adapted.network.trunk), nn.ModuleList(branches)
        self.rounded = adapted.dtype == "float16"  # as the cache rounds the activations that the gallery was made from

    def forward(self, images: Tensor) -> Tensor:
        activations = self.trunk(self.normalised(images))
        if self.rounded:
            activations = activations.to(torch.float16).to(torch.float32)
        scores = torch.stack([branch(activations) for branch in self.branches])
        # Of one checkpoint its own; of several the largest (PANDA-SES), or their mean where the alarm stopped the run.
        return scores.mean(dim=0) if self.averages else scores.amax(dim=0)


def score_graph(adapted: Adapted) -> ScoreGraph:
    """Return what an adaptation learned, on the CPU, as a graph; `UsageError` where its scores are none."""
    usable = [1.0] * len(adapted.checkpoints)
    if adapted.stop != "last":
        # The rule of `panda_core.methods.stopping`: a collapsed checkpoint takes no part.
        usable = [checkpoint.normaliser for checkpoint in adapted.checkpoints]
        least = SMALLEST_SPREAD * max(*usable, float(np.finfo(np.float32).tiny))
        usable = [value if value > least else 0.0 for value in usable]
    if not any(usable):
        raise UsageError(
            "Every checkpoint of this run has collapsed: its scores are all 0. Run it with a lower `--lr`."
        )
    branches: list[nn.Module] = []
    for checkpoint, divisor in zip(adapted.checkpoints, usable, strict=True):
        if divisor:
            branches.append(branch_of(adapted, checkpoint, copy.deepcopy(checkpoint.tail), divisor))
    return ScoreGraph(adapted, branches)
