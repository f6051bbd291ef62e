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
from panda_core.features.trunk import activation_batch


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
    activations: np.ndarray,
    labels: np.ndarray | None,
    *,
    rng: torch.Generator,
    device: torch.device,
) -> Computing[dict[str, Tensor]]:
    """Return name -> F for the tail's trainable parameters; yield after every image.

    activations: (N, C, h, w) of the trunk. labels: (N,) of the classifier's classes, or None to draw each from
    the network's prediction. A parameter without a path to the logits has F = 0.
    """
    parameters = {name: value for name, value in network.tail.named_parameters() if value.requires_grad}
    squares = {name: torch.zeros_like(value) for name, value in parameters.items()}
    for index in range(len(activations)):
        logits = network.logits(network.tail(activation_batch(activations, [index], device)))  # (1, classes)
        if labels is None:
            label = torch.multinomial(logits.detach().softmax(dim=1).cpu(), 1, generator=rng)[0]
        else:
            label = torch.tensor([int(labels[index])])
        loss = F.cross_entropy(logits, label.to(device))
        gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        for square, gradient in zip(squares.values(), gradients, strict=True):
            if gradient is not None:
                square += gradient.square()
        yield progress_at("fisher", index + 1, len(activations))
    return {name: square / max(len(activations), 1) for name, square in squares.items()}
