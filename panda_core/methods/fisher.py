"""The Fisher diagonal of the adapted weights, for elastic weight consolidation (PANDA, Sec. 3).

F_i = E[(d l(x, y) / d theta_i)^2], l the cross-entropy of the pretrained classifier. The paper takes true labels
of ImageNet images ("empirical" Fisher) over 100 minibatches and does not say whether squares are of single images
or of minibatch means; its file of F was published, the code that made it was not. Here: squares of single images,
averaged, which is the diagonal itself and does not depend on a batch size. Where no labelled ImageNet images are
at hand, labels are drawn from the network's own predictions on the normal images (the "true" Fisher on other data),
a deviation that every run names.
"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from panda_core.backbones.network import Network
from panda_core.features import activation_batch


def fisher_diagonal(
    network: Network,
    activations: np.ndarray,
    labels: np.ndarray | None,
    *,
    rng: torch.Generator,
    device: torch.device,
) -> Generator[int, None, dict[str, Tensor]]:
    """Return name -> F for the tail's trainable parameters; yield the number of images done.

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
        yield index + 1
    return {name: square / max(len(activations), 1) for name, square in squares.items()}
