"""Numbers of recorded runs in lessons: read from the run, never written down, so that a new recording keeps them true.

Metrics are `auroc`, `step`, `final` and `whitened`, what the whitened space gave without any adapting.
A moment of a run is a step, of which the nearest that was measured counts, or `best` (the best AUROC), `half` or `end`.
In the text of a lesson `{auroc RUN MOMENT}`, `{step RUN MOMENT}`, `{final RUN}` and `{whitened RUN}` stand for numbers.
"""

from __future__ import annotations

import re

from pages.shared.frame import wording
from pages.shared.runs.choice import find_run
from panda_core.errors import PandaError
from panda_core.events import Evaluated
from panda_core.runs.loaded import LoadedRun

NAMED = ("best", "half", "end")
_STANDS = re.compile(r"\{(auroc|step|final|whitened) ([\w-]+)(?: (\w+))?\}")


def is_moment(text: str) -> bool:
    """Return whether a text means a moment of a run."""
    return text in NAMED or (text.isascii() and text.isdigit())


def at_moment(run: LoadedRun, moment: str) -> Evaluated:
    """Return the measurement of a run at a moment; a run without any raises `PandaError`."""
    measured = run.evaluated
    if not measured:
        raise PandaError(f"Run `{run.run_id}` has not been measured yet.")
    if moment == "best":
        return max(measured, key=lambda event: event.auroc or 0.0)
    wanted = {"half": measured[-1].step / 2, "end": measured[-1].step}.get(moment)
    wanted = int(moment) if wanted is None else wanted
    return min(measured, key=lambda event: abs(event.step - wanted))


def number_of(metric: str, run_id: str, moment: str) -> float | None:
    """Return "auroc" or "step" of a recorded run at a moment, or its "final" or "whitened" AUROC; None without one."""
    folder = find_run(run_id)
    if folder is None:
        return None
    run = LoadedRun(folder)
    try:
        if metric == "final":
            value = (run.metrics or {}).get("auroc")
        elif metric == "whitened":
            value = at_moment(run, "0").whitened_auroc
        else:
            event = at_moment(run, moment or "end")
            value = event.step if metric == "step" else event.auroc
    except PandaError:
        return None
    return None if value is None else float(value)


def filled(text: str) -> str:
    """Return the text of a lesson with the numbers for what stands in it for them."""
    return _STANDS.sub(_number, text)


def _number(found: re.Match[str]) -> str:
    value = number_of(found[1], found[2], found[3] or "")
    if value is None:
        return wording.NONE
    return wording.step(value) if found[1] == "step" else f"{value:.2f}"
