"""DeepSVDD (Ruff et al., ICML 2018): a small network, trained from nothing to map normal images into a small ball.

First an autoencoder, then the ball around the mean of what its encoder makes of the normal images. `one-class`: the
mean of |phi(x) - c|^2. `soft-boundary`: R^2 + (1 / nu) mean max(0, |phi(x) - c|^2 - R^2), where R is not trained but
set to the (1 - nu) quantile of a batch's distances, after a warm-up in which it is 0. The score is |phi(x) - c|^2,
minus R^2 where there is one, so that 0 is the surface of the ball.

The autoencoder learns to draw the normal images from 128 numbers. Its decoder mirrors the network and is thrown away
afterwards. As in the released code: Adam at 1e-4, a tenth of it after 5/7 of the way (250 of 350 epochs), batches of
200, weight decay 5e-7, squared error summed over an image.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panda_core.backbones.lenet import EPSILON, FEATURES, LeNet
from panda_core.backbones.network import start_anew
from panda_core.events import Computing, progress_at
from panda_core.features.trunk import Activations, activation_batch
from panda_core.methods.learner import Learner, LearnerConfig, TrainingData, batch_rows
from panda_core.methods.sgd import Optimiser

NEAREST_TO_ZERO = 0.1  # a smaller component of the center could be reached with weights of 0 (released code)
ROUNDING = 1e-5  # what is smaller counts as exactly 0 and stays: all of a whitened space's center
SOFT = "soft-boundary"
AE_LR, AE_WEIGHT_DECAY = 1e-4, 5e-7  # released code
AE_MILESTONE = 5 / 7  # from there on a tenth of the rate: 250 of 350 epochs (released code)
AE_STREAM = 8  # shuffles the images apart from the order of the steps that follow
DECODER_WIDTHS = (FEATURES // 16, 128, 64, 32, 3)  # channels; the first are the 128 features on 4 x 4 places


def kept_from_zero(center: Tensor) -> Tensor:
    """Return the center (D,) with each component under 0.1 moved out to +-0.1; an exact 0 has no side and stays."""
    close = (center.abs() < NEAREST_TO_ZERO) & (center.abs() > ROUNDING)
    return torch.where(close, NEAREST_TO_ZERO * center.sign(), center)


def soft_boundary_loss(distances: Tensor, radius: Tensor, nu: float) -> Tensor:
    """Return R^2 + mean(max(0, d - R^2)) / nu of squared distances d (B,) and the radius R: scalars."""
    return radius**2 + (distances - radius**2).clamp(min=0).mean() / nu


class Decoder(nn.Module):
    """(B, 128) -> images (B, 3, 32, 32) in [0, 1]."""

    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(FEATURES, eps=EPSILON, affine=bias)
        pairs = itertools.pairwise(DECODER_WIDTHS)
        self.convolutions = nn.ModuleList(nn.ConvTranspose2d(a, b, 5, padding=2, bias=bias) for a, b in pairs)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width, eps=EPSILON, affine=bias) for width in DECODER_WIDTHS[1:-1])

    def forward(self, features: Tensor) -> Tensor:
        x = F.leaky_relu(self.norm(features).view(len(features), DECODER_WIDTHS[0], 4, 4))  # (B, 8, 4, 4)
        *earlier, last = self.convolutions
        for convolution, norm in zip(earlier, self.norms, strict=True):
            x = F.interpolate(F.leaky_relu(norm(convolution(x))), scale_factor=2)  # twice as wide and high
        return torch.sigmoid(last(x))  # (B, 3, 32, 32)


def pretrain_autoencoder(tail: LeNet, values: Activations, config: LearnerConfig, epochs: int) -> Computing[None]:
    """Train `tail` to encode the normal images `values` (N, 3, 32, 32), yielding after every step."""
    decoder = start_anew(Decoder(bias=tail.last.bias is not None), config.seed + 1).to(config.device)
    parameters = [*tail.parameters(), *decoder.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=AE_LR, weight_decay=AE_WEIGHT_DECAY)
    rows = np.arange(len(values))
    total = epochs * -(-len(rows) // config.batch_size)
    tail.train()
    for step in range(total):
        chosen = batch_rows(rows, config.batch_size, config.seed, step, AE_STREAM)
        if len(chosen) == 1:  # BatchNorm knows no spread of a single image: it is shown twice
            chosen = chosen.repeat(2)
        images = tail.prepared(activation_batch(values, chosen, config.device))
        loss = (decoder(tail.encoded(images)) - images).square().sum(dim=(1, 2, 3)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.param_groups[0]["lr"] = AE_LR if step < AE_MILESTONE * total else 0.1 * AE_LR
        optimiser.step()
        yield progress_at("pretraining", step + 1, total)
    tail.eval()


class DeepSVDD(Learner):
    """The tail is the whole network; it starts from the run's seed and is trained with moving BatchNorm statistics."""

    remembered = ("center", "radius")

    def pretrain(self, values: Activations, rows: np.ndarray) -> Computing[None]:
        tail = self.config.network.tail
        if not isinstance(tail, LeNet):
            raise TypeError("DeepSVDD trains its own network.")
        start_anew(tail, self.config.seed)
        normals = values[rows]
        tail.fit_range(normals)
        yield from pretrain_autoencoder(tail, normals, self.config, int(self.config.options["ae_epochs"]))

    def adjusted(self, center: Tensor) -> Tensor:
        return kept_from_zero(center)

    def begin(self, data: TrainingData, features: np.ndarray | None) -> None:
        super().begin(data, features)
        if features is not None:
            self.keep(center=data.center, radius=torch.zeros(()))

    def loss(self, rows: np.ndarray, step: int) -> Tensor:
        options = self.config.options
        distances = (self.features(rows) - self.head["center"]).square().sum(dim=1)  # (B,)
        if options["objective"] != SOFT:
            return distances.mean()
        nu = float(options["nu"])
        loss = soft_boundary_loss(distances, self.head["radius"], nu)
        if step >= float(options["warm_up"]) * self.config.steps:
            self.keep(radius=torch.quantile(distances.detach().sqrt(), 1 - nu))
        return loss

    def optimiser(self, parameters: list[Tensor], lr: float) -> Optimiser:
        return torch.optim.Adam(parameters, lr=lr, weight_decay=float(self.config.options["weight_decay"]))

    def rate(self, step: int) -> float:
        return 1.0 if 3 * step < self.config.steps else 0.1  # 50 of 150 epochs

    def scores(self, values: Activations, features: np.ndarray) -> Computing[np.ndarray]:
        yield None
        center, radius = (self.head[name].cpu().numpy() for name in ("center", "radius"))
        return (np.square(features - center).sum(axis=1) - radius**2).astype(np.float32)


LEARNER = DeepSVDD
