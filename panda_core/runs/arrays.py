"""What the arrays of a run hold."""

from __future__ import annotations

NEEDED_AT_STEP = {"scores", "held_out_scores", "normaliser"}
NEEDED_AT_END = {"scores", "held_out_scores", "step"}
