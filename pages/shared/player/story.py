"""The story of a run in plain words: which phase each measurement belongs to, its caption, and what the alarm says."""

from __future__ import annotations

from collections.abc import Sequence

from panda_core.figures import Curve

UNADAPTED, ADAPTING, HEALTHY, COLLAPSING, COLLAPSED = "unadapted", "adapting", "healthy", "collapsing", "collapsed"
UNKNOWN = "no anomalies known"
# AUROC below its best so far, from which on the features are said to collapse: more than chance moves it here.
FALLEN = 0.02
FAR = 0.1  # AUROC below the unadapted network's: a collapse, wherever anomalies lie
STILL = 0.004  # AUROC that a healthy plateau moves at most between two measurements

CAPTIONS = {
    UNADAPTED: (
        "The network as it was pretrained. Normal images lie loosely around their center, anomalies among them and "
        "beyond."
    ),
    "improving": "Normal images pull together, and anomalies stand out more clearly than before.",
    "pulling": "Normal images pull together, but anomalies are not told apart any better than at best so far.",
    "warning": (
        "A warning: anomalies are drawn towards the center too. Their nearest neighbours still give them away, but not "
        "for long."
    ),
    HEALTHY: "Little changes any more: normal images lie close together, and anomalies stay apart.",
    "worse": (
        "It has become worse: some anomalies lie among normal images now, though most still stand apart. Adapting "
        "further rarely brings them back."
    ),
    COLLAPSING: (
        "The network has gone too far. Anomalies are pulled into the center as well, and scores lose their meaning."
    ),
    COLLAPSED: (
        "Collapsed: worse than the network that was never adapted. Images have almost the same features, whatever they "
        "show."
    ),
    UNKNOWN: "The test set lacks normal images or anomalies, so nobody can say whether they can still be told apart.",
}


def story_of(curve: Curve, alarms: Sequence[str] = ()) -> list[dict[str, str]]:
    """Return phase, caption and alarm of each step. The phase is told with test labels, the alarm without any."""
    words: list[dict[str, str]] = []
    best = 0.0
    for index, step in enumerate(curve.steps):
        now = curve.auroc[index]
        best = max(best, now or 0.0)
        phase, key = _phase(curve, index, best) if now is not None else (UNKNOWN, UNKNOWN)
        if step == 0 and now is not None:
            phase, key = UNADAPTED, UNADAPTED
        alarm = alarms[index] if index < len(alarms) else ""
        words.append({"phase": phase, "caption": CAPTIONS[key], "alarm": alarm})
    return words


def _phase(curve: Curve, index: int, best: float) -> tuple[str, str]:
    """Return the phase at an index, and which caption tells it. best: the largest AUROC until then."""
    now, before = curve.auroc[index] or 0.0, curve.auroc[max(index - 1, 0)] or 0.0
    ratio, first = curve.anomalous_ratio[index] or 1.0, curve.anomalous_ratio[0] or 1.0
    drawn_in = ratio < 1 + 0.35 * (first - 1)
    if best - now > FALLEN:
        unadapted = curve.auroc[0] or 0.0
        if not drawn_in and now > unadapted - FAR:
            return COLLAPSING, "worse"
        phase = COLLAPSED if now < unadapted - FALLEN else COLLAPSING
        return phase, phase
    if drawn_in:
        return ADAPTING, "warning"
    if index > 1 and abs(now - before) < STILL:
        return HEALTHY, HEALTHY
    return ADAPTING, "improving" if now >= best - STILL else "pulling"
