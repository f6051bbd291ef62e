"""The report of one run: its curves, scores, images, settings and surroundings on one page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from panda_core.errors import BrokenRun, DataMissing, PandaError, UnreadableImage
from panda_core.figures import auroc_figure, curve_of, distances_figure, histogram_figure, rank_figure, ratios_figure
from panda_core.figures.heatmaps import FADED, faded, fixed_scale, heated
from panda_core.methods.table import RECIPES
from panda_core.report.page import Html, chart, document, element, picture, table
from panda_core.runs.adapt.results import answered
from panda_core.runs.calibration import RATE
from panda_core.runs.folder import FINAL
from panda_core.runs.loaded import LoadedRun
from panda_core.segmentation.maps import full_map
from panda_core.segmentation.tiles import drawing_of

SHOWN = 8  # images in a row
NONE = "–"


def report_of(run: LoadedRun) -> str:
    """Return the report of a run as HTML that needs no other file and no network.

    A run without any result yet raises `BrokenRun`. Where the data are not on this machine, or have changed, the
    page has no images and says why.
    """
    step = _last_step(run)
    scores = run.scores_at(FINAL if run.metrics is not None else step)
    title = run.config.name or f"{run.config.dataset}, normal {run.config.normal_class}, {run.config.recipe}"
    state = run.state()
    return document(
        title,
        element("h1", title),
        element("p", f"Run {run.run_id}: {state.state}. {state.reason}".strip(), class_="faint"),
        *_numbers(run),
        *(_kinds(run.metrics) if run.has_maps and run.metrics else _curves(run)),
        *_scores(run, scores),
        *_images(run, scores, step),
        *_settings(run),
    )


def _last_step(run: LoadedRun) -> int:
    points = run.results
    if not points:
        raise BrokenRun(f"Run `{run.run_id}` has no result yet. Wait for its first evaluation, or resume it.")
    return points[-1].step


def _numbers(run: LoadedRun) -> Iterator[Html]:
    """Yield the final numbers, each with what it is."""
    metrics = run.metrics
    if metrics is None:
        yield element("p", "This run has not finished: everything below is as of its last evaluation.")
        return
    if run.has_maps:
        last = run.segmented[-1]
        shown = [
            ("image AUROC", _percent(last.image_auroc)),
            ("95 % interval", _span(last.image_auroc_low, last.image_auroc_high)),
            ("pixel AUROC", _percent(last.pixel_auroc)),
            ("AUPRO up to 0.3", _percent(last.aupro)),
        ]
    else:
        shown = [
            ("final AUROC", _percent(metrics.get("auroc"))),
            ("95 % interval", _span(metrics.get("auroc_low"), metrics.get("auroc_high"))),
            ("unadapted AUROC", _percent(metrics.get("unadapted_auroc"))),
            (f"step of the final scores: {_chosen_by(run)}", _amount(metrics.get("stop_step"))),
            ("best AUROC of any step, chosen with labels", _percent(metrics.get("oracle_auroc"))),
        ]
        if metrics.get("whitened_auroc") is not None:
            shown.append(("whitened space, not adapted: AUROC", _percent(metrics["whitened_auroc"])))
        if "oracle_grid_auroc" in metrics:
            shown.append(("best AUROC of the grid, chosen with labels", _percent(metrics["oracle_grid_auroc"])))
    yield element("div", *(element("div", element("b", value), name) for name, value in shown), class_="numbers")
    rows = [[row.question, _percent(row.normal), _percent(row.anomalous)] for row in answered(metrics)]
    if rows:
        yield element("h2", "How often each head is right, over all views of the test images")
        yield table(("head", "normal images", "anomalous images"), rows, numbers=(1, 2))


def _chosen_by(run: LoadedRun) -> str:
    recipe = RECIPES.get(run.config.recipe)
    if recipe is None:
        return "by its recipe"
    return f"{recipe.chosen_by}, median" if recipe.per_image else recipe.chosen_by


def _curves(run: LoadedRun) -> Iterator[Html]:
    curve = curve_of(run.evaluated, last_step=run.config.steps, metrics=run.metrics)
    if not curve.steps:
        return
    drawn = (
        (auroc_figure, "AUROC", "AUROC over optimiser steps, with its 95 % interval."),
        (ratios_figure, "Distance divided by training distance", "Distances of test images over those of training."),
        (distances_figure, "Distance to the center", "Mean squared distances to the center over steps."),
        (rank_figure, "Effective rank", "Effective rank of the training features over steps."),
    )
    yield element("h2", "Curves")
    yield element("div", *(chart(draw(curve), title, about) for draw, title, about in drawn), class_="charts")


def _kinds(metrics: Mapping[str, Any]) -> Iterator[Html]:
    rows = [
        [name, row["images"], _percent(row["image_auroc"]), _percent(row["pixel_auroc"]), _percent(row["aupro"])]
        for name, row in metrics.get("kinds", {}).items()
    ]
    if rows:
        yield element("h2", "Each kind of anomaly, against the normal test images")
        columns = ("kind", "images", "image AUROC", "pixel AUROC", "AUPRO up to 0.3")
        yield table(columns, rows, numbers=(1, 2, 3, 4))


def _scores(run: LoadedRun, scores: np.ndarray) -> Iterator[Html]:
    is_anomaly = np.array(run.split.is_anomaly)
    calibration = run.calibration
    threshold = calibration.threshold()
    about = f"Histogram of the scores of {len(scores)} test images; higher is more anomalous."
    yield element("h2", "Scores")
    drawn = chart(histogram_figure(scores, is_anomaly, threshold=threshold), "Test images", about)
    yield element("div", drawn, class_="charts")
    if threshold is not None:
        alarms = calibration.rejects(scores)
        found = [
            f"{int(alarms[is_anomaly == kind].sum())} of {int((is_anomaly == kind).sum())} {name}"
            for kind, name in ((1, "anomalies"), (0, "normal images"))
        ]
        yield element(
            "p",
            f"Threshold {threshold:.4g}, set for a false-alarm rate of {100 * RATE:.0f} % on {calibration.images} "
            f"normal images that nothing was learned from and that are not among these: {' and '.join(found)} "
            "lie above it.",
        )
        yield element("p", calibration.sentence())
        if calibration.warning:
            yield element("p", calibration.warning)


def _images(run: LoadedRun, scores: np.ndarray, step: int) -> Iterator[Html]:
    """Yield rows of test images: the most and the least anomalous of all, and the most surprising of each kind."""
    yield element("h2", "Images")
    try:
        images = run.images("test")
        run.check_unchanged()
    except (PandaError, OSError) as error:
        why = "The data are not on this machine" if isinstance(error, DataMissing) else "The images cannot be shown"
        yield element("p", f"{why}: {error}")
        return
    is_anomaly = np.array(run.split.is_anomaly)
    show = _maps(run, step) if run.has_maps else lambda _row, image: _pale(run, image)
    order = np.argsort(scores, kind="stable")
    groups = (
        ("Most anomalous", order[::-1]),
        ("Least anomalous", order),
        ("Normal images with the highest scores", order[::-1][is_anomaly[order[::-1]] == 0]),
        ("Anomalies with the lowest scores", order[is_anomaly[order] == 1]),
    )
    yield element("p", "A dashed frame marks an anomaly, a solid one a normal image.", class_="faint")
    if run.region is not None:
        yield element("p", FADED, class_="faint")
    for title, rows in groups:
        tiles = []
        for row in rows[:SHOWN]:
            kind, name = ("normal", "anomalous")[int(is_anomaly[row])], images.names[int(row)]
            try:
                image = show(int(row), images.load(int(row)))
            except UnreadableImage:
                continue  # it was read once; the file has been damaged since
            about = f"{name}, {kind}, score {scores[row]:.4g}"
            caption = element("span", element("b", f"{scores[row]:.4g}"), " ", name)
            tiles.append(picture(image, caption, about=about, kind=kind))
        if tiles:
            yield element("h3", title)
            yield element("div", *tiles, class_="images")


def _maps(run: LoadedRun, step: int) -> Callable[[int, np.ndarray], np.ndarray]:
    """Return a function (row, image) -> the image with its map, all maps on the run's one scale."""
    maps = run.maps(step)
    scale = fixed_scale(run.calibration.map_low, run.calibration.map_middle, maps.grids)
    size, sigma = drawing_of(run.config)
    return lambda row, image: heated(_pale(run, image), full_map(maps.grids[row], size, sigma, run.region), scale)


def _pale(run: LoadedRun, image: np.ndarray) -> np.ndarray:
    """Return an image with what lies outside of the run's region of interest pale, if it has one."""
    return image if run.region is None else faded(image, run.region.inside((image.shape[0], image.shape[1])))


def _settings(run: LoadedRun) -> Iterator[Html]:
    config, found = run.config.to_json(), dict(run.environment)
    options = config.pop("set")
    rows = [[key.replace("_", " "), _shown(value)] for key, value in config.items()]
    rows += [[f"option {key.replace('_', ' ')}", _shown(value)] for key, value in options.items()]
    yield element("h2", "Run it again")
    yield element("pre", run.config.to_command())
    yield element("pre", run.config.to_python())
    yield element("h2", "Settings")
    yield table(("setting", "value"), rows)
    packages = found.pop("packages", None) or {}
    rows = [[key.replace("_", " "), _shown(value)] for key, value in found.items() if key != "started" and value]
    rows += [[f"package {name}", _shown(number)] for name, number in packages.items()]
    if rows:
        yield element("h2", "Surroundings")
        yield table(("what", "value"), rows)
    for told in run.notes:
        yield element("p", told)
    if run.skipped:
        yield element("h2", "Images that took no part")
        yield table(("image", "why"), run.skipped)


def _shown(value: object) -> str:
    return NONE if value is None or value == "" else str(value)


def _percent(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.1f} %"


def _amount(value: float | None) -> str:
    return NONE if value is None else f"{value:g}"


def _span(low: float | None, high: float | None) -> str:
    return NONE if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f}"
