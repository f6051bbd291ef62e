"""Mean-shifted contrastive loss (Reiss & Hoshen, AAAI 2023): contrast the views around the center of the normal images.

Features of normal images lie close together on the unit sphere, where plain contrastive learning only pushes them
apart. Seen from their mean c, theta = (phi - c) / |phi - c| with phi = psi / |psi|, they point everywhere. The loss is
NT-Xent of theta over the two views of every image of the batch; scores compare phi itself, not shifted, of whole
images. With `angular=yes` the released code's pull of phi towards c is added, and c is of unit length in both terms,
as it is there.

In a whitened space the mean is already at the origin, so that the shift does nearly nothing: a variant that neither
paper nor code has.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from panda_core.features.trunk import laid_out, network_input
from panda_core.methods.learner import Learner, LearnerConfig, TrainingData, batch_rows
from panda_core.methods.random_views import random_view

VIEW_STREAM = 7  # of the seed: draws the views apart from the order of the images
FRESH = "fresh"  # value of `views`: two new ones in every step, as published
EPSILON = 1e-6  # an image exactly at the center has no direction


def shifted(features: Tensor, center: Tensor) -> Tensor:
    """Return theta (B, D): unit vectors from center (D,) to unit features (B, D)."""
    return F.normalize(features - center, dim=1, eps=EPSILON)


def contrastive_loss(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Return NT-Xent of two views (B, D) each, unit vectors, mean over all 2B: a scalar.

    -log( exp(t_i t_i+ / T) / sum_{j != i} exp(t_i t_j / T) ): the positive is in the denominator, the image itself is
    not. A batch of one image has no other to contrast with, and the loss is 0.
    """
    views = torch.cat([first, second])  # (2B, D)
    logits = views @ views.T / temperature  # (2B, 2B), cosines over the temperature
    itself = torch.eye(len(views), dtype=torch.bool, device=views.device)  # (2B, 2B)
    partner = torch.arange(len(views), device=views.device).roll(len(first))  # (2B,), row of the image's other view
    return F.cross_entropy(logits.masked_fill(itself, -torch.inf), partner)


def angular_loss(first: Tensor, second: Tensor, center: Tensor) -> Tensor:
    """Return mean |phi' - c|^2 + mean |phi'' - c|^2 of unit features (B, D) and a unit center (D,)."""
    return (first - center).square().sum(dim=1).mean() + (second - center).square().sum(dim=1).mean()


class MeanShifted(Learner):
    """Two random views of every image pass the frozen trunk and the tail in every step.

    A worker thread makes the views of the next batch while this one is computed. With `views=K` each image has K
    views, made once, and a step takes two of them: faster, and not the published method.
    """

    remembered = ("center",)

    def __init__(self, config: LearnerConfig) -> None:
        super().__init__(config)
        self.worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="views")
        self.ahead: tuple[int, Future[np.ndarray]] | None = None
        self.fixed_views: dict[int, Tensor] = {}  # row of an image -> activations (K, ...) of its views

    def begin(self, data: TrainingData, features: np.ndarray | None) -> None:
        super().begin(data, features)
        if features is not None:
            center = F.normalize(torch.from_numpy(features[data.train_rows]), dim=1).mean(dim=0)
            if self.config.options["angular"] == "yes":
                center = F.normalize(center, dim=0)
            self.keep(center=center)

    def loss(self, rows: np.ndarray, step: int) -> Tensor:
        fresh = self.config.options["views"] == FRESH
        views = self._fresh_views(rows, step) if fresh else self._drawn_from_fixed_views(rows, step)
        features = F.normalize(self.data.norm(self.config.network.tail(views)), dim=1)  # (2B, D')
        first, second = features[: len(rows)], features[len(rows) :]  # (B, D') each
        center, temperature = self.head["center"], float(self.config.options["temperature"])
        loss = contrastive_loss(shifted(first, center), shifted(second, center), temperature)
        return loss + angular_loss(first, second, center) if self.config.options["angular"] == "yes" else loss

    def close(self) -> None:
        self.worker.shutdown(wait=True, cancel_futures=True)

    def _fresh_views(self, rows: np.ndarray, step: int) -> Tensor:
        """Return activations (2B, ...) of two views of each row, made anew for this step."""
        ahead, self.ahead = self.ahead, None
        batch = ahead[1].result() if ahead is not None and ahead[0] == step else self._pair(rows, step)
        if step + 1 < self.config.steps:
            following = batch_rows(self.data.train_rows, self.config.batch_size, self.config.seed, step + 1)
            self.ahead = (step + 1, self.worker.submit(self._pair, following, step + 1))
        return self._activations(batch)

    def _pair(self, rows: np.ndarray, step: int) -> np.ndarray:
        """Return uint8 (2B, S, S, 3): first views, then second views."""
        rng = np.random.default_rng([self.config.seed, VIEW_STREAM, step])
        images = [self.data.image(int(row)) for row in rows]
        return np.stack([random_view(image, self.config.image_size, rng) for _ in range(2) for image in images])

    def _drawn_from_fixed_views(self, rows: np.ndarray, step: int) -> Tensor:
        """Return activations (2B, ...) of two different ones of each row's views."""
        config = self.config
        count = int(config.options["views"])
        for row in map(int, rows):
            if row not in self.fixed_views:
                rng = np.random.default_rng([config.seed, VIEW_STREAM, 0, row])
                image = self.data.image(row)
                views = np.stack([random_view(image, config.image_size, rng) for _ in range(count)])  # (K, S, S, 3)
                self.fixed_views[row] = self._activations(views).half().cpu()  # (K, ...)
        rng = np.random.default_rng([config.seed, VIEW_STREAM, step])
        pairs = np.stack([rng.permutation(count)[:2] for _ in rows])  # (B, 2), which two of the K
        first, second = (
            [self.fixed_views[int(row)][number] for row, number in zip(rows, numbers, strict=True)]
            for numbers in pairs.T
        )
        return laid_out(torch.stack(first + second).float().to(config.device))  # (2B, ...)

    @torch.no_grad()
    def _activations(self, views: np.ndarray) -> Tensor:
        network = self.config.network
        activations: Tensor = network.trunk(network_input(views, network.preprocessing).to(self.config.device))
        return activations


LEARNER = MeanShifted
