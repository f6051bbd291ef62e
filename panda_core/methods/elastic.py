"""Elastic weights: the penalty that keeps adapted weights near the pretrained ones, and the Fisher diagonal in it.

PANDA, Sec. 3; Kirkpatrick et al., "Overcoming catastrophic forgetting in neural networks", PNAS 2017.

F_i = E[(d l(x, y) / d theta_i)^2], l the cross-entropy of the pretrained classifier. The paper takes true labels
of ImageNet images ("empirical" Fisher) over 100 minibatches and does not say whether squares are of single images
or of minibatch means; its file of F was published, the code that made it was not. Here: squares of single images,
averaged, which is the diagonal itself and does not depend on a batch size. Where no labelled ImageNet images are
at hand, labels are drawn from the network's own predictions on the normal images (the "true" Fisher on other data),
a deviation that every run names.

The released code adds the penalty to the loss and clips the gradient of their sum to 1e-3 (`ElasticPenalty.__call__`),
which is kept for networks like the paper's. The bundled networks learn at rates some hundred times as high, so that one
step may be far: at a high strength the clipped gradient is all penalty, and weights bounce over their start by whole
steps, the farther the firmer they are held. There, the loss's gradient is clipped alone, and the penalty follows as a
step of its own (`ElasticPenalty.pull`), implicit and therefore stable at any strength.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from panda_core.backbones.network import Network
from panda_core.events import Computing, progress_at
from panda_core.features.trunk import Activations, activation_batch

FISHER_BATCH = 16  # gradients of as many images lie in memory at once: of a ResNet-152's tail 3.5 GB


class ElasticPenalty:
    """(strength / 2) sum_i F_i (theta_i - theta0_i)^2 over the adapted parameters.

    initial: name -> pretrained value.
    importance: name -> F, of the same shape and >= 0: the Fisher diagonal for EWC, or None for the paper's ablation in
        which every weight is equally elastic (F = 1).
    implicit: whether weights are pulled back after each step (`pull`), not by the gradient of the loss.
    """

    def __init__(
        self,
        initial: Mapping[str, Tensor],
        importance: Mapping[str, Tensor] | None,
        *,
        strength: float,
        implicit: bool,
    ) -> None:
        if importance is not None and set(importance) != set(initial):
            raise ValueError("Importance and parameters must have the same names.")
        self.initial = {name: value.detach().clone() for name, value in initial.items()}
        self.importance = importance
        self.strength = strength
        self.implicit = implicit

    def __call__(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Return the penalty of the current parameters: a scalar, exactly 0 at the pretrained ones."""
        terms = []
        for name, initial in self.initial.items():
            drift = (parameters[name] - initial).square()
            terms.append((drift if self.importance is None else self.importance[name] * drift).sum())
        return 0.5 * self.strength * torch.stack(terms).sum()

    @torch.no_grad()
    def pull(self, parameters: Mapping[str, Tensor], rate: float) -> None:
        """Move the parameters to where rate * penalty + |step|^2 / 2 is smallest.

        That is theta0 + (theta - theta0) / (1 + r F) with r = rate * strength. rate: how far the step before has moved
        weights for each unit of the loss's gradient. The two together are the proximal gradient method (Parikh & Boyd,
        "Proximal Algorithms", 2014, Sec. 4.2): at rest where loss plus penalty is smallest, and no strength overshoots.
        """
        if self.strength == 0:
            return  # theta0 + (theta - theta0) would round
        r = rate * self.strength
        for name, initial in self.initial.items():
            held = 1 + r * (1 if self.importance is None else self.importance[name])
            parameters[name].copy_(initial + (parameters[name] - initial) / held)


def fisher_diagonal(
    network: Network,
    activations: Activations,
    labels: np.ndarray | None,
    *,
    rng: torch.Generator,
    device: torch.device,
    together: int | None = None,
) -> Computing[dict[str, Tensor]]:
    """Return name -> F for the tail's trainable parameters; yield after every image.

    activations: (N, ...) of the trunk. labels: (N,) of the classifier's classes, or None to draw each from the
    network's prediction. together: images whose gradients are computed at once, each its own; None: as many as suit the
    device. A parameter without a path to the logits has F = 0.
    """
    parameters = {name: value for name, value in network.tail.named_parameters() if value.requires_grad}
    squares = {name: torch.zeros_like(value) for name, value in parameters.items()}
    together = together or (1 if device.type == "cpu" else FISHER_BATCH)
    for start in range(0, len(activations), together):
        rows = np.arange(start, min(start + together, len(activations)))
        batch = activation_batch(activations, rows, device)
        if together == 1:
            logits = network.logits(network.tail(batch))  # (1, classes)
            loss = F.cross_entropy(logits, _classes(logits, labels, rows, rng).to(device))
            gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
            for square, gradient in zip(squares.values(), gradients, strict=True):
                if gradient is not None:
                    square += gradient.square()
        else:
            with torch.no_grad():
                chosen = _classes(network.logits(network.tail(batch)), labels, rows, rng).to(device)
            for name, gradient in _gradients_of_each(network, parameters, batch, chosen).items():
                squares[name] += gradient.square().sum(dim=0)
        for index in rows:
            yield progress_at("fisher", int(index) + 1, len(activations))
    return {name: square / max(len(activations), 1) for name, square in squares.items()}


def _classes(logits: Tensor, labels: np.ndarray | None, rows: np.ndarray, rng: torch.Generator) -> Tensor:
    """Return the class (B,) of each of the images `rows`: its label, or drawn from logits (B, classes), in order."""
    if labels is not None:
        return torch.from_numpy(labels[rows].astype(np.int64))
    shares = logits.detach().softmax(dim=1).cpu()
    return torch.cat([torch.multinomial(one[None], 1, generator=rng)[0] for one in shares])


def _gradients_of_each(
    network: Network, parameters: Mapping[str, Tensor], batch: Tensor, classes: Tensor
) -> dict[str, Tensor]:
    """Return name -> gradients (B, ...) of the loss of each image alone, all of them in one pass."""
    fixed = {name: value for name, value in network.tail.state_dict().items() if name not in parameters}

    def loss(moved: dict[str, Tensor], activations: Tensor, label: Tensor) -> Tensor:
        features = torch.func.functional_call(network.tail, (moved, fixed), (activations[None],))
        return F.cross_entropy(network.logits(features), label[None])

    moved = {name: value.detach() for name, value in parameters.items()}
    each: dict[str, Tensor] = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(moved, batch, classes)
    return each
