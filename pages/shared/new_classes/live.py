"""A run that generalises while it is trained: looked at again and again until it has ended."""

from __future__ import annotations

from pages.shared.runs.live import show_until_ended
from pages.shared.runs.progress import Progress, progress_of_generalisation
from panda_core.runs.folder import RunFolder
from panda_core.runs.loaded import LoadedRun


def show_training(folder: RunFolder) -> None:
    """Draw the progress of a run that has not ended; when it has, draw the whole page again."""
    show_until_ended(
        folder,
        _progress,
        "The features of the seen classes are read once; then every step compares a few images with references drawn "
        "anew. You may close this page: the training goes on.",
    )


def _progress(run: LoadedRun) -> Progress:
    return progress_of_generalisation(run.events(), int(run.config.steps or 1))
