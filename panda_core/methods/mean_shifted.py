"""Mean-shifted contrastive loss (Reiss & Hoshen, AAAI 2023): contrast the views around the centre of the normal images.

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

from panda_core.features.trunk import network_input
from panda_core.methods.learner import Learner, Material, Setting, batch_rows
from panda_core.methods.random_views import random_view

VIEW_STREAM = 7  # draws the views apart from the order of the images
FRESH = "fresh"  # value of `views`: two new ones in every step, as published
EPSILON = 1e-6  # an image exactly at the centre has no direction


def shifted(features: Tensor, center: Tensor) -> Tensor:
    """Return theta (B, D): unit vectors from center (D,) to unit features (B, D)."""
    return F.normalize(features - center, dim=1, eps=EPSILON)


def contrastive_loss(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Return NT-Xent of two views (B, D) each, unit vectors, mean over all 2B: a scalar.

    -log( exp(t_i t_i+ / T) / sum_{j != i} exp(t_i t_j / T) ): the positive is in the denominator, the image itself is
    not. A batch of one image has no other to contrast with, and the loss is 0.
    """
    both = torch.cat([first, second])
    logits = both @ both.T / temperature
    itself = torch.eye(len(both), dtype=torch.bool, device=both.device)
    partner = torch.arange(len(both), device=both.device).roll(len(first))
    return F.cross_entropy(logits.masked_fill(itself, -torch.inf), partner)


def angular_loss(first: Tensor, second: Tensor, center: Tensor) -> Tensor:
    """Return mean |phi' - c|^2 + mean |phi'' - c|^2 of unit features (B, D) and a unit centre (D,)."""
    return (first - center).square().sum(dim=1).mean() + (second - center).square().sum(dim=1).mean()


class MeanShifted(Learner):
    """Two random views of every image pass the frozen trunk and the tail in every step.

    A worker thread makes the views of the next batch while this one is computed. With `views=K` each image has K
    views, made once, and a step takes two of them: faster, and not the published method.
    """

    remembered = ("center",)

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="views")
        self.ahead: tuple[int, Future[np.ndarray]] | None = None
        self.kept: dict[int, Tensor] = {}  # activations (K, C, h, w) of an image's views, by its row

    def begin(self, material: Material, features: np.ndarray | None) -> None:
        super().begin(material, features)
        if features is not None:
            center = F.normalize(torch.from_numpy(features[material.fitted]), dim=1).mean(dim=0)
            if self.setting.options["angular"] == "yes":
                center = F.normalize(center, dim=0)
            self.keep(center=center)

    def loss(self, rows: np.ndarray, step: int) -> Tensor:
        fresh = self.setting.options["views"] == FRESH
        views = self._fresh_views(rows, step) if fresh else self._kept_views(rows, step)
        features = F.normalize(self.material.norm(self.setting.network.tail(views)), dim=1)
        first, second = features[: len(rows)], features[len(rows) :]
        center, temperature = self.head["center"], float(self.setting.options["temperature"])
        loss = contrastive_loss(shifted(first, center), shifted(second, center), temperature)
        return loss + angular_loss(first, second, center) if self.setting.options["angular"] == "yes" else loss

    def close(self) -> None:
        self.worker.shutdown(wait=True, cancel_futures=True)

    def _fresh_views(self, rows: np.ndarray, step: int) -> Tensor:
        """Return activations (2B, C, h, w) of two views of each row, made anew for this step."""
        ahead, self.ahead = self.ahead, None
        batch = ahead[1].result() if ahead is not None and ahead[0] == step else self._pair(rows, step)
        if step + 1 < self.setting.steps:
            following = batch_rows(self.material.fitted, self.setting.batch_size, self.setting.seed, step + 1)
            self.ahead = (step + 1, self.worker.submit(self._pair, following, step + 1))
        return self._activations(batch)

    def _pair(self, rows: np.ndarray, step: int) -> np.ndarray:
        """Return uint8 (2B, S, S, 3): first views, then second views."""
        rng = np.random.default_rng([self.setting.seed, VIEW_STREAM, step])
        images = [self.material.image(int(row)) for row in rows]
        return np.stack([random_view(image, self.setting.image_size, rng) for _ in range(2) for image in images])

    def _kept_views(self, rows: np.ndarray, step: int) -> Tensor:
        """Return activations (2B, C, h, w) of two different ones of each row's views."""
        rng, count = np.random.default_rng([self.setting.seed, VIEW_STREAM, step]), int(self.setting.options["views"])
        pairs = np.stack([rng.permutation(count)[:2] for _ in rows])
        for row in rows:
            if int(row) not in self.kept:
                own = np.random.default_rng([self.setting.seed, VIEW_STREAM, 0, int(row)])
                image = self.material.image(int(row))
                made = np.stack([random_view(image, self.setting.image_size, own) for _ in range(count)])
                self.kept[int(row)] = self._activations(made).half().cpu()
        chosen = [self.kept[int(row)][pair[place]] for place in range(2) for row, pair in zip(rows, pairs, strict=True)]
        activations = torch.stack(chosen).float().to(self.setting.device)
        return activations.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def _activations(self, views: np.ndarray) -> Tensor:
        network = self.setting.network
        activations: Tensor = network.trunk(network_input(views, network.preprocessing).to(self.setting.device))
        return activations


LEARNER = MeanShifted
