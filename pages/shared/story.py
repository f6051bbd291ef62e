"""The story of a run that improves and then collapses: which phase each measurement belongs to, and its caption."""

from __future__ import annotations

from panda_core.figures import Curve

UNADAPTED, ADAPTING, COLLAPSING = "unadapted", "adapting", "collapsing"
# AUROC below its best so far, from which on the run is said to collapse: more than chance moves it here.
FALLEN = 0.02


def story_of(curve: Curve) -> list[tuple[str, str]]:
    """Return (phase, caption) of each step of `curve`."""
    words: list[tuple[str, str]] = []
    best = 0.0
    for place, step in enumerate(curve.steps):
        now = curve.auroc[place] or 0.0
        best = max(best, now)
        ratio, first = curve.anomalous_ratio[place] or 1.0, curve.anomalous_ratio[0] or 1.0
        if step == 0:
            words.append(
                (
                    UNADAPTED,
                    "The network as it was pretrained. Normal images lie loosely around their centre, "
                    "anomalies among them and beyond.",
                )
            )
        elif best - now > FALLEN and now < 0.8:
            words.append(
                (
                    COLLAPSING,
                    "Collapsed: every image has almost the same features, so an anomaly can no longer be told "
                    "from a normal image.",
                )
            )
        elif best - now > FALLEN:
            words.append(
                (
                    COLLAPSING,
                    "The network has gone too far. Anomalies are pulled into the centre as well, "
                    "and scores lose their meaning.",
                )
            )
        elif ratio < 1 + 0.35 * (first - 1):
            words.append(
                (
                    ADAPTING,
                    "A warning: anomalies are drawn towards the centre too. Their nearest neighbours still give them "
                    "away, but not for long.",
                )
            )
        else:
            words.append(
                (
                    ADAPTING,
                    "Normal images pull together, and anomalies stand out more clearly than before.",
                )
            )
    return words
