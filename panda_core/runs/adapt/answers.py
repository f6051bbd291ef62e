"""How often a method's questions about images are answered right: MHRot's turns and shifts, as in PANDA's Table 3.

The learner sees no label: it says for each test image which share of its views is told right. Here these shares meet
the labels, when a run ends, and become metrics of normal and of anomalous images.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

_OF = ("normal", "anomalous")  # by label


@dataclasses.dataclass(frozen=True)
class Answered:
    """How often one question is answered right, as shares; None where there is no such image."""

    question: str
    normal: float | None
    anomalous: float | None


def accuracies(answers: Mapping[str, np.ndarray], is_anomaly: np.ndarray) -> dict[str, float | None]:
    """Return the metrics "normal_QUESTION_accuracy" and "anomalous_...": means of answers (M,) over images of a label.

    is_anomaly: (M,), 1 anomalous. None where there is no image of a label.
    """
    return {
        f"{kind}_{question}_accuracy": float(shares[is_anomaly == label].mean())
        if (is_anomaly == label).any()
        else None
        for question, shares in answers.items()
        for label, kind in enumerate(_OF)
    }


def answered(metrics: Mapping[str, Any]) -> list[Answered]:
    """Return what `accuracies` put into a run's metrics, a row for each question; most runs have none."""
    first, last = f"{_OF[0]}_", "_accuracy"
    names = [key[len(first) : -len(last)] for key in metrics if key.startswith(first) and key.endswith(last)]
    return [Answered(name, *(metrics.get(f"{kind}_{name}{last}") for kind in _OF)) for name in names]
