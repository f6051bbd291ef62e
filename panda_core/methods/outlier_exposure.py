"""Outlier exposure (PANDA-OE, Eq. 5): adapt by telling the normal images from any other images.

Eq. 5 is printed with two slips: it is a log-likelihood, to be maximised, and reads sigma(1 - w psi) where
1 - sigma(w psi) = sigma(-w psi) is meant. Here, as in the released code, the binary cross-entropy of
z = w psi(x) + b, normal 0 and outlier 1, averaged over both halves of the batch. The score is z itself: sigma(z) ranks
alike until it saturates into ties.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from panda_core.events import Computing
from panda_core.features.trunk import Activations, activation_batch
from panda_core.methods.learner import Learner, TrainingData, batch_rows

OUTLIER_STREAM = 5  # shuffles the outliers apart from the normal images


def exposure_loss(normal: Tensor, outlier: Tensor) -> Tensor:
    """Return the mean of -log sigma(-z) of normal logits (B,) and -log sigma(z) of outlier logits (B',): a scalar."""
    return torch.cat([F.softplus(normal), F.softplus(-outlier)]).mean()


class OutlierExposure(Learner):
    """Logistic regression on features that are trained with it. It starts at w = 0, b = 0: the loss is ln 2.

    The outliers of the batches are one shuffled stream: each is seen once before any is seen twice. The released code
    draws every batch anew.
    """

    def begin(self, data: TrainingData, features: np.ndarray | None) -> None:
        super().begin(data, features)
        if features is not None:
            self.keep(weight=torch.zeros(features.shape[1]), bias=torch.zeros(()))

    def loss(self, rows: np.ndarray, step: int) -> Tensor:
        outliers = self.auxiliary_images().values  # (N, C, h, w)
        # The size of a full batch, not of this one: with another, places in the stream would be skipped or repeated.
        size = min(self.config.batch_size, len(outliers))
        chosen = batch_rows(np.arange(len(outliers)), size, self.config.seed, step, OUTLIER_STREAM)
        batch = activation_batch(outliers, chosen, self.config.device)
        outlier_features = self.data.norm(self.config.network.tail(batch))  # (B', D')
        return exposure_loss(self._logits(self.features(rows)), self._logits(outlier_features))

    def scores(self, values: Activations, features: np.ndarray) -> Computing[np.ndarray]:
        yield None
        weight, bias = (self.head[name].detach().cpu().numpy() for name in ("weight", "bias"))
        return (features @ weight + bias).astype(np.float32)

    def _logits(self, features: Tensor) -> Tensor:
        return features @ self.head["weight"] + self.head["bias"]


LEARNER = OutlierExposure
