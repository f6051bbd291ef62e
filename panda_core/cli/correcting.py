"""`accept` and `reject`: "this one is fine", "this one is bad". A run is learned again; `accept --undo` undoes it."""

from __future__ import annotations

import argparse
from typing import Any

from panda_core.cli.output import print_json, print_table, print_text
from panda_core.cli.progress import show_progress
from panda_core.cli.scoring import given_files
from panda_core.datasets.io.listing import shown_name
from panda_core.errors import PandaError, UsageError
from panda_core.runs.corrected import correct_run, corrections_of, undo
from panda_core.runs.detector import PandaDetector
from panda_core.runs.folder import RunFolder
from panda_core.runs.loaded import load_run
from panda_core.runs.run import stop_on_signal
from panda_core.runs.score import score_files


def correct_command(parsed: argparse.Namespace) -> int:
    """Accept or reject images, or take the last correction back; print the verdicts before and after."""
    folder = RunFolder.open(parsed.run, parsed.runs_dir)
    if getattr(parsed, "undo", False):
        return _undo(parsed, folder)
    files = list(dict.fromkeys(given_files(parsed.paths)))
    named = [(shown_name(str(file)), file) for file in files]
    before = load_run(folder.path).detector()
    said = {one.name: one.verdict for one in score_files(before, named)}
    known = len(corrections_of(folder))
    with stop_on_signal() as should_stop:
        events = correct_run(folder, files, accept=parsed.accept, should_stop=should_stop)
        for _ in events if parsed.json else show_progress(events):
            pass
    if len(corrections_of(folder)) == known:
        raise PandaError(f"Stopped: nothing of run `{folder.run_id}` was corrected.")
    after = load_run(folder.path).detector()
    rows = [
        {"path": one.name, "before": said[one.name], "score": one.score, "verdict": one.verdict}
        for one in score_files(after, named)
    ]
    _tell(parsed, folder, rows, before, after)
    return 0


def _tell(parsed: argparse.Namespace, folder: RunFolder, rows: list[dict[str, Any]], *detectors: PandaDetector) -> None:
    """Print what became of the images and of the threshold. detectors: that of before, and that of now."""
    before, after = (detector.calibration for detector in detectors)
    if parsed.json:
        counts = {"corrections": len(corrections_of(folder))}
        print_json(
            {"run": folder.run_id, **counts, "images": rows, "before": before.summary(), "calibration": after.summary()}
        )
        return
    cells = [[row["path"], row["before"], row["verdict"]] for row in rows]
    print_table(f"{'Accepted' if parsed.accept else 'Rejected'}", ("image", "verdict before", "verdict now"), cells)
    print_text(after.sentence())
    if after.warning:
        print_text(after.warning)
    print_text(f"`python -m panda_core accept {parsed.run} --undo` takes it back.")


def _undo(parsed: argparse.Namespace, folder: RunFolder) -> int:
    if parsed.paths:
        raise UsageError(
            f"`--undo` takes the last correction back, whatever its images; got `{parsed.paths[0]}` as well."
        )
    undone = undo(folder)
    left = len(corrections_of(folder))
    if parsed.json:
        print_json({"run": folder.run_id, "undone": undone.kind, "images": undone.images, "corrections": left})
    else:
        print_text(f"Taken back: {len(undone.images)} {undone.kind}. Corrections in force: {left}.")
    return 0
