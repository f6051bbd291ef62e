"""`run`, `resume`, `list`, `show`, `verify`."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from panda_core.cli.flags import config_of
from panda_core.cli.map_files import check_outside, check_target, write_maps
from panda_core.cli.output import percent, print_json, print_table, print_text
from panda_core.cli.progress import show_progress
from panda_core.config import RunConfig
from panda_core.datasets.own.folder import PREFIX
from panda_core.errors import PandaError, UsageError, unknown_name
from panda_core.events import Event, RunFinished, RunStarted
from panda_core.figures.heatmaps import fixed_scale
from panda_core.runs.calibration import Calibration
from panda_core.runs.corrected import corrections_of, counted
from panda_core.runs.folder import RunFolder, list_runs
from panda_core.runs.kinds import KINDS, resolve
from panda_core.runs.loaded import LoadedRun, load_run
from panda_core.runs.run import resume, run, stop_on_signal
from panda_core.runs.verifying import verify
from panda_core.segmentation.maps import full_map
from panda_core.segmentation.tiles import drawing_of


def compute_command(parsed: argparse.Namespace) -> int:
    """Compute a new run of any kind; print its events as they are recorded, and write its maps where asked to."""
    _check_recipe(parsed)
    config = resolve(config_of(parsed))  # wrong names and values are said before torch is loaded
    if getattr(parsed, "maps", None):
        check_target(Path(parsed.maps))
        if config.dataset.startswith(PREFIX):
            check_outside(Path(parsed.maps), Path(config.dataset.removeprefix(PREFIX)))
    with stop_on_signal() as should_stop:
        return _consume(parsed, config, run(config, should_stop=should_stop))


def _check_recipe(parsed: argparse.Namespace) -> None:
    """Raise `UsageError` for a recipe of another kind than the command's; `run` takes any."""
    wanted = getattr(parsed, "kind", None)
    own = next((kind for kind in KINDS if kind.key == wanted), None)
    if own is None or parsed.recipe in own.recipes:
        return
    for kind in KINDS:
        if parsed.recipe in kind.recipes:
            raise UsageError(
                f"`{parsed.recipe}` is a {kind.called}, for `python -m panda_core {kind.command} --recipe "
                f"{parsed.recipe}`; `{own.command}` takes {', '.join(f'`{key}`' for key in own.recipes)}."
            )
    raise unknown_name(own.called, parsed.recipe, own.recipes, "--recipe")


def resume_command(parsed: argparse.Namespace) -> int:
    """Continue a run."""
    folder = RunFolder.open(parsed.run, parsed.runs_dir)
    with stop_on_signal() as should_stop:
        return _consume(parsed, folder.config(), resume(folder, should_stop=should_stop, queued=parsed.queue))


def _consume(parsed: argparse.Namespace, config: RunConfig, events: Iterator[Event]) -> int:
    last: Event | None = None
    run_id = ""
    if parsed.json:
        for last in events:
            run_id = last.run_id if isinstance(last, RunStarted) else run_id
            print_json(last.to_json())
    else:
        for last in show_progress(events):
            run_id = last.run_id if isinstance(last, RunStarted) else run_id
        if isinstance(last, RunFinished):
            _print_result(last)
            if warning := last.metrics["calibration"]["warning"]:
                print_text(warning)
        if run_id:
            print_text(f"Run folder: {Path(config.runs_dir) / run_id}")
    if isinstance(last, RunFinished) and getattr(parsed, "maps", None):
        _write_test_maps(RunFolder(Path(config.runs_dir) / run_id), Path(parsed.maps))
    return 0 if isinstance(last, RunFinished) else 1


def _write_test_maps(folder: RunFolder, target: Path) -> None:
    """Write the maps of a segmentation run's test images, all on the run's one scale."""
    loaded = LoadedRun(folder)
    step, images = loaded.segmented[-1].step, loaded.images("test")
    maps, scores = loaded.maps(step), loaded.arrays(step).scores
    size, sigma = drawing_of(loaded.config)
    scale = fixed_scale(loaded.calibration.map_low, loaded.calibration.map_middle, maps.grids)
    items = (
        (images.names[row], images.load(row), full_map(grid, size, sigma, loaded.region), float(scores[row]))
        for row, grid in enumerate(maps.grids)
    )
    write_maps(target, items, scale, loaded.calibration.verdict)


def _print_result(finished: RunFinished) -> None:
    metrics = finished.metrics
    if "image_auroc" in metrics:
        _print_segmented(metrics)
        return
    interval = ""
    if metrics["auroc_low"] is not None:
        interval = f" (95 % interval {percent(metrics['auroc_low'])} to {percent(metrics['auroc_high'])})"
    whitened = metrics.get("whitened_auroc")
    beside = "" if whitened is None else f"; whitened, not adapted {percent(whitened)}"
    print_text(f"AUROC {percent(metrics['auroc'])}{interval}; unadapted {percent(metrics['unadapted_auroc'])}{beside}")


def _print_segmented(metrics: dict[str, Any]) -> None:
    """Print image and pixel metrics, of all test images and of each kind of anomaly."""
    whole = {"images": sum(row["images"] for row in metrics["kinds"].values()), **metrics}
    rows = [
        [name, str(row["images"]), percent(row["image_auroc"]), percent(row["pixel_auroc"]), percent(row["aupro"])]
        for name, row in [*metrics["kinds"].items(), ("all", whole)]
    ]
    columns = ("anomalies", "images", "image AUROC", "pixel AUROC", "AUPRO (0.3)")
    print_table("Against the normal test images; pixels where defects are marked", columns, rows)
    print_text(
        f"Pixel average precision {percent(metrics['pixel_average_precision'])}; best possible pixel F1, "
        f"chosen with the masks, {percent(metrics['oracle_pixel_f1'])}."
    )
    for one in metrics.get("draws", []):
        print_text(
            f"References drawn: image AUROC {percent(one['image_auroc'])}; by the length of residuals alone, without "
            f"any training, {percent(one['residual_auroc'])}."
        )
    if metrics["recall"] < 1:
        print_text(f"The search is approximate: it finds the nearest patch in {percent(metrics['recall'])} of cases.")


def list_command(parsed: argparse.Namespace) -> int:
    """List the runs of a folder; a broken one is listed with the reason."""
    rows = []
    for folder in list_runs(parsed.runs_dir):
        loaded = LoadedRun(folder)
        try:
            config, metrics = loaded.config, loaded.metrics
            row: dict[str, Any] = {
                "run": folder.run_id,
                "name": config.name,
                "state": folder.state().state,
                "dataset": config.dataset,
                "normal_class": config.normal_class,
                "recipe": config.recipe,
                "auroc": metrics and metrics["auroc"],
                "unadapted_auroc": metrics and metrics["unadapted_auroc"],
                "problem": "",
            }
        except (PandaError, TypeError, KeyError) as error:
            row = {"run": folder.run_id, "state": "broken", "problem": str(error)}
        rows.append(row)
    if parsed.json:
        print_json(rows)
    elif not rows:
        print_text(f"No runs in `{parsed.runs_dir}` yet. Start one with `python -m panda_core run`.")
    else:
        columns = ("run", "state", "AUROC", "unadapted", "problem")
        cells = [
            [row["run"], row["state"], percent(row.get("auroc")), percent(row.get("unadapted_auroc")), row["problem"]]
            for row in rows
        ]
        print_table(f"Runs in {parsed.runs_dir}", columns, cells)
    return 0


def show_command(parsed: argparse.Namespace) -> int:
    """Summarise a run."""
    loaded = load_run(parsed.run, parsed.runs_dir)
    state, environment = loaded.state(), loaded.environment
    corrections = corrections_of(RunFolder.open(parsed.run, parsed.runs_dir))
    if parsed.json:
        print_json(
            {
                "run": loaded.run_id,
                "state": state.state,
                "reason": state.reason,
                "config": loaded.config.to_json(),
                "environment": environment,
                "curve": [event.to_json() for event in [*loaded.evaluated, *loaded.segmented]],
                "metrics": loaded.metrics,
                "calibration": loaded.calibration.summary() if has_scores(loaded) else None,
                "skipped": loaded.skipped,
                "corrections": [dataclasses.asdict(one) for one in corrections],
            }
        )
        return 0
    print_text(f"{loaded.run_id}  {state.state}  {state.reason}".rstrip())
    print_text(loaded.config.to_command())
    if corrections:
        undone = f"`accept {parsed.run} --undo` takes the last one back."
        print_text(f"Learned again with corrections: {counted(corrections)}. {undone}")
    if environment.get("fisher"):
        print_text(f"Elastic weights from the {environment['fisher']}.")
    for told in loaded.notes:
        print_text(told)
    for name, reason in loaded.skipped:
        print_text(f"Skipped {name}: {reason}")
    if has_scores(loaded):
        _print_calibration(loaded.calibration)
    if loaded.has_maps:
        if loaded.metrics:
            _print_segmented(loaded.metrics)
        return 0
    rows = [
        [
            str(event.step),
            percent(event.auroc),
            f"{event.spread:.4g}",
            "-" if event.normal_ratio is None else f"{event.normal_ratio:.3f}",
            "-" if event.anomalous_ratio is None else f"{event.anomalous_ratio:.3f}",
            f"{event.effective_rank:.1f}",
            datetime.fromtimestamp(event.time).strftime("%H:%M:%S"),
        ]
        for event in loaded.evaluated
    ]
    columns = ("step", "AUROC", "spread", "normal ratio", "anomalous ratio", "effective rank", "at")
    print_table("Curve (step 0 is unadapted)", columns, rows)
    if loaded.metrics:
        print_text(f"Final AUROC {percent(loaded.metrics['auroc'])}")
    return 0


def has_scores(loaded: LoadedRun) -> bool:
    """Return whether a run has got as far as scores."""
    return bool(loaded.results)


def _print_calibration(calibration: Calibration) -> None:
    """Print the threshold, what it will do to fresh normal images, and why it cannot be trusted where it cannot."""
    threshold = calibration.threshold()
    if threshold is not None:
        print_text(f"Threshold {threshold:.6g}.")
    print_text(calibration.sentence())
    if calibration.warning:
        print_text(calibration.warning)


def verify_command(parsed: argparse.Namespace) -> int:
    """Compute the final scores again from data, weights and checkpoints; exit 1 unless the run is what it says."""
    loaded = load_run(parsed.run, parsed.runs_dir)
    found = verify(loaded)
    told = next((one for one in found if not one.equal), found[0])
    bit_for_bit = all(one.bit_for_bit for one in found[:2])  # a detector's need not be: see `OF_DETECTOR`
    if parsed.json:
        said = {"equal": told.equal, "bit_for_bit": told.equal and bit_for_bit, "largest_difference": told.difference}
        print_json({"run": loaded.run_id, **said})
    else:
        how = f"the largest difference is {told.difference:.3g} of {told.scale:.3g}"
        how = "bit for bit" if told.equal and bit_for_bit else how
        print_text(f"{'Equal' if told.equal else 'Not equal'}: {len(told.recorded)} {told.what}, {how}.")
    return 0 if told.equal else 1
