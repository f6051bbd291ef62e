"""Joint optimisation (PANDA, Eq. 2; Perera & Patel 2019): keep classifying ImageNet while the features contract.

L = cross-entropy of labelled ImageNet images + alpha * compactness of the normal images. The classifier is the
pretrained one and is trained on. The paper gives no alpha, rate or length; `alpha` weighs the batch mean divided by D
of `compactness_loss`. Perera and Patel take distances to the mean of the batch; PANDA's Eq. 2, followed here, keeps
its constant center.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from panda_core.features.trunk import activation_batch
from panda_core.methods.compactness import compactness_loss
from panda_core.methods.learner import Learner, TrainingData, batch_rows

SOURCE_STREAM = 6  # shuffles the labelled images apart from the normal ones


class Joint(Learner):
    """Both losses in every step: a batch of normal images and one of labelled images of the pretraining."""

    def begin(self, data: TrainingData, features: np.ndarray | None) -> None:
        super().begin(data, features)
        if features is not None and self.config.network.classifier is not None:
            self.keep(**{name: value.clone() for name, value in self.config.network.classifier.named_parameters()})

    def loss(self, rows: np.ndarray, step: int) -> Tensor:
        source, device = self.auxiliary_images(), self.config.device
        if source.labels is None:
            raise ValueError("Joint optimisation needs labelled images.")
        size = min(self.config.batch_size, len(source.values))
        chosen = batch_rows(np.arange(len(source.values)), size, self.config.seed, step, SOURCE_STREAM)
        network = self.config.network
        features = network.tail(activation_batch(source.values, chosen, device))
        logits = F.linear(network.last_level(features), self.head["weight"], self.head.get("bias"))  # (B, classes)
        classified = F.cross_entropy(logits, torch.as_tensor(source.labels[chosen], device=device))
        contracted = compactness_loss(self.features(rows), self.data.center.to(device))
        return classified + float(self.config.options["alpha"]) * contracted


LEARNER = Joint
