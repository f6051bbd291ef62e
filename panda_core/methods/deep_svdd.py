"""DeepSVDD (Ruff et al., ICML 2018): a small network, trained from nothing to map normal images into a small ball.

First an autoencoder, then the ball around the mean of what its encoder makes of the normal images. `one-class`: the
mean of |phi(x) - c|^2. `soft-boundary`: R^2 + (1 / nu) mean max(0, |phi(x) - c|^2 - R^2), where R is not trained but
set to the (1 - nu) quantile of a batch's distances, after a warm-up in which it is 0. The score is |phi(x) - c|^2,
minus R^2 where there is one, so that 0 is the surface of the ball.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from panda_core.backbones.lenet import LeNet
from panda_core.backbones.network import start_anew
from panda_core.methods.autoencoder import pretrain
from panda_core.methods.learner import Learner, Material

NEAREST_TO_ZERO = 0.1  # a smaller component of the centre could be reached with weights of 0 (released code)
ROUNDING = 1e-5  # what is smaller counts as exactly 0 and stays: all of a whitened space's centre
SOFT = "soft-boundary"


def kept_from_zero(center: Tensor) -> Tensor:
    """Return the centre (D,) with each component under 0.1 moved out to +-0.1; an exact 0 has no side and stays."""
    close = (center.abs() < NEAREST_TO_ZERO) & (center.abs() > ROUNDING)
    return torch.where(close, NEAREST_TO_ZERO * center.sign(), center)


def soft_boundary_loss(distances: Tensor, radius: Tensor, nu: float) -> Tensor:
    """Return R^2 + mean(max(0, d - R^2)) / nu of squared distances d (B,) and the radius R: scalars."""
    return radius**2 + (distances - radius**2).clamp(min=0).mean() / nu


class DeepSVDD(Learner):
    """The tail is the whole network; it starts from the run's seed and is trained with moving BatchNorm statistics."""

    remembered = ("center", "radius")

    def pretrain(self, values: np.ndarray) -> Iterator[tuple[int, int]]:
        tail = self.setting.network.tail
        if not isinstance(tail, LeNet):
            raise TypeError("DeepSVDD trains its own network.")
        start_anew(tail, self.setting.seed)
        tail.fit_range(values)
        yield from pretrain(tail, values, self.setting, int(self.setting.options["ae_epochs"]))

    def adjusted(self, center: Tensor) -> Tensor:
        return kept_from_zero(center)

    def begin(self, material: Material, features: np.ndarray | None) -> None:
        super().begin(material, features)
        if features is not None:
            self.keep(center=material.center, radius=torch.zeros(()))

    def loss(self, rows: np.ndarray, step: int) -> Tensor:
        options = self.setting.options
        distances = (self.features(rows) - self.head["center"]).square().sum(dim=1)
        if options["objective"] != SOFT:
            return distances.mean()
        nu = float(options["nu"])
        loss = soft_boundary_loss(distances, self.head["radius"], nu)
        if step >= float(options["warm_up"]) * self.setting.steps:
            self.keep(radius=torch.quantile(distances.detach().sqrt(), 1 - nu))
        return loss

    def optimiser(self, parameters: list[Tensor], lr: float) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=lr, weight_decay=float(self.setting.options["weight_decay"]))

    def rate(self, step: int) -> float:
        return 1.0 if 3 * step < self.setting.steps else 0.1  # 50 of 150 epochs

    def scores(
        self, values: np.ndarray, features: np.ndarray, should_stop: Callable[[], bool] = lambda: False
    ) -> np.ndarray:
        center, radius = (self.head[name].cpu().numpy() for name in ("center", "radius"))
        return (np.square(features - center).sum(axis=1) - radius**2).astype(np.float32)


LEARNER = DeepSVDD
