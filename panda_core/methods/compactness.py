"""The adaptation objective (PANDA, Eq. 1): pull the features of normal images towards a constant center."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from panda_core.methods.learner import Learner


def compactness_loss(features: Tensor, center: Tensor) -> Tensor:
    """Return mean_b ||psi(x_b) - c||^2 / D. features: (B, D), center: (D,), scalar >= 0.

    Eq. 1 sums over the training set; the released code takes the batch mean and divides by D. Ours is the
    latter: with gradients clipped the scale hardly matters for this loss alone, but it fixes the balance against
    the EWC penalty, whose strength of 1e4 goes with it. The center is the mean of the *unadapted* features of the
    normal images and stays as it is: taken anew, it would make the collapse faster.
    """
    return (features - center).square().mean()


class Compactness(Learner):
    """PANDA: nothing but the pull towards the center; what holds against it is a penalty or an early stop."""

    def loss(self, rows: np.ndarray, step: int) -> Tensor:
        return compactness_loss(self.features(rows), self.data.center.to(self.config.device))


LEARNER = Compactness
