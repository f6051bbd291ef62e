"""Figures of large photos: scratches of 12 pixels in drawn photos of 3,000 x 2,000, looked at whole and in tiles."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import cv2
import numpy as np

from panda_core import PandaDetector
from panda_core.metrics import auroc
from panda_core.segmentation.maps import full_map
from panda_core.segmentation.tiles import drawing_of

HIGH, WIDE = 2000, 3000
SEEDS = (0, 1, 2)
NORMALS, FRESH = 10, 6
LENGTHS = (60, 80, 100, 120, 160, 200)  # of the scratches, in pixels of the photo; a photo for each
NEAR = 60  # pixels of the photo from the scratch within which the highest place of a map counts as on it
TILES = ("off", "2", "4")
SIZES = tuple((width, length) for width in (6, 12, 20) for length in (40, 120, 400))  # of the scratches of the curve
DEPTHS, EACH, PLAIN, SURFACES = (20, 37), 2, 8, 6  # grey levels; photos of each kind; fresh; under scratches

Row = dict[str, str]


def large_photos() -> Iterator[Row]:
    """AUROC, places and false alarms of drawn photos with scratches, by the number of tiles, and the time of one."""
    yield {
        "note": f"Drawn photos of {WIDE:,} x {HIGH:,} px of a rough surface: {NORMALS} are learned from, {FRESH} fresh "
        f"ones are judged, and {len(LENGTHS)} with a scratch 12 px wide, {LENGTHS[0]} to {LENGTHS[-1]} px long and "
        "30 to 45 grey levels darker. PatchCore at 224 px, all else by default; seeds 0 to 2: mean (lowest to "
        "highest). Time: processor seconds to judge one photo, those of `off` being 1."
    }
    measured = [_measured(seed) for seed in SEEDS]
    for number, tiles in enumerate(TILES):
        found = [one[number] for one in measured]
        times = [one[number]["time"] / one[0]["time"] for one in measured]
        yield {
            "--tiles": tiles,
            "AUROC, %": spread([100 * one["auroc"] for one in found]),
            f"scratches of {len(LENGTHS)} at which the map is highest": spread([one["places"] for one in found]),
            f"rejected scratches of {len(LENGTHS)}": spread([one["rejected"] for one in found]),
            f"rejected fresh photos of {FRESH}": spread([one["alarms"] for one in found]),
            "time": f"{statistics.median(times):.1f}",
        }
    yield from _curve()


def _curve() -> Iterator[Row]:
    """AUROC of scratches of each size and depth by themselves, and of all of them by how the score is taken."""
    kinds = [(width, length, depth) for width, length in SIZES for depth in DEPTHS]
    found = {
        (tiles, top): np.mean([_aurocs(seed, tiles, top, kinds) for seed in SEEDS], axis=0)
        for tiles in TILES[1:]
        for top in (0.1, 0.0)
    }
    alone, default = ([f"{found[tiles, top][-1]:.1f}" for tiles in TILES[1:]] for top in (0.0, 0.1))
    yield {
        "note": "AUROC (%) by width and length of the scratch, in pixels of the photo, and by its depth: as above, "
        f"{EACH} photos of each kind and {PLAIN} fresh ones a seed, mean of the seeds. The same {SURFACES} surfaces a "
        "seed lie under all kinds, so that less than 50 is chance. All kinds together: "
        f"{default[0]} with 2 tiles and {default[1]} with 4; {alone[0]} and {alone[1]} where the highest patch alone "
        "makes the score (`--set top=0`)."
    }
    for width, length in SIZES:
        cells = {
            f"{tiles} tiles, {depth} levels": f"{found[tiles, 0.1][kinds.index((width, length, depth))]:.0f}"
            for tiles in TILES[1:]
            for depth in DEPTHS
        }
        yield {"scratch": f"{width} x {length} px", **cells}


def _aurocs(seed: int, tiles: str, top: float, kinds: list[tuple[int, int, int]]) -> np.ndarray:
    """Return the AUROC, in percent, of each kind of scratch, and last of all together."""
    rng = np.random.default_rng(seed)
    normal, fresh, marked = ([_surface(rng) for _ in range(count)] for count in (NORMALS, PLAIN, SURFACES))
    detector = PandaDetector(recipe="patchcore", tiles=tiles, seed=seed, device="cpu", set={"top": top}).fit(normal)
    good = detector.anomaly_scores(fresh)
    scores = [
        detector.anomaly_scores([_marked(marked[(number + copy) % len(marked)], *kind, rng)])[0]
        for number, kind in enumerate(kinds)
        for copy in range(EACH)
    ]
    rows = [*np.reshape(scores, (len(kinds), EACH)), np.array(scores)]
    labels = [np.repeat(np.array([0, 1], np.uint8), [len(good), len(bad)]) for bad in rows]
    return np.array([100 * (auroc(np.append(good, bad), own) or 0) for bad, own in zip(rows, labels, strict=True)])


def spread(values: list[float]) -> str:
    """Return the mean of values, and the lowest and the highest of them."""
    return f"{statistics.mean(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def _measured(seed: int) -> list[dict[str, float]]:
    """Return the figures of each number of tiles."""
    rng = np.random.default_rng(seed)
    normal, fresh = ([_surface(rng) for _ in range(count)] for count in (NORMALS, FRESH))
    scratched = [_scratched(_surface(rng), length, rng) for length in LENGTHS]
    return [_judged(tiles, seed, normal, fresh, scratched) for tiles in TILES]


def _judged(
    tiles: str,
    seed: int,
    normal: list[np.ndarray],
    fresh: list[np.ndarray],
    scratched: list[tuple[np.ndarray, np.ndarray]],
) -> dict[str, float]:
    detector = PandaDetector(recipe="patchcore", tiles=tiles, seed=seed, device="cpu").fit(normal)
    began = time.process_time()
    good, bad = detector.segment(fresh), detector.segment([image for image, _ in scratched])
    took = time.process_time() - began
    labels = np.repeat(np.array([0, 1], np.uint8), [len(fresh), len(scratched)])
    maps = [full_map(grid, *drawing_of(detector.config)) for grid in bad.grids]
    return {
        "auroc": float(auroc(np.concatenate([good.scores, bad.scores]), labels) or 0),
        "places": float(sum(_on(values, pixels) for values, (_, pixels) in zip(maps, scratched, strict=True))),
        "rejected": float(detector.calibration.rejects(bad.scores).sum()),
        "alarms": float(detector.calibration.rejects(good.scores).sum()),
        "time": took,
    }


def _on(values: np.ndarray, pixels: np.ndarray) -> bool:
    """Return whether the highest place of a map (h, w) lies at the scratch that covers `pixels` (H, W)."""
    row, column = np.unravel_index(int(values.argmax()), values.shape)
    place = (row + 0.5) / values.shape[0] * HIGH, (column + 0.5) / values.shape[1] * WIDE
    rows, columns = np.nonzero(pixels)
    return bool(np.hypot(rows - place[0], columns - place[1]).min() <= NEAR)


def _surface(rng: np.random.Generator) -> np.ndarray:
    grey = np.full((HIGH, WIDE), 130, np.float32)
    for part, strength in ((2, 14), (16, 10)):
        noise = rng.normal(0, strength, (HIGH // part, WIDE // part)).astype(np.float32)
        grey += cv2.resize(noise, (WIDE, HIGH), interpolation=cv2.INTER_LINEAR)
    return np.clip(np.stack([grey, 0.97 * grey, 0.93 * grey], axis=-1), 0, 255).astype(np.uint8)


def _scratched(photo: np.ndarray, length: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a photo with a scratch somewhere, and which pixels it covers."""
    layer = _line(12, length, rng)
    return np.clip(photo - rng.uniform(30, 45) * layer[..., None], 0, 255).astype(np.uint8), layer > 0.5


def _marked(photo: np.ndarray, width: int, length: int, depth: int, rng: np.random.Generator) -> np.ndarray:
    """Return a photo with a scratch of a size and a depth somewhere."""
    return np.clip(photo - depth * _line(width, length, rng)[..., None], 0, 255).astype(np.uint8)


def _line(width: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """Return which share of each pixel (HIGH, WIDE) a line somewhere covers."""
    layer, turn = np.zeros((HIGH, WIDE), np.float32), rng.uniform(0, np.pi)
    x, y = rng.uniform(200, WIDE - 200), rng.uniform(200, HIGH - 200)
    dx, dy = length / 2 * np.cos(turn), length / 2 * np.sin(turn)
    cv2.line(layer, (round(x - dx), round(y - dy)), (round(x + dx), round(y + dy)), 1.0, width, cv2.LINE_AA)
    return layer
