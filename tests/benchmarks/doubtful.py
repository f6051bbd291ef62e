"""Bad images among the normal ones: what they cost, and what remedies that see no label bring back and cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import torch

from panda_core.features.doubtful import NEIGHBOURS, _limit
from panda_core.features.space import FeatureNorm
from panda_core.metrics import auroc
from panda_core.runs.calibration import FOLDS as IN_TURN
from panda_core.runs.calibration import Calibration
from panda_core.scoring.knn import nearest
from tests.benchmarks.contaminated import NORMALS, SEEDS, SHARES, Cell, cells
from tests.benchmarks.space import interval, pooled_features

Row = dict[str, str]
Found = dict[tuple[str, str, float], list[float]]  # (data set, remedy, share of bad images) -> AUROC of each cell
Features = dict[str, tuple[torch.Tensor, tuple[int, ...]]]  # of all images of a data set, and widths of the levels
NOTHING, KNOWN = "nothing", "bad ones left out, known by their labels"
TENTH = "the last tenth dropped"
FEWER = {"digits": ("4", "9"), "cifar10": ("airplane", "ship")}  # where all classes would take too long
FOLDS = 5
CENTRAL = 0.8  # share of the images to which a space is fitted that ranks all of them
WEIGHT = 0.5
NOTE = (
    f"EfficientNet-Lite0, whole images, kNN in the default space, nothing adapted. {NORMALS} normal images (of "
    "digits 120 to 130), of which a share is replaced by anomalies of all kinds that are not judged; tiles, solar "
    f"cells, all digits and five classes of CIFAR-10; mean AUROC over classes and seeds {SEEDS[0]} to {SEEDS[-1]}. "
    f"Images are ranked by the distances to their {NEIGHBOURS} nearest in a space of others; `central` ranks all by "
    "the nearest 80 %, twice. The line is that of `datasets --check`. `clean cost`: remedy - nothing, without bad "
    "images; `gain at 10 %`: the same with 10 %; paired by class and seed, mean and 95 % interval; `of the loss`: "
    "how much of what leaving out the bad ones by their labels brings back. Of some hundred remedies looked at on "
    "these images (2 to 40 neighbours, other lines and shares, smooth weights, means of detectors, rankings by "
    "three networks) the table has one of each kind; none brought back a third."
)

ALARMS = (
    f"The same detectors, calibrated in {IN_TURN} groups as runs of so few images are, the threshold at 5 % false "
    "alarms: the share of anomalies found, and of fresh normal images rejected, mean over classes (of digits 4 and 9, "
    "of CIFAR-10 airplane and ship) and seeds, %. What is dropped does not calibrate either."
)


def doubtful() -> Iterator[Row]:
    """Yield the table of whole images, and that of patches."""
    from tests.benchmarks.doubtful_patches import patches

    found: Found = defaultdict(list)
    features: Features = {}
    for cell in cells():
        if cell.title not in features:
            features[cell.title] = _features(cell)
        for share in SHARES:
            for remedy, value in whole(cell, share, *features[cell.title]).items():
                found[cell.title, remedy, share].append(value)
    yield from table(found)
    yield {"note": NOTE}
    yield from alarms(features)
    yield from patches()


def table(found: Found) -> Iterator[Row]:
    """Yield a row for each data set and remedy, then those of the mean of all sets."""
    titles, remedies = (list(dict.fromkeys(key[place] for key in found)) for place in (0, 1))
    for title in titles:
        for remedy in remedies:
            at = {share: np.array(found[title, remedy, share]) for share in SHARES if (title, remedy, share) in found}
            nothing = {share: np.array(found[title, NOTHING, share]) for share in at}
            yield {
                "data": title,
                "remedy": remedy,
                **{f"{100 * share:.0f} %": f"{at[share].mean():.1f}" if share in at else "" for share in SHARES},
                "clean cost": "" if remedy in (NOTHING, KNOWN) else interval(at[0.0] - nothing[0.0]),
                "gain at 10 %": "" if remedy == NOTHING else interval(at[0.1] - nothing[0.1]),
            }
    for remedy in remedies:
        means = {share: _mean(found, titles, remedy, share) for share in SHARES}
        nothing = {share: _mean(found, titles, NOTHING, share) for share in SHARES}
        gain, loss = means[0.1] - nothing[0.1], _mean(found, titles, KNOWN, 0.1) - nothing[0.1]
        yield {
            "mean of the sets": remedy,
            **{f"{100 * share:.0f} %": f"{means[share]:.1f}" if means[share] else "" for share in SHARES},
            "clean cost": "" if remedy in (NOTHING, KNOWN) else f"{means[0.0] - nothing[0.0]:+.1f}",
            "gain at 10 %": "" if remedy == NOTHING else f"{gain:+.1f}",
            "of the loss": "" if remedy in (NOTHING, KNOWN) else f"{100 * gain / loss:.0f} %",
        }


def _mean(found: Found, titles: list[str], remedy: str, share: float) -> float:
    """Return the mean over the sets of the mean of each; 0 where the remedy was not measured."""
    return float(np.mean([np.mean(found.get((title, remedy, share), [0.0])) for title in titles]))


def _features(cell: Cell) -> tuple[torch.Tensor, tuple[int, ...]]:
    """Return the features (N, D) of all images of a cell's set, and the widths of their levels."""
    found = [pooled_features(half, np.arange(len(half)), cell.size) for half in cell.halves]
    return torch.cat([features for features, _ in found]), found[0][1]


def whole(cell: Cell, share: float, features: torch.Tensor, widths: tuple[int, ...]) -> dict[str, float]:
    """Return the AUROC, in points, with each remedy. features: of all images of the set."""
    rows, is_bad = cell.learned(share)
    fitted, judged, everything = features[rows], features[cell.judged], np.ones(len(rows), bool)

    def of(space: np.ndarray, gallery: np.ndarray, own: np.ndarray | None = None) -> float:
        norm = FeatureNorm.fit("whiten", fitted[space], widths, 1024)
        learned, asked = norm(fitted[gallery]).numpy(), norm(judged).numpy()
        if own is None:
            scores = nearest(learned, asked, 2)[0].sum(axis=1)
        else:  # near a doubtful image is not near
            far, places = nearest(learned, asked, len(learned))
            scores = np.sort(far + WEIGHT * own[places] / NEIGHBOURS, axis=1)[:, :2].sum(axis=1)
        return 100 * float(auroc(scores, cell.is_anomaly) or 0)

    scores = _ranked(fitted, widths, everything, cell.seed)
    again = scores
    for _ in range(2):
        again = _ranked(fitted, widths, again <= np.quantile(again, CENTRAL), cell.seed)
    tenth, beyond = scores <= np.quantile(scores, 0.9), again <= _limit(again)
    return {
        NOTHING: of(everything, everything),
        KNOWN: of(~is_bad, ~is_bad),
        TENTH: of(tenth, tenth),
        "the last tenth dropped from the space alone": of(tenth, everything),
        "beyond the line dropped, central": of(beyond, beyond),
        "beyond the line dropped from the space alone, central": of(beyond, everything),
        "weighed: half of an image's own distance added": of(everything, everything, scores),
    }


def alarms(features: Features) -> Iterator[Row]:
    """Yield what a threshold promised for 5 % rejects, of anomalies and of normal images."""
    found: dict[tuple[str, str, float], list[tuple[float, float]]] = defaultdict(list)
    for cell in cells(FEWER):
        for share in SHARES:
            for remedy, value in rejected(cell, share, *features[cell.title]).items():
                found[cell.title, remedy, share].append(value)
    for title, remedy in dict.fromkeys(key[:2] for key in found):
        yield {
            "data": title,
            "found; false alarms": remedy,
            **{
                f"{100 * share:.0f} %": "; ".join(
                    f"{100 * value:.0f}" for value in np.mean(found[title, remedy, share], axis=0)
                )
                for share in SHARES
            },
        }
    yield {"note": ALARMS}


def rejected(
    cell: Cell, share: float, features: torch.Tensor, widths: tuple[int, ...]
) -> dict[str, tuple[float, float]]:
    """Return with each remedy the shares of anomalies and of normal images above the threshold."""
    rows, is_bad = cell.learned(share)
    fitted, everything = features[rows], np.ones(len(rows), bool)
    far = _ranked(fitted, widths, everything, cell.seed)
    found = {}
    for remedy, kept in ((NOTHING, everything), (KNOWN, ~is_bad), (TENTH, far <= np.quantile(far, 0.9))):
        calibrating = _ranked(fitted[kept], widths, np.ones(int(kept.sum()), bool), cell.seed, IN_TURN, 2)
        norm = FeatureNorm.fit("whiten", fitted[kept], widths, 1024)
        scores = nearest(norm(fitted[kept]).numpy(), norm(features[cell.judged]).numpy(), 2)[0].sum(axis=1)
        rejects = Calibration(calibrating).rejects(scores)
        found[remedy] = tuple(float(rejects[cell.is_anomaly == flag].mean()) for flag in (1, 0))
    return found


def _ranked(
    features: torch.Tensor,
    widths: tuple[int, ...],
    kept: np.ndarray,
    seed: int,
    folds: int = FOLDS,
    neighbours: int = NEIGHBOURS,
) -> np.ndarray:
    """Return how far (N,) each image lies from those of `kept` (N,) bool, its own group left out."""
    order = np.random.default_rng([seed, 13]).permutation(len(features))
    scores = np.empty(len(features))
    for group in np.array_split(order, folds):
        others = np.setdiff1d(np.nonzero(kept)[0], group)
        norm = FeatureNorm.fit("whiten", features[others], widths, features.shape[1])
        found, _ = nearest(norm(features[others]).numpy(), norm(features[group]).numpy(), neighbours)
        scores[group] = np.maximum(found, 0).sum(axis=1)
    return scores
