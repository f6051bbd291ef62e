"""The film of a recorded run: plays at once, in the browser, with play, pause, step and scrub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from panda_core.figures import Curve, style
from panda_core.figures.curves import auroc_range

_HERE = Path(__file__).parent
_PLAYER = st.components.v2.component(
    "panda_player",
    html=(_HERE / "player.html").read_text(encoding="utf-8"),
    css=(_HERE / "player.css").read_text(encoding="utf-8"),
    js=(_HERE / "player.js").read_text(encoding="utf-8"),
)
MOST_POINTS = 160  # of each group
ROOM = 1.06


def show_film(curve: Curve, clouds: dict[str, list[np.ndarray]], words: Sequence[tuple[str, str]], *, key: str) -> None:
    """Draw the player. clouds: "train", "normal" and "anomalous" points (N, 2) at each step; words: phase, caption."""
    _PLAYER(key=key, data=film(curve, clouds, words))


def _rounded(points: np.ndarray) -> np.ndarray:
    """Return points with four significant digits of their own spread, so that a tiny cloud keeps its shape."""
    spread = float(np.ptp(points.astype(float), axis=0).max()) if len(points) else 0.0
    digits = 4 if spread <= 0 else int(np.clip(3 - np.floor(np.log10(spread)), 3, 9))
    return np.round(points.astype(float), digits)


def film(curve: Curve, clouds: dict[str, list[np.ndarray]], words: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return what the player needs: plain lists of rounded numbers."""
    ratios = [value for value in (*curve.anomalous_ratio, *curve.normal_ratio) if value is not None]
    seen = np.concatenate([points[0] for points in clouds.values()] + [np.zeros((1, 2))])
    low, high = seen.min(axis=0), seen.max(axis=0)
    middle, reach = (low + high) / 2, (high - low) / 2 * ROOM
    return {
        "steps": list(curve.steps),
        "auroc": curve.auroc,
        "anomalous_ratio": curve.anomalous_ratio,
        "normal_ratio": curve.normal_ratio,
        "auroc_range": [max(0.0, auroc_range([curve])[0] + 0.01), 1.0],
        "ratio_range": [0, style.ceiling([*ratios, 1.2], room=1.05)],
        "frame": np.stack([middle - reach, middle + reach], axis=1).tolist(),
        "clouds": {
            name: [_rounded(points[:MOST_POINTS]).ravel().tolist() for points in frames]
            for name, frames in clouds.items()
        },
        "words": [{"phase": phase, "caption": caption} for phase, caption in words],
        "colours": {"train": style.TRAIN, "normal": style.NORMAL, "anomalous": style.ANOMALOUS},
    }
