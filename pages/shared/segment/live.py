"""A segmentation run while it computes: looked at again and again until it has ended."""

from __future__ import annotations

from pages.shared.runs.live import show_until_ended
from pages.shared.runs.progress import progress_of_segmentation
from panda_core.errors import PandaError
from panda_core.runs.folder import RunFolder
from panda_core.runs.loaded import LoadedRun
from panda_core.runs.segment.settings import checkpoints_of


def show_computing(folder: RunFolder) -> None:
    """Draw the progress of a run that has not ended; when it has, draw the whole page again."""
    show_until_ended(
        folder,
        lambda run: progress_of_segmentation(run.events(), _networks(run)),
        "The normal images are read and cut into patches; a bank of patches is drawn from them; then every patch of "
        "the test images is compared with the bank. The maps appear here.",
    )


def _networks(run: LoadedRun) -> int:
    try:
        return len(checkpoints_of(run.config))
    except PandaError:  # the adapted run is gone; how many there were is of no further use
        return 1
