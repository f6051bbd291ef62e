"""Elastic penalties: what keeps the adapted weights near the pretrained ones.

PANDA, Sec. 3; Kirkpatrick et al., "Overcoming catastrophic forgetting in neural networks", PNAS 2017.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class ElasticPenalty:
    """(strength / 2) sum_i F_i (theta_i - theta0_i)^2 over the adapted parameters.

    initial: name -> pretrained value. importance: name -> F, of the same shape and >= 0: the Fisher diagonal for
    EWC, or None for the paper's ablation in which every weight is equally elastic (F = 1).
    """

    def __init__(
        self, initial: Mapping[str, Tensor], importance: Mapping[str, Tensor] | None, *, strength: float
    ) -> None:
        if importance is not None and set(importance) != set(initial):
            raise ValueError("Importance and parameters must have the same names.")
        self.initial = {name: value.detach().clone() for name, value in initial.items()}
        self.importance = importance
        self.strength = strength

    def __call__(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Return the penalty of the current parameters: a scalar, exactly 0 at the pretrained ones."""
        terms = []
        for name, initial in self.initial.items():
            drift = (parameters[name] - initial).square()
            terms.append((drift if self.importance is None else self.importance[name] * drift).sum())
        return 0.5 * self.strength * torch.stack(terms).sum()
